package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The leader is asked to hand over, and the only other candidate has just been
// stopped, agent and keeper. Gossip has not noticed, and will not for minutes: it
// is passed over all the same, and leads once it goes on.
func TestHandOverToAStoppedMember(t *testing.T) {
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
			g.command("step-down", "--addr", old.name) // its answer does not matter: what happens counts
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
