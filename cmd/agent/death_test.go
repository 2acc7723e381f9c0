package main

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
)

// A follower is killed. No member may count on it until gossip has noticed, which
// takes some seconds: its keeper tells the group.
func TestNobodyCountsOnAKilledMember(t *testing.T) {
	t.Parallel()
	for name, voters := range map[string]string{"available": "", "quorum": "seeds"} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 3)
			g.start("--voters", voters, "--probe-interval", "1m") // gossip alone would take minutes
			a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
			g.checkLeader(a, a, b, c)
			g.checkHeir(b, a, b, c)
			killed := time.Now()
			b.signal(syscall.SIGKILL)
			b.wait()
			for _, n := range []*node{a, c} {
				g.eventually(func() error {
					var r agent.Readiness
					var members []agent.MemberInfo
					if !n.get("/ready", &r, http.StatusServiceUnavailable) || !n.get("/members", &members) {
						return fmt.Errorf("%s does not answer", n.name)
					}
					if r.WouldLead == nil && n == c && voters == "" { // of three voters two are left, and no more may go
						return fmt.Errorf("%s: no member would lead", n.name)
					}
					if r.WouldLead != nil && *r.WouldLead == b.name {
						return fmt.Errorf("%s: the dead member would lead", n.name)
					}
					for _, m := range members {
						if m.Name == b.name && m.Alive {
							return fmt.Errorf("%s: the dead member is alive", n.name)
						}
					}
					return nil
				})
			}
			t.Logf("known to all after %v", time.Since(killed).Round(time.Millisecond))
			b.start("--voters", voters, "--probe-interval", "1m")
			g.checkLeader(a, a, b, c)
		})
	}
}
