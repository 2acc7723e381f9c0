//go:build linux

package ansible

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/box"
	"doyen/examples/internal/lan"
	"doyen/examples/internal/trial"
)

var machines = flag.Bool("ansible.machines", false, "run the playbook on three machines with systemd, which takes minutes")

// TestMachines runs the playbook with the inventory as they are: Ansible reaches three
// machines by ssh, as a user who has to become root.
func TestMachines(t *testing.T) {
	if !*machines {
		t.Skip("boots three machines and rolls out to them, which takes minutes: make ansible-test")
	}
	g := newGroup(t)
	old, next := build(t, "1.0.0"), build(t, "1.0.1")
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"roll-out", func(t *testing.T) { g.rollOut(t, old) }},
		{"nothing to change", func(t *testing.T) { g.again(t, old) }},
		{"broken package", func(t *testing.T) { g.brokenPackage(t, next) }},
		{"agent that does not become ready", func(t *testing.T) { g.notReady(t, old) }},
		{"agent that was stopped", func(t *testing.T) { g.stopped(t, old) }},
		{"mended", func(t *testing.T) { g.mended(t, old) }},
		{"upgrade", func(t *testing.T) { g.upgrade(t, next) }},
		{"nothing to change after the upgrade", func(t *testing.T) { g.again(t, next) }},
	} {
		if !t.Run(step.name, step.run) {
			return
		}
	}
}

// rollOut: machines that have nothing become a group.
func (g *group) rollOut(t *testing.T, deb string) {
	g.mustPlay(t, "-e", "doyen_package="+deb)
	g.check(t, "1.0.0")
	for _, h := range g.hosts {
		b := h.With(t)
		if got := b.Run("systemctl", "is-enabled", "doyen.service"); got != "enabled" {
			t.Errorf("%s: want the service enabled, got %s", h.addr, got)
		}
		if got := b.Run("stat", "--format", "%U:%G %a", "/etc/doyen/keyring"); got != "doyen:doyen 600" {
			t.Errorf("%s: the keyring: want doyen:doyen 600, got %s", h.addr, got)
		}
		if got := b.Run("cat", "/etc/doyen/keyring"); got != g.key {
			t.Errorf("%s: the keyring has another key", h.addr)
		}
	}
}

// again: where nothing is to be changed, nothing is.
func (g *group) again(t *testing.T, deb string) {
	before := g.states(t)
	g.onlyChanged(t, g.mustPlay(t, "-e", "doyen_package="+deb), nil)
	g.same(t, before, g.hosts)
}

// brokenPackage: a file that was cut short changes no machine.
func (g *group) brokenPackage(t *testing.T, deb string) {
	text, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), filepath.Base(deb))
	if err := os.WriteFile(broken, text[:len(text)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	before := g.states(t)
	g.failsOnFirst(t, "Of Debian, from a file", "-e", "doyen_package="+broken)
	g.same(t, before, g.hosts)
}

// notReady: the first host gets a key that the others do not have. They are not changed,
// and one of them leads.
func (g *group) notReady(t *testing.T, deb string) {
	before := g.states(t)
	g.failsOnFirst(t, "Ready, before the next host is changed", g.otherKey(t, deb)...)
	g.same(t, before, g.hosts[1:])
	g.net.Leader(addrs(g.hosts[1:]), trial.Patience)
}

// stopped: the same where the agent of the first host has been stopped since.
func (g *group) stopped(t *testing.T, deb string) {
	g.hosts[0].With(t).Run("systemctl", "stop", "doyen.service")
	before := g.states(t)
	g.failsOnFirst(t, "Ready, before the next host is changed", g.otherKey(t, deb)...)
	g.same(t, before, g.hosts[1:])
}

// mended: a run with what is right brings the first host back, and changes no other.
func (g *group) mended(t *testing.T, deb string) {
	before := g.states(t)
	g.onlyChanged(t, g.mustPlay(t, "-e", "doyen_package="+deb), g.hosts[:1])
	g.same(t, before, g.hosts[1:])
	g.check(t, "1.0.0")
}

// upgrade: one host after the other gets the next version. Each stands aside before, and
// is a candidate again before the next; the lead changes by hand-overs alone.
func (g *group) upgrade(t *testing.T, deb string) {
	start := time.Now()
	w := g.watch()
	g.mustPlay(t, "-e", "doyen_package="+deb)
	w.end(t)
	g.check(t, "1.0.1")
	var order []string
	for _, h := range g.hosts {
		order = append(order, h.addr.String()+" 1.0.0 aside", h.addr.String()+" 1.0.1 aside", h.addr.String()+" 1.0.1")
	}
	var got []string
	for _, s := range w.seen {
		if slices.Contains(order, s) {
			got = append(got, s)
		}
	}
	if !slices.Equal(got, order) {
		t.Errorf("the hosts: want the order %q, got %q", order, w.seen)
	}

	began := 0
	for _, h := range g.hosts {
		began += h.handedOver(t, g, start)
	}
	if began < 1 || began > len(g.hosts) || began != len(w.leads)-1 {
		t.Fatalf("want one to three hand-overs, and as many seen from outside; got %d, and the leaders %q", began, w.leads)
	}
	for _, l := range w.leads[1:] {
		if !strings.HasSuffix(l, " succeeded") {
			t.Errorf("%s, want planned hand-overs alone", l)
		}
	}
}

// handedOver returns how often the host has begun to lead since start, by its own history,
// and fails the test if it did or ended for another reason than a planned hand-over.
func (h *host) handedOver(t *testing.T, g *group, start time.Time) (began int) {
	t.Helper()
	s, err := g.net.State(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	var history []agent.Leadership
	g.get(t, s, "/history", &history)
	for _, l := range history {
		if l.Leader != s.Name {
			continue
		}
		if l.From.After(start) {
			began++
			if l.Reason != "succeeded" {
				t.Errorf("%s: its leadership began because of %q, want succeeded", s.Name, l.Reason)
			}
		}
		if l.To != nil && l.To.After(start) && l.EndReason != "requested" {
			t.Errorf("%s: its leadership ended because of %q, want requested", s.Name, l.EndReason)
		}
		t.Logf("%s led from %v, %s, to %v, %s", s.Name, l.From, l.Reason, l.To, l.EndReason)
	}
	return began
}

// A group is three machines on a switch, and what Ansible needs to reach them.
type group struct {
	t     *testing.T
	net   *lan.LAN
	hosts []*host
	dir   string
	key   string // the keyring
}

type host struct {
	*box.Box
	addr netip.Addr
}

// user is the user that Ansible connects as.
const user = "deploy"

// newGroup boots machines with the addresses of the inventory. Each has a user, who may
// become root, and an sshd.
func newGroup(t *testing.T) *group {
	tools := []string{"ansible-playbook", "ssh", "ssh-keygen", "sshd", "sudo", "nsenter"}
	g := &group{t: t, dir: t.TempDir(), key: newKey()}
	g.net = lan.New(t, tools, "192.0.2.254/24")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", g.file("id")).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(g.file("id.pub"))
	if err != nil {
		t.Fatal(err)
	}
	var known strings.Builder
	for i := range 3 {
		h := &host{addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		h.Box = box.New(t, fmt.Sprintf("host%d", i+1))
		g.net.Plug(h.PID, h.addr.String()+"/24")
		fmt.Fprintf(&known, "%s %s\n", h.addr, h.serveSSH(string(public)))
		t.Cleanup(func() { h.Run("systemctl", "stop", "test-sshd") }) // ends connections that ssh shares
		g.hosts = append(g.hosts, h)
	}
	g.write("known_hosts", known.String())
	g.write("ansible.cfg", "") // not this machine's own
	return g
}

// serveSSH lets the user log in with the key, and returns the host's key.
func (h *host) serveSSH(public string) string {
	h.Run("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", user)
	h.Write("/home/"+user+"/.ssh/authorized_keys", public)
	h.Run("chown", "--recursive", user+":", "/home/"+user+"/.ssh")
	h.Write("/etc/sudoers.d/"+user, user+" ALL=(ALL) NOPASSWD: ALL\n")
	h.Write("/etc/ssh/test", "HostKey /etc/ssh/test_key\nPasswordAuthentication no\nUseDNS no\nSubsystem sftp internal-sftp\n")
	h.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "/etc/ssh/test_key")
	h.Run("systemd-run", "--unit", "test-sshd", "--property", "RuntimeDirectory=sshd", "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/test")
	return h.Run("cat", "/etc/ssh/test_key.pub")
}

func (g *group) file(name string) string { return filepath.Join(g.dir, name) }

func (g *group) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(g.file(name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// newKey is what agent keygen prints.
func newKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

// build makes a package of a version.
func build(t *testing.T, version string) string {
	t.Helper()
	dist := t.TempDir()
	cmd := exec.Command("make", "-C", "../..", "--no-print-directory", "packages",
		"VERSION="+version, "DIST="+dist, "ARCHS="+runtime.GOARCH, "FORMATS=deb")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make packages: %v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dist, "*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("want one package, got %q, %v", debs, err)
	}
	return debs[0]
}

// keyring is the variable that holds this key alone.
func keyring(key string) string { return fmt.Sprintf(`{"doyen_keyring": [%q]}`, key) }

// otherKey are the arguments of a run that would change the key.
func (g *group) otherKey(t *testing.T, deb string) []string {
	return []string{"-e", "doyen_package=" + deb, "-e", "doyen_patience=10s", "-e", keyring(newKey())}
}

// play runs the playbook, and returns what it printed.
func (g *group) play(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := g.net.Command("ansible-playbook", append([]string{"-i", "inventory.ini", "site.yml",
		"--user", user, "--private-key", g.file("id"), "-e", keyring(g.key)}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+g.dir, "ANSIBLE_HOME="+g.dir, "ANSIBLE_LOCAL_TEMP="+g.dir,
		"ANSIBLE_CONFIG="+g.file("ansible.cfg"), "ANSIBLE_NOCOLOR=1", "ANSIBLE_PIPELINING=1",
		"ANSIBLE_SSH_CONTROL_PATH_DIR="+g.dir,
		"ANSIBLE_SSH_ARGS=-F none -o ControlMaster=auto -o ControlPersist=30s -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile="+g.file("known_hosts"))
	start := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("ansible-playbook took %v: %v\n%s", time.Since(start).Round(time.Second), err, out)
	return string(out), err
}

func (g *group) mustPlay(t *testing.T, args ...string) string {
	t.Helper()
	out, err := g.play(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// failsOnFirst runs a playbook that must end with this task on the first host.
func (g *group) failsOnFirst(t *testing.T, task string, args ...string) {
	t.Helper()
	out, err := g.play(t, args...)
	if err == nil {
		t.Fatal("want the playbook to fail")
	}
	r := recap(out)
	if first := r[g.hosts[0].addr]; first.failed != 1 {
		t.Errorf("%s: want one failed task, got %+v", g.hosts[0].addr, first)
	}
	for _, h := range g.hosts[1:] {
		if r[h.addr] != (counts{}) {
			t.Errorf("%s: want no task, got %+v", h.addr, r[h.addr])
		}
	}
	before, _, _ := strings.Cut(out, "fatal: ")
	if last := before[strings.LastIndex(before, "TASK ["):]; !strings.HasPrefix(last, "TASK [doyen : "+task+"]") {
		t.Errorf("want the task %q to fail, got %s", task, last)
	}
}

// onlyChanged fails the test unless these hosts were changed, and no others.
func (g *group) onlyChanged(t *testing.T, out string, want []*host) {
	t.Helper()
	r := recap(out)
	for _, h := range g.hosts {
		c := r[h.addr]
		if c.ok == 0 || (c.changed > 0) != slices.Contains(want, h) {
			t.Errorf("%s: changed: want %v, got %+v", h.addr, slices.Contains(want, h), c)
		}
	}
}

type counts struct{ ok, changed, failed int }

var recapLine = regexp.MustCompile(`(?m)^([0-9.]+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+) `)

// recap reads the end of what a playbook prints. A host without a task is not in it.
func recap(out string) map[netip.Addr]counts {
	hosts := map[netip.Addr]counts{}
	for _, m := range recapLine.FindAllStringSubmatch(out, -1) {
		n := func(i int) int { v, _ := strconv.Atoi(m[i]); return v }
		hosts[netip.MustParseAddr(m[1])] = counts{n(2), n(3), n(4) + n(5)}
	}
	return hosts
}

func addrs(hosts []*host) (list []netip.Addr) {
	for _, h := range hosts {
		list = append(list, h.addr)
	}
	return list
}

// leader is the leader on which all agree.
func (g *group) leader(t *testing.T) agent.State {
	t.Helper()
	return g.net.Leader(addrs(g.hosts), trial.Patience)
}

func (g *group) get(t *testing.T, s agent.State, path string, into any) {
	t.Helper()
	_, body, err := g.net.Get(netip.MustParseAddrPort(s.Addr).Addr(), path)
	if err := errors.Join(err, json.Unmarshal(body, into)); err != nil {
		t.Fatal(err)
	}
}

// check fails the test unless every host has the version, is a candidate, and finds that
// all agree.
func (g *group) check(t *testing.T, version string) {
	t.Helper()
	leader := g.leader(t)
	for addr, s := range g.states(t) {
		if s.Version != version || !s.Eligible || s.MaintenanceUntil != nil || s.Mode != "quorum" {
			t.Errorf("%s: want an eligible voter of version %s, got %+v", addr, version, s)
		}
	}
	for _, h := range g.hosts {
		trial.Eventually(t, trial.Patience, func() error {
			out, err := h.Try("agent", "diag")
			if err != nil {
				err = fmt.Errorf("%s: agent diag: %w\n%s", h.addr, err, out)
			}
			return err
		})
		if out, err := h.Try("agent", "version"); err != nil || !strings.HasPrefix(out, "agent "+version+" ") {
			t.Errorf("%s: want version %s, got %s, %v", h.addr, version, out, err)
		}
	}
	trial.Eventually(t, trial.Patience, func() error {
		var s agent.State
		if status, body, err := g.net.Get(netip.MustParseAddr("192.0.2.10"), "/state"); err != nil || json.Unmarshal(body, &s) != nil || s.Name != leader.Name {
			return fmt.Errorf("the floating address: want %s to answer, got %s, %d, %v", leader.Name, s.Name, status, err)
		}
		return nil
	})
}

// states are the states of the agents that answer.
func (g *group) states(t *testing.T) map[netip.Addr]agent.State {
	t.Helper()
	states := map[netip.Addr]agent.State{}
	for _, h := range g.hosts {
		if s, err := g.net.State(h.addr); err == nil {
			states[h.addr] = s
		}
	}
	return states
}

// same fails the test unless the agents of these hosts are the processes that they were,
// and no host stands aside.
func (g *group) same(t *testing.T, before map[netip.Addr]agent.State, hosts []*host) {
	t.Helper()
	now := g.states(t)
	for _, h := range hosts {
		b, n := before[h.addr], now[h.addr]
		if n.PID == 0 || n.PID != b.PID || n.Version != b.Version || n.MaintenanceUntil != nil {
			t.Errorf("%s: want the agent as it was, %d of version %s; got %d of version %s, aside until %v",
				h.addr, b.PID, b.Version, n.PID, n.Version, n.MaintenanceUntil)
		}
	}
}

// A watcher asks the agents from outside, as fast as they answer.
type watcher struct {
	stop chan struct{}
	done chan struct{}
	// seen is every change of a host: its address, its version, and whether it stands
	// aside or may not lead for another reason; or that it is away.
	seen []string
	// leads are the leaders one after the other, each with the reason that it gives.
	leads []string
	// faults are the times when two hosts were away or stood aside.
	faults []string
}

func (g *group) watch() *watcher {
	w := &watcher{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		last := map[netip.Addr]string{}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look(g, last)
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

// look asks each host once.
func (w *watcher) look(g *group, last map[netip.Addr]string) {
	var missing []string
	for _, h := range g.hosts {
		now := h.addr.String() + " away"
		s, err := g.net.State(h.addr)
		if err == nil {
			now = h.addr.String() + " " + s.Version
			if s.MaintenanceUntil != nil {
				now += " aside"
			} else if !s.Eligible {
				now += " unfit"
			}
			if leader := h.addr.String() + " leads: "; s.IsLeader && (len(w.leads) == 0 || !strings.HasPrefix(w.leads[len(w.leads)-1], leader)) {
				w.leads = append(w.leads, leader+s.Reason)
			}
		}
		if err != nil || s.MaintenanceUntil != nil {
			missing = append(missing, now)
		}
		if last[h.addr] != now {
			last[h.addr] = now
			w.seen = append(w.seen, now)
		}
	}
	if len(missing) > 1 {
		w.faults = append(w.faults, strings.Join(missing, ", "))
	}
}

// end stops the watcher.
func (w *watcher) end(t *testing.T) {
	t.Helper()
	close(w.stop)
	<-w.done
	t.Logf("seen from outside:\n%s\n%s", strings.Join(w.seen, "\n"), strings.Join(w.leads, "\n"))
	if len(w.faults) > 0 {
		t.Errorf("more than one member away or aside at a time: %q", w.faults)
	}
}
