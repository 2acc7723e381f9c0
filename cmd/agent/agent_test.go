package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// The three command lines of the README, on three terminals.
func TestThreeAgents(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3).start("--hook", "")
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	g.checkLeader(a, a, b, c)

	var diag struct {
		State        agent.State                `json:"state"`
		MemberStates map[string]json.RawMessage `json:"member_states"`
		Verdict      struct{ Status, Leader string }
	}
	g.eventually(func() error {
		if !c.get("/diag/", &diag) {
			return fmt.Errorf("%s does not answer /diag/", c.name)
		}
		if diag.Verdict.Status != "agreed" {
			return fmt.Errorf("verdict: got %+v, want agreed", diag.Verdict)
		}
		return nil
	})
	if diag.State.Name != c.name || diag.Verdict.Leader != a.name {
		t.Errorf("/diag/: got the state of %q and the leader %q, want %q and %q", diag.State.Name, diag.Verdict.Leader, c.name, a.name)
	}
	for _, name := range g.names() {
		var s agent.State
		if err := json.Unmarshal(diag.MemberStates[name], &s); err != nil || s.Name != name {
			t.Errorf("/diag/: got %s for %s (%v), want its state", diag.MemberStates[name], name, err)
		}
	}
	var members []agent.MemberInfo
	g.eventually(func() error { // a number in the order may still be under way
		if !c.get("/members", &members) || len(members) != 3 || members[0].Name != a.name || members[2].Name != c.name {
			return fmt.Errorf("/members: got %+v, want %q in the order they were started", members, g.names())
		}
		return nil
	})

	// The agent dies and its host lives.
	g.checkHeir(b, a, b, c)
	a.signal(syscall.SIGKILL)
	a.wait()
	g.eventuallyLeads(b, b, c)

	// A restarted agent is the youngest.
	a.start()
	g.checkLeader(b, a, b, c)
	g.eventually(func() error {
		if !b.get("/members", &members) || len(members) != 3 || members[2].Name != a.name {
			return fmt.Errorf("/members after a restart: got %+v, want %s last", members, a.name)
		}
		return nil
	})
}

// eventuallyLeads is checkLeader for a group in which a dead member may still
// be listed.
func (g *group) eventuallyLeads(want *node, nodes ...*node) {
	g.t.Helper()
	g.eventually(func() error {
		for _, n := range nodes {
			if s := n.state(); s.Leader == nil || *s.Leader != want.name || s.IsLeader != (n == want) {
				return fmt.Errorf("%s: got leader %q, want %q", n.name, n.leader(), want.name)
			}
		}
		return nil
	})
}

// kill -9 of agent and keeper leaves no member who could tell the others.
func TestAgentAndKeeperKilled(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, count).start()
			leader := g.nodes[0]
			g.checkLeader(leader, g.nodes...)
			g.checkHeir(g.nodes[1], g.nodes...)
			keeper := leader.state().KeeperPID
			if keeper == nil {
				t.Fatal("keeper_pid: got null, want the keeper's")
			}
			// Stopped first, the keeper cannot act between the two kills.
			for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
				if err := syscall.Kill(*keeper, s); err != nil {
					t.Fatal(err)
				}
				leader.signal(syscall.SIGKILL)
			}
			leader.wait()
			g.eventuallyLeads(g.nodes[1], g.nodes[1:]...)
		})
	}
}

// A crash: the keeper runs release, and only then does another acquire.
func TestKeeperReleases(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.start("--hook", g.hook())
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	g.checkLeader(a, a, b, c)
	g.eventuallyEvent(a.name + " acquire end")
	g.checkHeir(b, a, b, c)
	a.signal(syscall.SIGKILL)
	a.wait()
	g.eventuallyLeads(b, b, c)
	g.eventuallyEvent(b.name + " acquire end")
	g.checkOrder(a.name+" acquire end", a.name+" release begin", a.name+" release end", b.name+" acquire begin")
	g.eventuallyEvent(c.name + " change end")
}

// checkOrder checks that the last lines with these prefixes stand in this order.
func (g *group) checkOrder(prefixes ...string) {
	g.t.Helper()
	for i := 1; i < len(prefixes); i++ {
		if first, second := g.event(prefixes[i-1]), g.event(prefixes[i]); first < 0 || second < 0 || first > second {
			g.t.Errorf("hook lines %q and %q: got them at %d and %d, want them in this order", prefixes[i-1], prefixes[i], first, second)
		}
	}
}

// SIGTERM: release has ended before acquire begins; exit 0.
func TestHandOver(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, 3)
			g.start("--hook", g.hook())
			a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
			g.checkLeader(a, a, b, c)
			g.eventuallyEvent(a.name + " acquire end")
			g.checkHeir(b, a, b, c)
			a.signal(sig)
			if got := a.wait(); got != exitOK {
				t.Errorf("exit code: got %d, want %d", got, exitOK)
			}
			g.checkLeader(b, b, c) // it has left, and is not merely silent
			g.eventuallyEvent(b.name + " acquire end")
			g.checkOrder(a.name+" acquire end", a.name+" release begin", a.name+" release end", b.name+" acquire begin")
			g.checkOrder(a.name+" release begin startup", a.name+" acquire begin")
		})
	}
}

// A second signal exits at once, although the release hangs.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	g.also("[ $1$DOYEN_REASON = releasestartup ] || [ $1 != release ] || exec sleep 1000")
	a := g.nodes[0]
	a.start("--hook", g.hook(), "--lone-wait", "0s", "--hook-timeout", "1s")
	g.checkLeader(a, a)
	g.eventuallyEvent(a.name + " acquire end")
	a.signal(syscall.SIGTERM)
	g.eventually(func() error {
		if g.event(a.name+" release begin") < g.event(a.name+" acquire end") {
			return fmt.Errorf("the last release has not begun")
		}
		return nil
	})
	a.signal(syscall.SIGTERM)
	if got := a.wait(); got != exitFailed {
		t.Errorf("exit code: got %d, want %d", got, exitFailed)
	}
}

// also gives the hook something more to do.
func (g *group) also(script string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, "also"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		g.t.Fatal(err)
	}
}

func TestBully(t *testing.T) {
	t.Parallel()
	for _, preempt := range []bool{true, false} {
		t.Run(fmt.Sprintf("preempt=%v", preempt), func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, 3)
			for i, n := range g.nodes {
				n.args = append(n.args, "--rule", "bully", "--id", fmt.Sprint(i+1), "--hook", g.hook(), fmt.Sprintf("--preempt=%v", preempt))
			}
			low, middle, high := g.nodes[0], g.nodes[1], g.nodes[2]
			high.start("--lone-wait", "0s")
			g.checkLeader(high, high)
			middle.start()
			low.start()
			g.checkLeader(high, low, middle, high)
			// A leader hands over to members that have answered it.
			g.eventually(func() error {
				const sent = `doyen_messages_total{direction="sent",election="group",kind="confirm"} 0`
				if a, err := middle.client().get(context.Background(), "/metrics", http.StatusOK); err != nil || strings.Contains(string(a.body), sent) {
					return fmt.Errorf("%s has confirmed nothing yet: %v", middle.name, err)
				}
				return nil
			})
			high.signal(syscall.SIGTERM)
			high.wait()
			g.checkLeader(middle, low, middle)
			g.eventuallyEvent(middle.name + " acquire end")
			high.start()
			if !preempt {
				g.checkLeader(middle, low, middle, high)
				return
			}
			g.checkLeader(high, low, middle, high)
			g.eventuallyEvent(middle.name + " release end")
			g.eventually(func() error {
				if g.event(high.name+" acquire end") < g.event(middle.name+" release end") {
					return fmt.Errorf("%s has not acquired after %s released", high.name, middle.name)
				}
				return nil
			})
			g.checkOrder(middle.name+" acquire end", middle.name+" release begin", middle.name+" release end", high.name+" acquire begin")
		})
	}
}

// HTTP at another address, or nowhere, does not hide a member from /diag.
func TestHTTPElsewhere(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	a.start()
	b.start("--http", "off")
	c.start("--http", "127.0.0.1:0")
	g.eventually(func() error {
		var d diagAnswer
		if !a.get("/diag", &d) || d.Verdict.Status != "agreed" || len(d.MemberStates) != 3 {
			return fmt.Errorf("/diag: got %q and %d members, want agreed and 3", d.Verdict.Status, len(d.MemberStates))
		}
		for name, s := range d.MemberStates {
			if s.Name != name {
				return fmt.Errorf("/diag: got %+v for %s", s, name)
			}
		}
		return nil
	})
	if b.state().Name != "" || c.state().Name != "" {
		t.Error("HTTP on the gossip port of members that have it elsewhere: got an answer, want none")
	}
	_, addr, ok := strings.Cut(c.log(), "answering HTTP on ")
	addr, _, _ = strings.Cut(addr, `"`)
	if other := (&node{g: g, name: addr}); !ok || other.state().Name != c.name {
		t.Errorf("HTTP at %q: got no state of %s", addr, c.name)
	}
}

// Port 0 picks a free one and says which, in one line.
func TestPortZero(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	n := g.nodes[0]
	n.args = []string{"--bind-addr", "127.0.0.1", "--bind-port", "0", "--lone-wait", "0s"}
	n.start()
	g.eventually(func() error {
		_, addr, ok := strings.Cut(n.log(), "listening on ")
		addr, _, _ = strings.Cut(addr, `"`)
		if !ok {
			return fmt.Errorf("the log does not say where the agent listens")
		}
		if got := (&node{g: g, name: addr}).leader(); got != addr {
			return fmt.Errorf("%s: got leader %q, want itself", addr, got)
		}
		return nil
	})
}

// What cannot be is one sentence, and an exit code.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	a.start("--lone-wait", "0s")
	g.checkLeader(a, a)
	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{a.args, "bind-port", exitFailed},
		{[]string{"--bind-addr", "nosuchinterface", "--bind-port", "0"}, "bind-addr", exitUsage},
		{[]string{"--bind-addr", "127.0.0.1", "--bind-port", "0", "--http", a.name}, "--http", exitFailed},
		{[]string{"--bind-addr", "127.0.0.1", "--bind-port", "0", "--encrypt-key-file", "/nonexistent"}, "encrypt-key-file", exitUsage},
		{[]string{"--bind-addr", "127.0.0.1", "--bind-port", "0", "--api-token-file", "/nonexistent"}, "--api-token-file", exitUsage},
		{[]string{"--lease", "soon"}, "--lease", exitUsage},
	} {
		var stderr bytes.Buffer
		cmd := exec.Command(g.exe, test.args...)
		cmd.Stderr = &stderr
		cmd.Env = append(withoutSettings(os.Environ()), "DOYEN_LOG_LEVEL=error")
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); err == nil || got != test.code {
			t.Errorf("agent %q: got exit %d, want %d", test.args, got, test.code)
		}
		if got := stderr.String(); !strings.HasPrefix(got, "agent: ") || !strings.Contains(got, test.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("agent %q: got %q, want one sentence with %q", test.args, got, test.want)
		}
	}
}

// SIGHUP takes over a new log level; a file that is bad changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	file := filepath.Join(g.dir, "doyen.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := g.nodes[0]
	write("log-level: error\nlone-wait: 0s\n")
	a.start("--config", file)
	g.checkLeader(a, a)
	if got := a.log(); got != "" {
		t.Errorf("log at level error: got %q, want nothing", got)
	}
	for _, step := range []struct{ content, want string }{
		{"log-level: loud\n", "nothing of it counts"},
		{"log-level: info\n", "level=INFO msg=\"read the log level"},
	} {
		write(step.content)
		a.signal(syscall.SIGHUP)
		g.eventually(func() error {
			if !strings.Contains(a.log(), step.want) {
				return fmt.Errorf("the log after %q: no %q in it", step.content, step.want)
			}
			return nil
		})
	}
	if got := a.leader(); got != a.name {
		t.Errorf("leader after a reload: got %q, want %q", got, a.name)
	}
}

// The client commands work on a live agent, and watch begins with the state.
func TestCommandsLive(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3).start()
	g.checkLeader(g.nodes[0], g.nodes...)
	g.checkHeir(g.nodes[1], g.nodes...)
	for _, test := range []struct {
		command string
		want    string
	}{
		{"leader", g.nodes[0].name + "\n"},
		{"status", "leader"},
		{"members", g.nodes[2].name},
		{"diag", "agreed: " + g.nodes[0].name + " leads"},
		{"history", "TERM"},
		{"ready", "ready: " + g.nodes[1].name + " would lead"},
	} {
		for _, more := range [][]string{nil, {"--json"}} {
			args := append([]string{test.command, "--addr", g.nodes[1].name}, more...)
			g.eventually(func() error { // a member may answer too late for a diagnosis
				out, stderr, code := g.command(args...)
				switch {
				case code != exitOK:
					return fmt.Errorf("agent %q: exit %d: %s%s", args, code, out, stderr)
				case more == nil && !strings.Contains(out, test.want):
					return fmt.Errorf("agent %q: got %q, want %q in it", args, out, test.want)
				case more != nil && !json.Valid([]byte(out)):
					return fmt.Errorf("agent %q: got %q, want JSON", args, out)
				}
				return nil
			})
		}
	}

	watching := exec.Command(g.exe, "watch", "--addr", g.nodes[1].name)
	out, err := watching.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watching.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		watching.Process.Kill()
		watching.Wait()
	}()
	events := bufio.NewReader(out)
	first, err := events.ReadString('\n')
	if err != nil || !strings.Contains(first, "state") {
		t.Fatalf("agent watch: got %q (%v), want the state first", first, err)
	}
	if out, err := exec.Command(g.exe, "step-down", "--addr", g.nodes[0].name).CombinedOutput(); err != nil {
		t.Errorf("agent step-down: %v: %s", err, out)
	}
	g.checkLeader(g.nodes[1], g.nodes...)
	if out, err := exec.Command(g.exe, "leave", "--addr", g.nodes[2].name).CombinedOutput(); err != nil {
		t.Errorf("agent leave: %v: %s", err, out)
	}
	if got := g.nodes[2].wait(); got != exitOK {
		t.Errorf("exit code after leave: got %d, want %d", got, exitOK)
	}
	g.nodes[1].signal(syscall.SIGTERM)
	g.nodes[1].wait()
	// The stream ended with the agent; the next one begins with the state.
	g.nodes[1].start()
	var rest strings.Builder
	for leads := false; ; {
		line, err := events.ReadString('\n')
		rest.WriteString(line)
		if err != nil {
			t.Fatalf("agent watch: got %q (%v), want a lead and, after a restart, the state again", &rest, err)
		}
		if strings.Contains(line, g.nodes[1].name+" leads") {
			leads = true
		}
		if leads && strings.Contains(line, " state ") {
			break
		}
	}
}

// The demonstration runs to its end by itself when no terminal watches, and leaves
// nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 0)
	out, err := exec.Command(g.exe, "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("agent demo: %v: %s", err, out)
	}
	for _, want := range []string{"agreed: ", "release reason=", "acquire reason=", "and both survivors say so", "Done."} {
		if !strings.Contains(string(out), want) {
			t.Errorf("agent demo: got %s, want %q in it", out, want)
		}
	}
}
