package hooks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/examples/internal/trial"
)

// named is a BIND that accepts updates of example.org with a key.
type named struct {
	t    *testing.T
	port int
	key  string // the file
	stop func()
}

const leaderName = "leader.example.org"

func newNamed(t *testing.T) *named {
	t.Helper()
	trial.Needs(t, "named", "nsupdate", "tsig-keygen")
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret, err := exec.Command("tsig-keygen", "doyen").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := &named{t: t, key: file("key", string(secret))}
	zone := file("zone", "$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n")
	conf := file("named.conf", fmt.Sprintf(`include %q;
options {
	directory %q;
	pid-file none;
	session-keyfile none;
	listen-on { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
};
controls { };
zone "example.org" { type master; file %q; allow-update { key doyen; }; };
`, n.key, dir, zone))
	// Another program may take a port that was free a moment ago.
	for range 5 {
		if n.start(dir, conf) {
			t.Cleanup(n.stop)
			return n
		}
	}
	t.Fatal("named does not start")
	return nil
}

// start runs named on a free port, and returns whether it answers there.
func (n *named) start(dir, conf string) bool {
	n.t.Helper()
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.port = free.LocalAddr().(*net.UDPAddr).Port
	free.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("named", "-g", "-c", conf, "-p", fmt.Sprint(n.port))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	n.stop = func() { cmd.Process.Kill(); <-ended }
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ns, err := n.resolver().LookupNS(n.t.Context(), "example.org."); err == nil && len(ns) == 1 {
			return true
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			n.t.Logf("named has ended:\n%s", text)
			return false
		default:
		}
	}
	n.stop()
	return false
}

func (n *named) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", n.port))
	}}
}

// is checks the addresses of the leader's name.
func (n *named) is(want ...string) {
	n.t.Helper()
	got, err := n.resolver().LookupHost(n.t.Context(), leaderName+".")
	var none *net.DNSError
	if err != nil && !(errors.As(err, &none) && none.IsNotFound) {
		n.t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: want %q, got %q", leaderName, want, got)
	}
}

// run runs an event of the hook on the node of an address.
func (n *named) run(want int, addr, event string, env ...string) string {
	n.t.Helper()
	cmd := exec.Command("./dns-nsupdate.sh", event)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "DNS_CONF=/nonexistent", "DNS_NAME=" + leaderName, "DNS_KEY_FILE=" + n.key,
		fmt.Sprintf("DNS_SERVER=127.0.0.1 %d", n.port), "DOYEN_ADDR=" + addr, "DOYEN_TERM=7"}, env...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		n.t.Errorf("%s on %s: got exit %d, want %d: %s", event, addr, got, want, out)
	}
	return string(out)
}

// The name has the leader's address, v4 or v6. The hook reports a wrong key and a server
// that is down, and a check fails only if the server has another record.
func TestNameFollowsTheLeader(t *testing.T) {
	t.Parallel()
	n := newNamed(t)
	const a, b = "192.0.2.1:4000", "[2001:db8::2]:4000"
	n.run(0, a, "release", "DOYEN_REASON=startup")
	n.is()
	n.run(1, a, "check")
	n.run(0, a, "acquire")
	n.is("192.0.2.1")
	n.run(0, a, "acquire")
	n.run(0, a, "check")
	n.run(0, a, "release")
	n.is("192.0.2.1")
	n.run(0, b, "acquire")
	n.is("2001:db8::2")
	n.run(0, a, "release") // late
	n.run(0, b, "check")
	if out := n.run(1, a, "check"); !strings.Contains(out, "no longer 192.0.2.1") {
		t.Errorf("got %q", out)
	}
	n.run(0, a, "acquire", "DNS_ADDRESS=198.51.100.1", "DNS_ZONE=example.org")
	n.is("198.51.100.1")

	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("key \"doyen\" { algorithm hmac-sha256; secret \"bm90IHRoZSBrZXk=\"; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := n.run(2, b, "acquire", "DNS_KEY_FILE="+wrong); !strings.Contains(out, "BADSIG") {
		t.Errorf("want the refusal reported, got %q", out)
	}
	n.is("198.51.100.1")
	n.stop()
	if out := n.run(0, b, "check", "DOYEN_DEADLINE_MS=2000"); !strings.Contains(out, "no way to tell") {
		t.Errorf("got %q", out)
	}
	n.run(64, b, "no-such-event")
}
