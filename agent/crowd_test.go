package agent

import (
	"slices"
	"testing"
	"time"
)

func TestFiftyMembers(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		for range 50 {
			g.add(nil)
			time.Sleep(time.Millisecond)
		}
		alive := slices.Clone(g.members)
		follow := func(name string) func() bool {
			return func() bool {
				return !slices.ContainsFunc(alive, func(m *member) bool { return !m.follows(name) })
			}
		}
		g.await(time.Minute, "all follow m0", follow("m0"))
		line := alive[0].Members()
		for began := time.Now(); ; line = alive[0].Members() {
			if !slices.ContainsFunc(alive, func(m *member) bool { return !slices.Equal(line, m.Members()) }) {
				break
			}
			if time.Since(began) > 2*time.Minute {
				t.Fatal("not all know the line of succession after two minutes")
			}
			time.Sleep(time.Second)
		}
		for n := range 10 {
			next := line[n+1].Name
			g.crash(alive[slices.IndexFunc(alive, func(m *member) bool { return m.Name() == line[n].Name })])
			alive = slices.DeleteFunc(alive, func(m *member) bool { return m.Name() == line[n].Name })
			took := g.await(10*time.Second, "all follow "+next, follow(next))
			t.Logf("all follow %s after %v", next, took)
		}
	})
}
