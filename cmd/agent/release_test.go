package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// After agent and keeper have been killed, release gives up what they held, in
// the name of the same member, and may come again.
func TestReleaseAfterAgentAndKeeper(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	a.start("--hook", g.hook(), "--lone-wait", "0s")
	g.checkLeader(a, a)
	g.eventuallyEvent(a.name + " acquire end")
	keeper := *a.state().KeeperPID
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		if err := syscall.Kill(keeper, s); err != nil {
			t.Fatal(err)
		}
		a.signal(syscall.SIGKILL)
	}
	a.wait()
	release := append([]string{"release", "--hook", g.hook()}, a.args...)
	for range 2 {
		before := len(g.events())
		if _, stderr, code := g.command(release...); code != exitOK {
			t.Fatalf("release: got %d, %s, want %d", code, stderr, exitOK)
		}
		if got := strings.Join(g.events()[before:], ", "); got != a.name+" release begin stop 0, "+a.name+" release end stop 0" {
			t.Errorf("release: got the events %s, want one release", got)
		}
	}
}

// Beside a running agent release touches nothing, and says why.
func TestReleaseBesideAnAgent(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	a.start("--hook", g.hook(), "--lone-wait", "0s")
	g.checkLeader(a, a)
	g.eventuallyEvent(a.name + " acquire end")
	// With a limit of an hour, what waited would never come back here.
	_, stderr, code := g.command(append([]string{"release", "--hook", g.hook(), "--hook-timeout", "1h"}, a.args...)...)
	want := fmt.Sprintf("agent: process %d runs hooks for %s already, and its agent, process %d, still runs: nothing was touched; stop the agent first\n",
		*a.state().KeeperPID, a.name, a.state().PID)
	if code != exitFailed || stderr != want {
		t.Errorf("release: got %d, %s, want %d and %s", code, stderr, exitFailed, want)
	}
	g.checkLeader(a, a)
	if g.event(a.name+" release begin stop") >= 0 {
		t.Error("release ran the hook beside the agent's keeper")
	}
}

// Who holds nothing has nothing to release, wherever it is.
func TestReleaseOfNothing(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 0)
	if _, stderr, code := g.command("release", "--bind-interface", "none-such"); code != exitOK {
		t.Errorf("release without hook and address: got %d, %s, want %d", code, stderr, exitOK)
	}
	if _, _, code := g.command("release", "--hook", "/bin/true", "--bind-port", "0", "--bind-addr", "127.0.0.1"); code != exitFailed {
		t.Errorf("release of a member that no client can name: got %d, want %d", code, exitFailed)
	}
}
