package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// healthCheck fails on a node of which a file says that it is sick, and hangs,
// with a child, on one of which a file says so.
const healthCheck = `#!/bin/sh
dir=${0%/*}
if [ -e "$dir/hangs $DOYEN_NODE" ]; then
	setsid sh -c 'sleep 1000; :' "$dir" &
	sh -c 'sleep 1000; :' "$dir" &
	echo >"$dir/hanging $DOYEN_NODE"
	wait
fi
[ $# = 0 ] && ! [ -e "$dir/sick $DOYEN_NODE" ]
`

// ward starts count agents with a quick health check.
func ward(t *testing.T, count int, more ...string) *group {
	t.Helper()
	g := newGroup(t, count)
	program := filepath.Join(g.dir, "health.sh")
	if err := os.WriteFile(program, []byte(healthCheck), 0o700); err != nil {
		t.Fatal(err)
	}
	return g.start(append(more, "--health", program, "--health-interval", "100ms")...)
}

// mark makes or removes the file that says how a node is.
func (n *node) mark(what string, on bool) {
	n.g.t.Helper()
	file := filepath.Join(n.g.dir, what+" "+n.name)
	err := os.Remove(file)
	if on {
		err = os.WriteFile(file, nil, 0o600)
	}
	if err != nil {
		n.g.t.Fatal(err)
	}
}

// healthy waits until the check of a node has come to a verdict.
func (n *node) healthy(want bool) {
	n.g.t.Helper()
	n.g.eventually(func() error {
		if s := n.state(); s.Health == nil || s.Health.Healthy != want || s.Eligible != want {
			return fmt.Errorf("%s: got health %+v and eligible %v, want %v", n.name, s.Health, s.Eligible, want)
		}
		return nil
	})
}

// The checks of all members fail at once, before gossip shows of any that it may not
// lead: wherever the lead is handed, it stays somewhere.
func TestHealthFailsEverywhere(t *testing.T) {
	for mode, settings := range map[string][]string{"available": nil, "quorum": {"--voters", "seeds"}} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g := ward(t, 3, settings...)
			g.checkLeader(g.nodes[0], g.nodes...)
			g.checkHeir(g.nodes[1], g.nodes...)
			for range 5 {
				for _, n := range g.nodes {
					n.mark("sick", true)
				}
				for _, n := range g.nodes {
					n.healthy(false)
				}
				g.eventually(func() error {
					i := slices.IndexFunc(g.nodes, func(n *node) bool { return n.state().IsLeader })
					if i < 0 {
						return errors.New("no member leads")
					}
					for _, n := range g.nodes {
						if n.leader() != g.nodes[i].name {
							return fmt.Errorf("%s leads, and %s names %q", g.nodes[i].name, n.name, n.leader())
						}
					}
					return nil
				})
				for _, n := range g.nodes {
					n.mark("sick", false)
				}
				for _, n := range g.nodes {
					n.healthy(true)
				}
			}
		})
	}
}

// A sick leader hands over; with no member healthy the leader stays and says so;
// and who is healthy again leads.
func TestHealth(t *testing.T) {
	t.Parallel()
	g := ward(t, 3)
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	g.checkLeader(a, a, b, c)
	g.checkHeir(b, a, b, c)
	a.mark("sick", true)
	g.checkLeader(b, a, b, c)
	a.healthy(false)
	g.checkHeir(c, a, b, c)

	c.mark("sick", true)
	c.healthy(false)
	g.eventually(func() error {
		var r agent.Readiness
		if !b.get("/ready", &r, http.StatusServiceUnavailable) || r.Ready || r.WouldLead != nil {
			return fmt.Errorf("%s: got /ready %+v, want no member to lead next", b.name, r)
		}
		return nil
	})
	b.mark("sick", true)
	b.healthy(false)
	g.checkLeader(b, a, b, c)
	g.eventually(func() error {
		var d diagAnswer
		if !a.get("/diag", &d) || d.Verdict.Status != "degraded" {
			return fmt.Errorf("/diag: got %+v, want degraded", d.Verdict)
		}
		for _, n := range g.nodes {
			if !slices.ContainsFunc(d.Verdict.Findings, func(f agent.Finding) bool {
				return f.What == "unhealthy" && f.Member == n.name && strings.Contains(f.Evidence, "exit status 1")
			}) {
				return fmt.Errorf("/diag: got %+v, want a finding about %s", d.Verdict.Findings, n.name)
			}
		}
		return nil
	})
	g.eventually(func() error {
		if !strings.Contains(b.log(), "goes on leading because no other may") {
			return fmt.Errorf("the log of %s does not say that it stays", b.name)
		}
		return nil
	})
	a.mark("sick", false)
	g.checkLeader(a, a, b, c)
}

// A check that hangs is a failure; and killing the agent leaves nothing
// of it behind, which the end of each test looks for.
func TestHealthThatHangs(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			g := ward(t, 2, "--health-timeout", "2s") // more than a busy machine needs to run a script
			a, b := g.nodes[0], g.nodes[1]
			g.checkLeader(a, a, b)
			a.mark("hangs", true)
			g.checkLeader(b, a, b)
			a.healthy(false)
			if got := a.state().Health.Error; !strings.Contains(got, "killed at its time-out") {
				t.Errorf("error of a check that hangs: got %q", got)
			}
			file := filepath.Join(g.dir, "hanging "+a.name)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			g.eventually(func() error { // the next one is under way
				_, err := os.Stat(file)
				return err
			})
			a.signal(signal)
			a.wait()
		})
	}
}
