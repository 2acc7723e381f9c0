package main

import (
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doyen/agent"
)

// tell runs a client command and expects it to succeed.
func (n *node) tell(args ...string) string {
	n.g.t.Helper()
	line := slices.Concat(n.within, []string{n.g.exe}, args)
	if n.within == nil { // else it is the one at the command's default address
		line = append(line, "--addr", n.name)
	}
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
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
			return fmt.Errorf("%s: got /ready %+v, want no member to lead next", b.name, r)
		}
		return nil
	})
	// The line of succession marks the leader, and says why the others may not lead.
	g.eventually(func() error {
		states := map[string]string{}
		out := b.tell("members")
		for line := range strings.Lines(out) {
			for _, n := range g.nodes {
				if strings.Contains(line, " "+n.name+" ") {
					columns := strings.Split(strings.TrimSpace(line), "  ")
					states[n.name] = columns[len(columns)-1]
				}
			}
		}
		const aside = "alive, may not lead: stood-aside"
		if want := map[string]string{a.name: aside, b.name: "leads", c.name: aside}; !maps.Equal(states, want) {
			return fmt.Errorf("agent members: got %v, want %v, of\n%s", states, want, out)
		}
		return nil
	})
	for _, part := range []string{"no-successor " + b.name, "maintenance " + a.name, "maintenance " + c.name} {
		if out := b.tell("diag"); !strings.Contains(out, part) {
			t.Errorf("agent diag: got %q, want %q in it", out, part)
		}
	}
	// No member is left to hand over to.
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

// A hand-over after which no member leads exits with 2: a script that goes on to restart the
// host learns of it.
func TestStepDownIntoNoLeader(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.start("--voters", "seeds", "--lease", "5s") // the others must have answered within the last lease
	g.agreed()
	leader := g.leading()
	for _, n := range g.nodes {
		if n != leader {
			n.signal(syscall.SIGSTOP)
			defer n.signal(syscall.SIGCONT)
		}
	}
	out, errs, code := g.command("step-down", "--addr", leader.name)
	if want := "agent: no member is known to lead\n"; code != exitNoLeader || !strings.HasPrefix(out, "handed over; ") || errs != want {
		t.Errorf("step-down: got exit %d, %q and %q, want exit %d and %q", code, out, errs, exitNoLeader, want)
	}
	if s := leader.state(); s.IsLeader || s.Leader != nil {
		t.Errorf("want no leader, got %+v", s)
	}
}

// What step-down prints is who leads then, and under which term. Of all members
// told to stand aside at the same instant, one stays a candidate.
func TestStepDownsAtTheSameInstant(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.start()
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	g.checkLeader(a, a, b, c)
	g.checkHeir(b, a, b, c)
	out := a.tell("step-down")
	g.checkLeader(b, a, b, c)
	if want := fmt.Sprintf("%s leads (term %d)", b.name, b.state().Term); !strings.Contains(out, want) {
		t.Errorf("step-down: want %q, got %q", want, out)
	}
	a.tell("resume")
	for round := range 5 {
		for _, n := range g.nodes {
			n.aside(false)
		}
		var all sync.WaitGroup
		for _, n := range g.nodes {
			all.Go(func() { g.command("step-down", "--for", "1h", "--addr", n.name) }) // one may be refused
		}
		all.Wait()
		if !slices.ContainsFunc(g.nodes, func(n *node) bool { return n.state().Eligible }) {
			t.Errorf("round %d: every member stands aside", round)
		}
		g.agreed()
		for _, n := range g.nodes {
			n.tell("resume")
		}
	}
}

// agreed waits until all members follow one leader.
func (g *group) agreed() {
	g.t.Helper()
	g.eventually(func() error {
		leader := g.nodes[0].leader()
		for _, n := range g.nodes {
			if got := n.leader(); leader == "" || got != leader {
				return fmt.Errorf("%s follows %q, and %s %q", g.nodes[0].name, leader, n.name, got)
			}
		}
		return nil
	})
}

// give makes a member lead elections, with all members as candidates.
func (g *group) give(to *node, elections ...string) {
	g.t.Helper()
	for _, name := range elections {
		g.eventually(func() error {
			for _, n := range g.nodes {
				if n != to && n.state().Elections[name].Self {
					g.command("step-down", "--addr", n.name, "--election", name, "--to", to.name)
					n.tell("resume", "--election", name)
				}
			}
			for _, n := range g.nodes {
				e := n.state().Elections[name]
				if e.Leader == nil || *e.Leader != to.name || len(e.Candidates) != len(g.nodes) {
					return fmt.Errorf("%s: %s has %+v, want it led by %s with all as candidates", name, n.name, e, to.name)
				}
			}
			return nil
		})
	}
}

// Maintenance is of one election. A member that is put aside in the group's own says
// which others it leads or may lead, and, when it resumes, in which it is still aside.
func TestMaintenanceNamesTheOtherElections(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	g.start("--elections", "mail,web", "--placement", "rule")
	a, b := g.nodes[0], g.nodes[1]
	g.checkLeader(a, a, b)
	g.give(a, "mail", "web")
	const about, more = "this was about the group's own election alone: this member ", "; repeat the command with --election NAME for each\n"
	if out, want := a.tell("step-down", "--for", "1h"), about+"still leads mail, web"+more; !strings.HasSuffix(out, want) {
		t.Errorf("step-down --for: got %q, want %q", out, want)
	}
	if out := a.tell("step-down", "--for", "1h", "--election", "web"); strings.Contains(out, about) {
		t.Errorf("step-down --for --election web: got %q, want nothing about other elections", out)
	}
	if out, want := a.tell("step-down", "--for", "1h"), about+"still leads mail"+more; !strings.HasSuffix(out, want) {
		t.Errorf("step-down --for once more: got %q, want %q", out, want)
	}
	a.tell("step-down", "--for", "1h", "--election", "mail")
	if out := a.tell("step-down", "--for", "1h"); strings.Contains(out, about) {
		t.Errorf("step-down --for when it stands aside in all: got %q", out)
	}
	if out, want := a.tell("resume"), about+"still stands aside in mail, web"+more; !strings.HasSuffix(out, want) {
		t.Errorf("resume: got %q, want %q", out, want)
	}
	a.tell("resume", "--election", "mail")
	a.tell("resume", "--election", "web")
	g.give(b, "mail", "web")
	if out, want := a.tell("step-down", "--for", "1h"), about+"may come to lead mail, web"+more; !strings.HasSuffix(out, want) {
		t.Errorf("step-down --for of a member that leads nothing: got %q, want %q", out, want)
	}
}
