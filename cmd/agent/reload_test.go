package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doyen/agent"
)

// secretFile writes a file that only its owner can read, also if others could read the
// one before.
func (g *group) secretFile(name, text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// keyOf is a key of 32 equal bytes as a line of a key file.
func keyOf(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keySize)) + "\n"
}

// reload sends SIGHUP and waits until the log has one more line with want.
func (n *node) reload(want string) {
	n.g.t.Helper()
	before := strings.Count(n.log(), want)
	n.signal(syscall.SIGHUP)
	n.g.eventually(func() error {
		if got := strings.Count(n.log(), want); got != before+1 {
			return fmt.Errorf("%s: got %d lines with %q after SIGHUP, want %d", n.name, got, want, before+1)
		}
		return nil
	})
}

// The keys of a live group change with no member lost and no new leader, one node
// after the other at each step.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	old, fresh := keyOf(1), keyOf(2)
	file := func(n *node) string { return strings.ReplaceAll(n.name, ":", "_") + ".keys" }
	for _, n := range g.nodes {
		n.args = append(n.args, "--encrypt-key-file", g.secretFile(file(n), old))
	}
	g.start(patient...)
	g.checkLeader(g.nodes[0], g.nodes...)
	g.checkHeir(g.nodes[1], g.nodes...)
	watch := newCalm(t, g.nodes...)
	for _, keys := range []string{old + fresh, fresh + old, fresh} {
		for _, n := range g.nodes {
			g.secretFile(file(n), keys)
			n.reload("read the log level, the keyring again")
			g.checkAgreed(n)
		}
	}
	// A file that is bad anywhere, or that others may read, changes nothing.
	for name, spoil := range map[string]func(path string) error{
		"line 2":                 func(path string) error { return os.WriteFile(path, []byte(keyOf(3)+keyOf(4)[:20]), 0o600) },
		"holds no key":           func(path string) error { return os.WriteFile(path, []byte("# none\n"), 0o600) },
		"is refused: with mode ": func(path string) error { return os.Chmod(path, 0o644) },
		"no such file":           os.Remove,
	} {
		n := g.nodes[1]
		path := g.secretFile(file(n), fresh)
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		n.reload("the keyring was not read again and stays as it was")
		if !strings.Contains(n.log(), name) {
			t.Errorf("the log after a bad key file: no %q in it", name)
		}
	}
	g.checkAgreed(g.nodes...)
	watch.check()
	for _, n := range g.nodes {
		a, err := n.client().get(context.Background(), "/metrics", http.StatusOK)
		if err != nil || bytes.Contains(a.body, []byte(`reason="undecryptable"`)) {
			t.Errorf("%s: want nothing that no key opens, got %v: %s", n.name, err, a.body)
		}
	}
}

// checkAgreed asks for a diagnosis of each node until every member answers and
// agrees: questions travel encrypted, too.
func (g *group) checkAgreed(nodes ...*node) {
	g.t.Helper()
	for _, n := range nodes {
		g.eventually(func() error {
			var d diagAnswer
			if !n.get("/diag", &d) || d.Verdict.Status != "agreed" || len(d.MemberStates) != len(g.nodes) {
				return fmt.Errorf("%s: got the verdict %+v of %d members, want agreed", n.name, d.Verdict, len(d.MemberStates))
			}
			return nil
		})
	}
}

// A new token counts from SIGHUP on; a bad file leaves the old one.
func TestTokenReload(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	path := g.secretFile("token", "first\n")
	a.start("--lone-wait", "0s", "--api-token-file", path)
	g.checkLeader(a, a)
	// A proxy's header takes the privilege of loopback away, so the token counts.
	status := func(token string) int {
		req, err := http.NewRequest(http.MethodPost, "http://"+a.name+"/election", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Forwarded-For", "192.0.2.1")
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	check := func(good, bad string) {
		t.Helper()
		if got := status(good); got != http.StatusOK {
			t.Errorf("with the token %s: got %d, want 200", good, got)
		}
		if got := status(bad); got != http.StatusUnauthorized {
			t.Errorf("with the token %s: got %d, want 401", bad, got)
		}
	}
	check("first", "second")
	g.secretFile("token", "second\n")
	a.reload("read the log level, the token again")
	check("second", "first")
	for _, bad := range []string{"", " \n\t\n", "two words\n"} {
		g.secretFile("token", bad)
		a.reload("the token was not read again and stays as it was")
		check("second", "first")
	}
}

// A file with a secret that is half readable, or readable by others, keeps the
// agent from starting; so says validate, and so does a client with a token.
func TestBadSecretFiles(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 0)
	for i, test := range []struct {
		flag, text string
		mode       os.FileMode
		want       string
	}{
		{"encrypt-key-file", "", 0o600, "holds no key"},
		{"encrypt-key-file", keyOf(1) + "half a li", 0o600, "line 2 is not base64"},
		{"encrypt-key-file", keyOf(1) + keyOf(1), 0o600, "line 2 holds the same key as line 1"},
		{"encrypt-key-file", "c2hvcnQ=\n", 0o600, "holds a key of 5 bytes"},
		{"encrypt-key-file", keyOf(1), 0o644, "with mode 0644 every user of this host has access to it"},
		{"encrypt-key-file", keyOf(1), 0o640, "its group has access to it"},
		{"api-token-file", " \n", 0o600, "holds no token"},
		{"api-token-file", "a b\n", 0o600, "more than one word"},
		{"api-token-file", "token\n", 0o604, "every user of this host has access to it"},
	} {
		path := g.secretFile(fmt.Sprint("secret", i), test.text)
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		commands := [][]string{{"--bind-addr", "127.0.0.1", "--bind-port", "0"}, {"validate"}}
		if test.flag == "api-token-file" {
			commands = append(commands, []string{"step-down"})
		}
		for _, args := range commands {
			args = append(args, "--"+test.flag, path)
			cmd := exec.Command(g.exe, args...)
			cmd.Env = append(withoutSettings(os.Environ()), "DOYEN_LOG_LEVEL=error")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) || !strings.Contains(string(out), test.flag) || bytes.Count(out, []byte("\n")) != 1 {
				t.Errorf("agent %q with %q and mode %04o: got %q, want one sentence with %q", args, test.text, test.mode, out, test.want)
			}
		}
	}
}

// A file that is bad anywhere changes nothing, and one line names all that is wrong.
// Of a good one, what counts only from the next start on is named in one line.
func TestReloadOfTheConfiguration(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	path := g.secretFile("doyen.yaml", "log-level: info\n")
	a.start("--lone-wait", "0s", "--config", path)
	g.checkLeader(a, a)
	g.secretFile("doyen.yaml", "log-level: loud\nprofil: wan\nelections: {web: {rule: none}, mail: {hook: /missing-hook, run: [/missing-job]}}\n")
	a.reload("the configuration is bad, so that nothing of it counts: all settings stay as they were")
	log := a.log()
	for _, fault := range []string{"log-level", "profil", "election web", "/missing-hook", "/missing-job"} {
		if line := lineWith(log, "the configuration is bad"); !strings.Contains(line, fault) {
			t.Errorf("want the line about a bad file to name %s, got %q", fault, line)
		}
	}
	if all, err := a.elections(); err != nil || len(all) != 1 {
		t.Errorf("of a bad file an election is taken: %v, %v", all, err)
	}
	g.secretFile("doyen.yaml", "")
	a.reload("doyen.yaml is empty")
	g.secretFile("doyen.yaml", "log-level: debug\nprofile: wan\nrule: bully\nid: 7\nlog-format: json\nlease: 9s\nelections: {mail: {}}\n")
	a.reload(`settings="profile, lease, id, rule, log-format"`)
	g.eventually(func() error {
		if all, err := a.elections(); err != nil || all["mail"].Leader == nil {
			return fmt.Errorf("mail is not led: %v, %v", all, err)
		}
		return nil
	})
	g.eventually(func() error {
		if log := a.log(); !strings.Contains(log, `msg="read the log level again" level=DEBUG`) || !strings.Contains(log, "level=DEBUG msg=") {
			return fmt.Errorf("the log level of the good file does not count")
		}
		return nil
	})
}

// A floating address on an interface that the host does not have is refused by a reload as
// by validate, with all else that is new. One that was there from the start is not: its
// interface may come, and other settings can be changed until then.
func TestReloadWithAnInterfaceThatIsMissing(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	const settings = "lone-wait: 0s\nfloating-ip: [10.88.0.7/24@late0]\n"
	path := l.secretFile("doyen.yaml", settings)
	h.start("--config", path)
	missing := func(iface string) {
		t.Helper()
		l.eventually(func() error {
			for _, f := range h.state().Findings {
				if f.What == "floating-ip-no-link" && strings.Contains(f.Evidence, "interface "+iface+" does not exist") {
					return nil
				}
			}
			return fmt.Errorf("want the finding about %s, got %+v", iface, h.state().Findings)
		})
	}
	missing("late0")

	for _, bad := range []struct{ text, want string }{
		{"lone-wait: 0s\nlog-level: debug\nfloating-ip: [10.88.0.7/24@late0, 10.88.0.8/24@eht0]\n", "floating-ip 10.88.0.8/24@eht0: this host has no interface eht0"},
		{settings + "log-level: debug\nelections: {web: {floating-ip: 10.88.0.8/24@eht0}}\n", "election web: floating-ip 10.88.0.8/24@eht0: this host has no interface eht0"},
	} {
		l.secretFile("doyen.yaml", bad.text)
		h.reload("the configuration is bad, so that nothing of it counts: all settings stay as they were\" error=\"" + bad.want + "\"")
		if got := h.run(l.exe, "validate", "--config", path); !strings.Contains(got, bad.want) {
			t.Errorf("want validate to say %q, got %s", bad.want, got)
		}
	}
	if s := h.state(); len(s.Addresses) != 1 || len(s.Elections) != 1 {
		t.Errorf("of a bad file something is taken: %+v, %+v", s.Addresses, s.Elections)
	}
	l.secretFile("doyen.yaml", settings+"elections: {mail: {floating-ip: 10.88.0.9/24@eth0}}\n")
	h.reload("read the log level again")
	missing("late0")
	ip(t, "-n", h.ns, "link", "add", "late0", "type", "bridge")
	ip(t, "-n", h.ns, "addr", "add", "10.88.0.70/24", "dev", "late0")
	ip(t, "-n", h.ns, "link", "set", "late0", "up")
	l.eventually(func() error {
		for _, f := range h.state().Findings {
			if strings.Contains(f.Evidence, "does not exist") {
				return fmt.Errorf("the finding stays: %+v", f)
			}
		}
		return nil
	})
}

// What the leader of an election is to hold comes and goes while it leads, the first and
// the last thing too: the leadership goes on, and what is there is what the file says.
func TestReloadOfWhatALeaderHolds(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	hook := g.hook()
	const settings = "lone-wait: 0s\nlease: 5s\n"
	path := g.secretFile("doyen.yaml", settings)
	a.start("--config", path)
	g.checkLeader(a, a)
	term := a.state().Term
	for _, step := range []struct {
		held string
		want func(s agent.State) error
	}{
		{"run: [sleep, '1000']\n", commandIs(true)},
		{"", commandIs(false)},
		{"hook: " + hook + "\n", hookRan(g, "acquire")},
		{"", hookRan(g, "release")},
		{"hook: " + hook + "\nrun: [sleep, '1000']\n", commandIs(true)},
		{"run: [sleep, '1000']\n", hookRan(g, "release")},
		{"", commandIs(false)},
	} {
		g.secretFile("doyen.yaml", settings+step.held)
		a.reload("the settings of the election have changed")
		g.eventually(func() error {
			if err := step.want(a.state()); err != nil {
				return fmt.Errorf("with %q: %w", step.held, err)
			}
			return nil
		})
		if s := a.state(); !s.IsLeader || s.Term != term {
			t.Fatalf("with %q: want term %d led, got %v and %d", step.held, term, s.IsLeader, s.Term)
		}
	}
	if log := a.log(); strings.Contains(log, "this member leads no more") {
		t.Errorf("the leadership has ended:\n%s", log)
	}
}

// commandIs wants the command to run, or not to.
func commandIs(running bool) func(agent.State) error {
	return func(s agent.State) error {
		if got := s.Command != nil && s.Command.PID != nil; got != running {
			return fmt.Errorf("the command runs: %v, want %v", got, running)
		}
		return nil
	}
}

// hookRan wants an event to be the last that the hook was run for.
func hookRan(g *group, event string) func(agent.State) error {
	return func(agent.State) error {
		all := slices.DeleteFunc(g.events(), func(e string) bool { return strings.Fields(e)[1] == "change" })
		if len(all) == 0 || strings.Fields(all[len(all)-1])[1] != event {
			return fmt.Errorf("the hook was run for %q, want %s last", all, event)
		}
		return nil
	}
}

// lineWith returns the first line of a text that contains another.
func lineWith(text, want string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, want) {
			return line
		}
	}
	return ""
}

// keepTable has another program keep a table of nftables for itself, until free is called.
func (h *host) keepTable(t *testing.T, name string) (free func()) {
	t.Helper()
	nft := exec.Command("ip", "netns", "exec", h.ns, "nft", "-i")
	orders, err := nft.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Start(); err != nil {
		t.Fatal(err)
	}
	free = sync.OnceFunc(func() {
		orders.Close()
		nft.Wait()
	})
	t.Cleanup(free)
	fmt.Fprintf(orders, "add table inet %s { flags owner; }\n", name)
	if !poll(func() bool { return strings.Contains(h.run("nft", "list", "tables"), name) }) {
		t.Fatalf("nft makes no table %s", name)
	}
	return free
}

// A reload adds a floating address that cannot be guarded: its table is another program's, which
// keeps all others out. Until then the address is not there and the others are; then it is,
// without another reload.
func TestReloadOfAnAddressThatCannotBeGuardedYet(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	const settings = "lone-wait: 0s\nlease: 5s\nfloating-ip: [10.88.0.100/24@eth0%s]\n"
	path := l.secretFile("doyen.yaml", fmt.Sprintf(settings, ""))
	h.start("--config", path)
	held := func(want ...string) {
		t.Helper()
		l.eventually(func() error {
			tables := h.run("nft", "list", "tables")
			for _, ip := range []string{"10.88.0.100", "10.88.0.101"} {
				there := slices.Contains(h.addresses(), ip+"/24")
				guarded := strings.Contains(tables, "table inet doyen_"+ip+"\n") && strings.Contains(tables, "table arp doyen_"+ip+"\n")
				if wanted := slices.Contains(want, ip); there != wanted || guarded != wanted {
					return fmt.Errorf("%s: want it held and guarded: %v, got %v, %v\n%s", ip, wanted, there, guarded, h.log())
				}
			}
			return nil
		})
	}
	held("10.88.0.100")
	free := h.keepTable(t, "doyen_10.88.0.101")
	l.secretFile("doyen.yaml", fmt.Sprintf(settings, ", 10.88.0.101/24@eth0"))
	h.reload("the settings of the election have changed")
	l.eventually(func() error {
		if log := h.log(); !strings.Contains(log, "operation not permitted") {
			return fmt.Errorf("want the failure told, got\n%s", log)
		}
		return nil
	})
	held("10.88.0.100")
	free()
	held("10.88.0.100", "10.88.0.101")
	l.eventually(func() error {
		for _, line := range []string{"msg=finding what=floating-ip-not-changed", `msg="finding is over" what=floating-ip-not-changed`} {
			if got := strings.Count(h.log(), line); got != 1 {
				return fmt.Errorf("want one line %q, got %d\n%s", line, got, h.log())
			}
		}
		return nil
	})
	l.secretFile("doyen.yaml", fmt.Sprintf(settings, ""))
	h.reload("the settings of the election have changed")
	held("10.88.0.100")
	if log := h.log(); strings.Contains(log, "this member leads no more") {
		t.Errorf("the leadership has ended:\n%s", log)
	}
}

// An address that could not be guarded is taken from the settings again: nothing of it is left,
// neither the finding nor the lock, which another agent of the host may want.
func TestReloadWithoutAnAddressThatCouldNotBeGuarded(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	const settings = "lone-wait: 0s\nfloating-ip: [10.88.0.100/24@eth0%s]\n"
	h.start("--config", l.secretFile("doyen.yaml", fmt.Sprintf(settings, "")))
	l.holder()
	h.keepTable(t, "doyen_10.88.0.101")
	for _, step := range []struct {
		more, says string
		locked     bool
	}{
		{", 10.88.0.101/24@eth0", "msg=finding what=floating-ip-not-changed", true},
		{"", `msg="finding is over" what=floating-ip-not-changed`, false},
	} {
		l.secretFile("doyen.yaml", fmt.Sprintf(settings, step.more))
		h.reload("the settings of the election have changed")
		l.eventually(func() error {
			locked := strings.Contains(h.run("cat", "/proc/net/unix"), "@doyen-address-10.88.0.101")
			if log := h.log(); !strings.Contains(log, step.says) || locked != step.locked {
				return fmt.Errorf("want %q and the address locked: %v, got %v\n%s", step.says, step.locked, locked, log)
			}
			return nil
		})
	}
	if !h.has() {
		t.Errorf("the host has lost the other address:\n%s", h.log())
	}
}
