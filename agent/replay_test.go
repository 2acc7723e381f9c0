package agent

import (
	"testing"
	"time"

	"doyen/gossip/simnet"
)

// Somebody on the wire who has no key can send again what he has seen. That
// must neither take the lead from anybody nor keep a dead leader in power.
func TestReplaysKeepNoDeadLeaderInPower(t *testing.T) {
	for name, voters := range map[string][]string{
		"available": nil, "quorum": {"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"},
	} {
		t.Run(name, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				var taps []*simnet.Tap
				a, b, c := g.three(func(c *Config, _ *fakeExecutor) {
					c.Voters = voters
					tap := c.seams.transport.(*simnet.Host).Tap()
					c.seams.transport = tap
					taps = append(taps, tap)
				})
				seen := func() (all [][]byte) {
					for _, tap := range taps {
						packets := tap.Packets()
						all = append(all, packets[max(len(packets)-100, 0):]...)
					}
					return all
				}
				enemy := g.net.Host()
				replay := func(packets [][]byte) {
					for _, p := range packets {
						for _, m := range g.members {
							enemy.WriteTo(p, m.host.Addr().String())
						}
					}
				}
				term := a.Status().Term
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					replay(seen())
					if !a.IsLeader() || a.Status().Term != term || !b.follows("m0") || !c.follows("m0") {
						t.Fatalf("want m0 to go on leading term %d, got %+v", term, a.Status())
					}
				}
				last := seen()
				g.crash(a)
				looks := 0
				g.await(3*time.Second, "m1 leads", func() bool {
					if looks++; looks%20 == 0 {
						replay(last)
					}
					return b.IsLeader() && c.follows("m1")
				})
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					replay(last)
					if !b.IsLeader() || !c.follows("m1") {
						t.Fatalf("want m1 to go on leading, got %+v and %+v", b.Status(), c.Status())
					}
				}
			})
		})
	}
}
