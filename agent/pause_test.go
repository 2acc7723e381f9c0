package agent

import (
	"sync/atomic"
	"testing"
	"time"

	"doyen/seniority"
)

// The last of two that is late for longer than its lease, when the leader has just died,
// leads soon all the same. One that was away for seconds asks first, since the leader may
// be there, and the network away.
func TestTheLastOfTwoLeadsAfterAShortPause(t *testing.T) {
	for _, test := range []struct {
		name         string
		pause, least time.Duration
		most         time.Duration
	}{
		{"shortly", 500 * time.Millisecond, 0, 2 * time.Second},
		{"away", 3 * time.Second, 5 * time.Second, 15 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				var jump atomic.Int64
				for range 2 {
					g.add(func(c *Config, _ *fakeExecutor) {
						c.Profile, c.Seeds = "fast", []string{"10.0.0.1:4000", "10.0.0.2:4000"}
						if c.Name == "m1" {
							c.seams.now = func() seniority.Now {
								n := g.now()
								n.Boot += time.Duration(jump.Load())
								return n
							}
						}
					})
					time.Sleep(time.Millisecond)
				}
				a, b := g.members[0], g.members[1]
				g.await(10*time.Second, "m0 leads", func() bool { return a.IsLeader() && b.follows("m0") })
				time.Sleep(5 * time.Second)
				g.crash(a)
				jump.Store(int64(test.pause))
				took := g.await(time.Minute, "m1 leads", b.IsLeader)
				if took < test.least || took > test.most {
					t.Errorf("it took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}
