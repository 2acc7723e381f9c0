package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// tell runs a client command and expects it to succeed.
func (n *node) tell(args ...string) string {
	n.g.t.Helper()
	out, err := exec.Command(n.g.exe, append(args, "--addr", n.name)...).CombinedOutput()
	if err != nil {
		n.g.t.Fatalf("agent %q at %s: %v: %s", args, n.name, err, out)
	}
	return string(out)
}

// aside waits until a member stands aside for a time, or does not.
func (n *node) aside(want bool) {
	n.g.t.Helper()
	n.g.eventually(func() error {
		s := n.state()
		if len(s.Members) < len(n.g.nodes) || (s.MaintenanceUntil != nil) != want || s.Eligible == want {
			return fmt.Errorf("%s: got maintenance until %v, eligible %v and %d members, want it aside: %v", n.name, s.MaintenanceUntil, s.Eligible, len(s.Members), want)
		}
		return nil
	})
}

// A leader is put aside, is no candidate across kill -9, and then is one again.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	a.args = append(a.args, "--state-dir", filepath.Join(g.dir, "state"))
	g.start("--hook", g.hook())
	g.checkLeader(a, a, b, c)
	g.checkHeir(b, a, b, c)
	if out := a.tell("step-down", "--for", "1h"); !strings.Contains(out, b.name+" leads") || !strings.Contains(out, "no candidate until") {
		t.Errorf("agent step-down --for: got %q", out)
	}
	g.checkLeader(b, a, b, c)
	g.eventuallyEvent(b.name + " acquire end")
	g.checkOrder(a.name+" release begin", a.name+" release end", b.name+" acquire begin")
	c.tell("step-down", "--for", "1h")
	a.aside(true)
	c.aside(true)
	g.eventually(func() error {
		var r agent.Readiness
		if !b.get("/ready", &r, http.StatusServiceUnavailable) || r.WouldLead != nil {
			return fmt.Errorf("%s: got /ready %+v, want nobody to lead next", b.name, r)
		}
		return nil
	})
	for _, part := range []string{"no-successor " + b.name, "maintenance " + a.name, "maintenance " + c.name} {
		if out := b.tell("diag"); !strings.Contains(out, part) {
			t.Errorf("agent diag: got %q, want %q in it", out, part)
		}
	}
	// Nobody is left to hand over to.
	if out, err := exec.Command(g.exe, "step-down", "--for", "1h", "--addr", b.name).CombinedOutput(); err == nil || !strings.Contains(string(out), "nothing has changed") {
		t.Errorf("agent step-down --for of the last candidate: got %q, want it refused", out)
	}

	for _, n := range []*node{a, c} {
		n.signal(syscall.SIGKILL)
		n.wait()
		n.start()
	}
	a.aside(true)
	c.aside(false) // without --state-dir it is forgotten
	g.checkLeader(b, a, b, c)
	a.tell("resume")
	a.aside(false)
	// Which of the two is next in line depends on who of them came back first.
	g.eventually(func() error {
		var r agent.Readiness
		if !b.get("/ready", &r, http.StatusOK) || r.WouldLead == nil {
			return fmt.Errorf("%s: got /ready %+v, want somebody to lead next", b.name, r)
		}
		return nil
	})
	b.tell("step-down", "--for", "30m")
	g.eventually(func() error {
		if l := b.leader(); l == b.name || l == "" {
			return fmt.Errorf("%s: got leader %q, want another", b.name, l)
		}
		return nil
	})
}
