package agent

import (
	"slices"
	"testing"
	"time"

	"doyen/agent/keeper"
)

// A term that is raised is shown to all that look, but it is no change of the leader.
func TestARaisedTermIsNoChangeOfTheLeader(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		time.Sleep(3 * time.Second)
		before := map[*member]keeper.Order{a: a.executor.wanted(), b: b.executor.wanted()}
		changes := map[*member]uint64{a: a.Counters().LeaderChanges, b: b.Counters().LeaderChanges}
		watch, events := b.Watch(t.Context()), b.Subscribe(t.Context())
		<-watch
		g.cutInTwo(2)
		time.Sleep(20 * time.Second)
		g.heal()
		g.await(2*time.Minute, "the term of m0 is raised", func() bool {
			return a.IsLeader() && a.State().Term > before[a].Term && b.State().Term == a.State().Term
		})
		for m, was := range before {
			o := m.executor.wanted()
			if o.Term <= was.Term || o.Leadership != was.Leadership || o.Previous == o.Leader {
				t.Errorf("%s: want the order of the same leadership with a higher term, got %+v after %+v", m.Name(), o, was)
			}
			if got := m.Counters().LeaderChanges; got != changes[m] {
				t.Errorf("%s: want %d changes of the leader, got %d", m.Name(), changes[m], got)
			}
		}
		if s := <-watch; s.Term != a.State().Term {
			t.Errorf("want the new term on Watch, got %+v", s)
		}
		raised := false
		for len(events) > 0 {
			e, ok := (<-events).Data.(LeaderEvent)
			if raised = raised || ok; ok && (e.Previous != nil && *e.Previous == *e.Leader || *e.Leader != "m0") {
				t.Errorf("want an event that names no other leader before m0, got %+v", e)
			}
		}
		if !raised {
			t.Error("want an event with the new term")
		}
	})
}

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
