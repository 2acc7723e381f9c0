package agent

import (
	"testing"
	"time"
)

// TestLeaseDrainsAndRefills looks at a leader, at a follower that is renewed
// directly, and at one that hears of the leader by gossip alone, until the
// leader is gone.
func TestLeaseDrainsAndRefills(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		g.add(nil)
		far := g.add(func(c *Config, _ *fakeExecutor) { c.Role = "observer" })
		g.await(5*time.Second, "the observer follows m0", func() bool { return far.follows("m0") })
		time.Sleep(5 * time.Second)
		for _, test := range []struct {
			m     *member
			whole int64
			least int64 // left when a renewal is due
		}{{a, 1000, 1000 - 334}, {b, 1010, 1010 - 335}, {far, 3000, 3000 - 2000}} {
			refilled, last := 0, int64(0)
			for range 500 {
				l := test.m.Lease()
				if l.Leader == nil || *l.Leader != "m0" || l.IsLeader != (test.m == a) || l.Electing || l.OfMS != test.whole {
					t.Fatalf("lease at %s: want m0 to hold one of %d ms, got %+v", test.m.Name(), test.whole, l)
				}
				if l.LeftMS < test.least || l.LeftMS > l.OfMS {
					t.Fatalf("lease at %s: want %d to %d ms left, got %d", test.m.Name(), test.least, l.OfMS, l.LeftMS)
				}
				if l.LeftMS > last {
					refilled++
				}
				last = l.LeftMS
				time.Sleep(10 * time.Millisecond)
			}
			if refilled < 2 {
				t.Errorf("lease at %s: want it renewed in 5 s, got it refilled %d times", test.m.Name(), refilled)
			}
		}
		for _, m := range g.members[:4] {
			g.crash(m)
		}
		took := g.await(4*time.Second, "the observer knows no leader", func() bool { return far.Lease().Leader == nil })
		if l := far.Lease(); l.LeftMS != 0 || l.OfMS != 0 || took < time.Second {
			t.Errorf("want nothing left, and not before three leases are over, got %+v after %v", l, took)
		}
	})
}
