package members

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

// changes writes events as one word each.
func changes(events []Change) []string {
	var words []string
	for _, e := range events {
		words = append(words, e.What+" "+e.Member.Name)
	}
	return words
}

func TestLine(t *testing.T) {
	a := seniority.Member{Name: "a", Incarnation: 1, Eligible: true}
	b := seniority.Member{Name: "b", Incarnation: 2, Eligible: true}
	c := seniority.Member{Name: "c", Incarnation: 3, Eligible: true}
	sick := b
	sick.Eligible = false
	again := b
	again.Incarnation = 9
	old := seniority.Member{Name: "old", Addr: netip.MustParseAddrPort("10.0.0.2:4000"), Incarnation: 4, Eligible: true}
	renamed := old
	renamed.Name, renamed.Incarnation = "renamed", 5

	type step struct {
		at    time.Duration
		bye   uint64
		order []seniority.Member
		want  []string // events
		line  []string // with a dagger: not alive
	}
	for name, steps := range map[string][]step{
		"vanish, and be forgotten": {
			{1, 0, []seniority.Member{a, b, c}, []string{"join a", "join b", "join c"}, []string{"a", "b", "c"}},
			{2, 0, []seniority.Member{a, c}, []string{"leave b"}, []string{"a", "c", "b†"}},
			{3, 0, []seniority.Member{a, c}, nil, []string{"a", "c", "b†"}},
			{2 + lostKept, 0, []seniority.Member{a, c}, nil, []string{"a", "c"}},
		},
		"vanish, and come back": {
			{1, 0, []seniority.Member{a, b}, []string{"join a", "join b"}, []string{"a", "b"}},
			{2, 0, []seniority.Member{a}, []string{"leave b"}, []string{"a", "b†"}},
			{3, 0, []seniority.Member{a, again}, []string{"join b"}, []string{"a", "b"}},
		},
		"vanish, and another has the address": {
			{1, 0, []seniority.Member{a, old}, []string{"join a", "join old"}, []string{"a", "old"}},
			{2, 0, []seniority.Member{a}, []string{"leave old"}, []string{"a", "old†"}},
			{3, 0, []seniority.Member{a, renamed}, []string{"join renamed"}, []string{"a", "renamed"}},
		},
		"say good-bye before": {
			{1, 0, []seniority.Member{a, b}, []string{"join a", "join b"}, []string{"a", "b"}},
			{2, 2, []seniority.Member{a, b}, nil, []string{"a", "b"}},
			{3, 0, []seniority.Member{a}, []string{"leave b"}, []string{"a"}},
		},
		"say good-bye after": {
			{1, 0, []seniority.Member{a, b}, []string{"join a", "join b"}, []string{"a", "b"}},
			{2, 0, []seniority.Member{a}, []string{"leave b"}, []string{"a", "b†"}},
			{3, 2, []seniority.Member{a}, nil, []string{"a"}},
		},
		"change and move": {
			{1, 0, []seniority.Member{a, b, c}, []string{"join a", "join b", "join c"}, []string{"a", "b", "c"}},
			{2, 0, []seniority.Member{c, a, b}, nil, []string{"c", "a", "b"}},
			{3, 0, []seniority.Member{c, a, sick}, []string{"update b"}, []string{"c", "a", "b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l Line
			for i, s := range steps {
				if s.bye != 0 {
					l.Ended(gossip.Gone{Name: "b", Incarnation: s.bye})
				}
				if got := changes(l.Update(s.at, s.order, &gossip.View{}, nil)); !slices.Equal(s.want, got) {
					t.Fatalf("step %d, events: want %q, got %q", i, s.want, got)
				}
				var line []string
				for rank, m := range l.Infos {
					if m.Rank != rank+1 {
						t.Fatalf("step %d, rank of %s: want %d, got %d", i, m.Name, rank+1, m.Rank)
					}
					line = append(line, m.Name)
					if !m.Alive {
						line[rank] += "†"
					}
				}
				if !slices.Equal(s.line, line) {
					t.Fatalf("step %d, line: want %q, got %q", i, s.line, line)
				}
			}
		})
	}
}

func TestLostMembersAreBounded(t *testing.T) {
	var l Line
	var all []seniority.Member
	for i := range lostLimit + 10 {
		all = append(all, seniority.Member{Name: fmt.Sprint(i)})
	}
	l.Update(1, all, &gossip.View{}, nil)
	l.Update(2, all[:1], &gossip.View{}, nil)
	if len(l.Infos) != 1+lostLimit {
		t.Errorf("want %d, got %d", 1+lostLimit, len(l.Infos))
	}
}

// A large group may be stopped at once; none of its members is missed.
func TestManyMembersThatLeaveAreNotLost(t *testing.T) {
	var l Line
	var all []seniority.Member
	for i := range 4 * lostLimit {
		all = append(all, seniority.Member{Name: fmt.Sprint(i), Incarnation: 1})
	}
	l.Update(1, all, &gossip.View{}, nil)
	for _, m := range all[1:] {
		l.Ended(gossip.Gone{Name: m.Name, Incarnation: 1})
	}
	for _, e := range l.Update(2, all[:1], &gossip.View{}, nil) {
		if e.Reason == Lost {
			t.Fatalf("%s has said that it leaves, and is reported as lost", e.Member.Name)
		}
	}
}

func TestEndsAreBounded(t *testing.T) {
	var l Line
	for i := range 2*endsLimit + 1 {
		l.Ended(gossip.Gone{Name: fmt.Sprint(i)})
	}
	if len(l.ends) > endsLimit {
		t.Errorf("want at most %d, got %d", endsLimit, len(l.ends))
	}
}
