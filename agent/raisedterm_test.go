package agent

import (
	"slices"
	"testing"
	"time"
)

// One leadership is one row of every member's history, also when its term is raised, and
// when gossip tells of it late.
func TestHistoryOfARaisedTerm(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, _, _ := g.three(nil)
		time.Sleep(3 * time.Second)
		first := a.State().Term
		for range 3 {
			g.cutInTwo(2)
			time.Sleep(20 * time.Second)
			g.heal()
			g.await(2*time.Minute, "all are one group under m0", func() bool {
				return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.follows("m0") || len(m.State().Members) != 3 })
			})
		}
		if a.State().Term == first {
			t.Error("the term of m0 was never raised")
		}
		for _, m := range g.members {
			rows := m.History()
			for i, r := range rows {
				if i > 0 && r.Leader == rows[i-1].Leader || m != g.members[2] && r.Leader != "m0" {
					t.Errorf("%s: want one row for each leadership that it saw, got %+v", m.Name(), rows)
					break
				}
			}
		}
	})
}
