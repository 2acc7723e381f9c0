package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// The leader is asked to hand over, and the only other candidate has just been
// stopped, agent and keeper. Gossip has not noticed, and will not for minutes: it
// is passed over all the same, and leads once it goes on.
func TestHandOverToAStoppedMember(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"available", "quorum"} {
		t.Run(mode, func(t *testing.T) {
			g := newGroup(t, 3)
			args := append([]string{"--probe-interval", "10m"}, patient...)
			if mode == "quorum" {
				args = append(args, "--voters", "seeds")
			}
			g.nodes[2].args = append(g.nodes[2].args, "--role", "witness")
			g.start(args...)
			old, next := g.nodes[0], g.nodes[1]
			g.checkLeader(old, g.nodes...)
			g.checkHeir(next, g.nodes...)
			before, keeper := old.state(), next.state().KeeperPID
			if keeper == nil {
				t.Fatalf("%s has no keeper", next.name)
			}
			for _, pid := range []int{*keeper, next.cmd.Process.Pid} {
				syscall.Kill(pid, syscall.SIGSTOP)
				t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
			}
			out, errs, code := g.command("step-down", "--addr", old.name)
			if strings.Contains(out, old.name+" leads") && (code != exitFailed || !strings.Contains(errs, "this member leads again")) {
				t.Errorf("step-down after which the same member leads: got exit status %d, %q and %q", code, out, errs)
			}
			g.eventually(func() error {
				s := old.state()
				if !s.IsLeader || s.Term <= before.Term {
					return fmt.Errorf("want %s to lead under a term above %d, got %+v", old.name, before.Term, s)
				}
				if !slices.Contains(s.Members, next.name) {
					t.Errorf("gossip has noticed that %s is stopped, so that this shows nothing", next.name)
				}
				return nil
			})
			// It is known to be silent now, and not handed the lead again.
			term := old.state().Term
			if out, errs, code := g.command("step-down", "--addr", old.name); code == 0 || !strings.Contains(out+errs, "no member to hand over to") {
				t.Errorf("to step down with no other candidate: got exit status %d, %q and %q", code, out, errs)
			}
			if s := old.state(); !s.IsLeader || s.Term != term {
				t.Errorf("want %s to go on leading term %d, got %+v", old.name, term, s)
			}
			for _, pid := range []int{*keeper, next.cmd.Process.Pid} {
				syscall.Kill(pid, syscall.SIGCONT)
			}
			g.checkLeader(next, g.nodes...)
		})
	}
}

// A script that hands over to one member learns when another has taken the lead. The
// member named has just been stopped, agent and keeper, and the third takes it.
func TestHandOverToANamedMemberThatIsStopped(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.start(append([]string{"--probe-interval", "10m", "--elections", "web", "--placement", "rule"}, patient...)...)
	old, named, third := g.nodes[0], g.nodes[1], g.nodes[2]
	g.checkLeader(old, g.nodes...)
	g.checkHeir(named, g.nodes...)
	for _, election := range []string{agent.GroupElection, "web"} {
		g.give(old, election)
		keeper := named.state().KeeperPID
		if keeper == nil {
			t.Fatalf("%s has no keeper", named.name)
		}
		pids := []int{*keeper, named.cmd.Process.Pid}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGSTOP)
			t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
		}
		out, errs, code := g.command("step-down", "--addr", old.name, "--election", election, "--to", named.name)
		if want := named.name + " does not lead; " + third.name + " does"; code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: got exit status %d, %q and %q, want %d and %q", election, code, out, errs, exitFailed, want)
		}
		if want := "handed over, but not to " + named.name; !strings.Contains(out, want) {
			t.Errorf("%s: got %q, want %q", election, out, want)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGCONT)
		}
		g.eventually(func() error {
			if l := named.state().Elections[election].Leader; l == nil || *l != third.name {
				return fmt.Errorf("%s: %s follows %v, want %s", election, named.name, l, third.name)
			}
			return nil
		})
	}

	// A member that does not lead can hand nothing over, and does not stand aside instead.
	if out, errs, code := g.command("step-down", "--addr", old.name, "--to", named.name, "--for", "1h"); code != exitFailed || !strings.Contains(errs, "this member does not lead") {
		t.Errorf("at a member that does not lead: got exit status %d, %q and %q", code, out, errs)
	}
	if until := old.state().MaintenanceUntil; until != nil {
		t.Errorf("at a member that does not lead: it stands aside until %v", until)
	}
}
