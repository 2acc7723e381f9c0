// Package hooks tests the example hooks: those for a LAN on real interfaces in network
// namespaces, those for clouds against a mock of each API.
package hooks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/examples/internal/trial"
)

const (
	v4 = "192.0.2.10"
	v6 = "2001:db8::10"
	// neighbourLimit is how long a neighbour may take to learn of an announcement
	// that has already been sent.
	neighbourLimit = 10 * time.Second
)

// A lan is three hosts on one switch: a and b may hold the address, c uses it.
type lan struct {
	t      *testing.T
	prefix string // of the names of the namespaces
}

// newLAN builds a lan that is removed when the test ends. Without root or a tool it skips
// the test, or fails it if DOYEN_TEST_REQUIRE is 1.
func newLAN(t *testing.T) *lan {
	t.Helper()
	trial.Needs(t, "ip", "arping", "bash")
	if os.Getuid() != 0 {
		trial.Missing(t, "this test needs root for network namespaces")
	}
	l := &lan{t: t, prefix: fmt.Sprintf("doyen%d-%d-", os.Getpid(), time.Now().UnixNano()%1e6)}
	for _, n := range []string{"switch", "a", "b", "c"} {
		ns := l.prefix + n
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			trial.Missing(t, "this test needs network namespaces: %v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
				t.Errorf("deleting the namespace %s: %v: %s", ns, err, out)
			}
		})
	}
	l.ip("switch", "link add br0 type bridge")
	l.ip("switch", "link set br0 up")
	for _, n := range []string{"a", "b", "c"} {
		l.ip(n, "link add eth0 type veth peer name port-"+n+" netns "+l.prefix+"switch")
		l.ip(n, "link set eth0 up")
		l.ip("switch", "link set port-"+n+" master br0 up")
	}
	l.ip("c", "addr add 192.0.2.99/24 dev eth0")
	l.ip("c", "addr add 2001:db8::99/64 dev eth0 nodad")
	return l
}

// on runs a program on a host and returns what it prints.
func (l *lan) on(host string, env []string, args ...string) (string, error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.prefix + host}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ip configures a host.
func (l *lan) ip(host, args string) string {
	l.t.Helper()
	out, err := exec.Command("ip", append([]string{"-n", l.prefix + host}, strings.Fields(args)...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("ip %s on %s: %v: %s", args, host, err, out)
	}
	return string(out)
}

// hook runs an event of the floating-address hook on a host.
func (l *lan) hook(host, event string) error {
	l.t.Helper()
	path, err := filepath.Abs("floating-ip.sh")
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := l.on(host, []string{
		"FLOATING_IP=" + v4 + "/24 2001:db8:0::10/64", "FLOATING_DEV=eth0", "FLOATING_CONF=/nonexistent",
		"DOYEN_TERM=7"}, path, event)
	l.t.Logf("%s on %s: %v: %s", event, host, err, strings.TrimSpace(out))
	return err
}

func (l *lan) mustHook(host, event string) {
	l.t.Helper()
	if err := l.hook(host, event); err != nil {
		l.t.Fatalf("%s on %s: %v", event, host, err)
	}
}

// holds reports whether the host's interface has the address.
func (l *lan) holds(host, addr string) bool {
	l.t.Helper()
	return strings.Contains(l.ip(host, "-o addr show dev eth0 to "+addr), addr)
}

func (l *lan) checkHolder(want string) {
	l.t.Helper()
	for _, host := range []string{"a", "b"} {
		for _, addr := range []string{v4, v6} {
			if got := l.holds(host, addr); got != (host == want) {
				l.t.Fatalf("%s on %s: got %v, want the holder to be %q", addr, host, got, want)
			}
		}
	}
}

// mac is the link-layer address of a host.
func (l *lan) mac(host string) string {
	fields := strings.Fields(l.ip(host, "-o link show dev eth0"))
	for i, f := range fields {
		if f == "link/ether" {
			return fields[i+1]
		}
	}
	l.t.Fatalf("%s has no link-layer address: %q", host, fields)
	return ""
}

// checkNeighbour waits until c sends packets for addr to host.
func (l *lan) checkNeighbour(addr, host string) {
	l.t.Helper()
	want := l.mac(host)
	for deadline := time.Now().Add(neighbourLimit); ; time.Sleep(10 * time.Millisecond) {
		got := l.ip("c", "neigh show "+addr)
		if strings.Contains(got, want) {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("c sends packets for %s to %q, want %s, which is %s", addr, got, want, host)
		}
	}
}

// use makes c look for the holder of both addresses.
func (l *lan) use() {
	l.t.Helper()
	for _, addr := range []string{v4, v6} {
		if out, err := l.on("c", nil, "bash", "-c", "echo >/dev/udp/"+addr+"/9"); err != nil {
			l.t.Fatalf("sending to %s: %v: %s", addr, err, out)
		}
	}
}

func TestFloatingIP(t *testing.T) {
	t.Parallel()
	l := newLAN(t)

	l.mustHook("a", "release") // at start nothing is held
	l.checkHolder("")
	if l.hook("a", "check") == nil {
		t.Fatal("check of an address that is not held: got exit 0, want a failure")
	}
	l.mustHook("a", "acquire")
	l.checkHolder("a")
	l.mustHook("a", "acquire") // again
	l.checkHolder("a")
	l.mustHook("a", "check")
	l.mustHook("b", "change")
	l.checkHolder("a")
	l.use()
	l.checkNeighbour(v4, "a")
	l.checkNeighbour(v6, "a")

	// A hand-over: the neighbour must learn of it without asking. From here on c sends
	// nothing, so only the announcement can update its table.
	l.mustHook("a", "release")
	l.checkHolder("")
	l.mustHook("b", "acquire")
	l.checkHolder("b")
	l.checkNeighbour(v4, "b")
	l.checkNeighbour(v6, "b")
	l.mustHook("a", "release") // late, while b leads: a gives up only what it holds
	l.checkHolder("b")

	// Another program removes an address.
	for _, addr := range []string{v4 + "/24", v6 + "/64"} {
		l.ip("b", "addr del "+addr+" dev eth0")
		if l.hook("b", "check") == nil {
			t.Fatalf("check without %s: got exit 0, want a failure", addr)
		}
		l.mustHook("b", "acquire")
		l.mustHook("b", "check")
		l.checkHolder("b")
	}
}

// TestFloatingIPTakenBack tests the most common fault in practice: another host has
// announced the address for a moment, and the check of its holder must make the
// neighbours send to the holder again.
func TestFloatingIPTakenBack(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	l.mustHook("a", "acquire")
	l.use()
	l.checkNeighbour(v4, "a")
	l.mustHook("b", "acquire")
	l.checkNeighbour(v4, "b")
	l.mustHook("b", "release")
	l.mustHook("a", "check")
	l.checkNeighbour(v4, "a")
}

func TestFloatingIPWithoutInterface(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	l.ip("a", "link del eth0")
	l.mustHook("a", "release") // an interface that is gone holds nothing
	if l.hook("a", "acquire") == nil {
		t.Error("acquire without the interface: got exit 0, want a failure")
	}
	if l.hook("a", "check") == nil {
		t.Error("check without the interface: got exit 0, want a failure")
	}
}

func TestLeaderChanged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leader")
	run := func(event string, env ...string) {
		t.Helper()
		cmd := exec.Command("./leader-changed.sh", event)
		cmd.Env = append(os.Environ(), append(env, "LEADER_FILE="+file)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", event, err, out)
		}
	}
	check := func(want string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Fatalf("the leader's file: got %q, want %q", got, want)
		}
	}
	run("release", "DOYEN_REASON=startup")
	check("")
	run("change", "DOYEN_LEADER=b", "DOYEN_LEADER_ADDR=192.0.2.2:4000")
	check("192.0.2.2:4000\n")
	self := []string{"DOYEN_NODE=a", "DOYEN_ADDR=192.0.2.1:4000", "DOYEN_TERM=7", "DOYEN_REASON=elected"}
	run("acquire", self...)
	check("192.0.2.1:4000\n")
	run("check", self...)
	run("release", self...)
	check("192.0.2.1:4000\n") // until the next change
	run("change", "DOYEN_LEADER=", "DOYEN_LEADER_ADDR=", "DOYEN_PREVIOUS_LEADER=a")
	check("")
	run("release", "DOYEN_REASON=startup")
}

// The hooks of several elections, and of several agents, run at the same time: each
// election has a file of its own, and none disturbs another.
func TestLeaderChangedOfSeveralElections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "leader")
	var runs sync.WaitGroup
	for i := range 30 {
		election := []string{"group", "web", "mail"}[i%3]
		runs.Go(func() {
			cmd := exec.Command("./leader-changed.sh", "change")
			cmd.Env = append(os.Environ(), "LEADER_FILE="+file, "DOYEN_ELECTION="+election, "DOYEN_LEADER="+election, "DOYEN_LEADER_ADDR="+election+":4000")
			if out, err := cmd.CombinedOutput(); err != nil || election != "group" && !strings.HasPrefix(string(out), election+": ") {
				t.Errorf("%s: %v: %s", election, err, out)
			}
		})
	}
	runs.Wait()
	for name, want := range map[string]string{"leader": "group:4000\n", "leader-web": "web:4000\n", "leader-mail": "mail:4000\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: want %q, got %q, %v", name, want, got, err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 {
		t.Errorf("want three files, got %v", files)
	}
}
