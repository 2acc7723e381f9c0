package seniority

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// names returns members n0, n1, …
func memberNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	return names
}

func TestPlace(t *testing.T) {
	all := memberNames(3)
	led := func(name, leader string, prefer ...string) Placed {
		return Placed{Name: name, Candidates: all, Prefer: prefer, Leader: leader}
	}
	for name, c := range map[string]struct {
		how       Placement
		elections []Placed
		want      []Choice
	}{
		"a start": {Spread, []Placed{led("a", ""), led("b", ""), led("c", ""), led("d", "")},
			[]Choice{{"n0", "n1"}, {"n1", "n2"}, {"n2", "n1"}, {"n0", "n2"}}},
		"even already: nothing moves": {Spread, []Placed{led("a", "n2"), led("b", "n1"), led("c", "n0")},
			[]Choice{{"n2", "n0"}, {"n1", "n0"}, {"n0", "n1"}}},
		"one more is no reason to move": {Spread, []Placed{led("a", "n0"), led("b", "n0"), led("c", "n1"), led("d", "n2")},
			[]Choice{{"n0", "n1"}, {"n0", "n2"}, {"n1", "n2"}, {"n2", "n1"}}},
		"two more is": {Spread, []Placed{led("a", "n0"), led("b", "n0"), led("c", "n1")},
			[]Choice{{"n2", "n0"}, {"n0", "n1"}, {"n1", "n0"}}},
		"a preferred member takes it": {Spread, []Placed{led("a", "n0", "n9", "n2"), led("b", "n1")},
			[]Choice{{"n2", "n0"}, {"n1", "n0"}}},
		"between two leaders it is where the next is sought": {Spread, []Placed{
			{Name: "a", Candidates: all, Choice: Choice{"n1", "n2"}}, {Name: "b", Candidates: all[:1], Leader: "n0"}, led("c", "n2")},
			[]Choice{{"n1", "n2"}, {"n0", ""}, {"n2", "n0"}}},
		"even when the last leader is gone": {Spread, []Placed{
			{Name: "a", Candidates: []string{"n1", "n2"}, Choice: Choice{"n0", "n2"}}, led("b", "n0")},
			[]Choice{{"n2", "n1"}, {"n0", "n1"}}},
		"no candidate": {Spread, []Placed{{Name: "a", Leader: "n0"}}, []Choice{{}}},
		"together":     {Together, []Placed{led("a", "n0"), {Name: "b", Candidates: all[:1]}}, []Choice{{First: "n2"}, {}}},
		"by rule":      {ByRule, []Placed{led("a", "n0", "n2")}, []Choice{{}}},
	} {
		if got := Place(c.how, "n2", c.elections); !slices.Equal(got, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, got)
		}
	}
}

// Two elections of a dead member are taken over one after the other. The placement after
// the first is no reason for the members to seek the leader of the second elsewhere.
func TestAFailoverUnderWayKeepsItsSecondChoice(t *testing.T) {
	all := memberNames(3)
	for _, second := range []string{"n0", "n1"} {
		elections := []Placed{
			{Name: "e1", Candidates: all, Leader: "n0"}, {Name: "e2", Candidates: all, Leader: "n1"},
			{Name: "e3", Candidates: all, Choice: Choice{"n2", second}}, {Name: "e4", Candidates: all, Leader: "n0"},
			{Name: "e5", Candidates: all, Leader: "n1"}, {Name: "e6", Candidates: all, Leader: "n1"},
		}
		if got, want := Place(Spread, "n0", elections)[2], (Choice{"n2", second}); got != want {
			t.Errorf("want %v, got %v", want, got)
		}
	}
}

// randomElections draws elections with some candidates, led by any member or none.
func randomElections(r *rand.Rand, members []string, n int) []Placed {
	elections := make([]Placed, n)
	for i := range elections {
		p := Placed{Name: fmt.Sprintf("e%03d", i)}
		for _, m := range members {
			if r.IntN(4) > 0 {
				p.Candidates = append(p.Candidates, m)
			}
		}
		if r.IntN(5) > 0 {
			p.Leader = members[r.IntN(len(members))]
		}
		if r.IntN(8) == 0 {
			p.Prefer = []string{members[r.IntN(len(members))]}
		}
		elections[i] = p
	}
	return elections
}

// preferred returns the first preferred candidate but the one given, or "".
func preferred(p *Placed, without string) string {
	for _, name := range p.Prefer {
		if name != without && slices.Contains(p.Candidates, name) {
			return name
		}
	}
	return ""
}

// loads counts the first choices of each member.
func loads(choices []Choice) map[string]int {
	n := map[string]int{}
	for _, c := range choices {
		if c.First != "" {
			n[c.First]++
		}
	}
	return n
}

func TestPlacementIsEvenStickyAndSpreadsADeadMembersElections(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		members := memberNames(1 + r.IntN(6))
		elections := randomElections(r, members, 1+r.IntN(12))
		choices := Place(Spread, "", elections)
		fail := func(format string, args ...any) {
			t.Fatalf("seed %d: %s\n%+v\n%v", seed, fmt.Sprintf(format, args...), elections, choices)
		}
		load := loads(choices)
		after := map[string]map[string]int{} // the loads after the death of each member
		for _, dead := range members {
			after[dead] = map[string]int{}
			for i, c := range choices {
				switch {
				case c.First == dead && c.Second != "":
					after[dead][c.Second]++
				case c.First != "" && c.First != dead:
					after[dead][c.First]++
				}
				if c.First == dead && c.Second == "" && len(elections[i].Candidates) > 1 {
					fail("no second choice for %s", elections[i].Name)
				}
			}
		}
		for i, c := range choices {
			p := &elections[i]
			if len(p.Candidates) == 0 {
				if c != (Choice{}) {
					fail("%s has no candidate, and is chosen for", p.Name)
				}
				continue
			}
			if !slices.Contains(p.Candidates, c.First) {
				fail("%s is chosen for %s, which may not lead it", c.First, p.Name)
			}
			if want := preferred(p, ""); want != "" {
				if c.First != want {
					fail("%s prefers %s", p.Name, want)
				}
				continue
			}
			for _, other := range p.Candidates {
				if load[c.First]-load[other] > 1 {
					fail("%s leads two more than %s, which may lead %s", c.First, other, p.Name)
				}
				if other != c.First && preferred(p, c.First) == "" && after[c.First][c.Second]-after[c.First][other] > 1 {
					fail("after the death of %s, %s leads two more than %s", c.First, c.Second, other)
				}
			}
		}
		settled := slices.Clone(elections)
		for i := range settled {
			settled[i].Leader = choices[i].First
		}
		if again := Place(Spread, "", settled); !slices.Equal(again, choices) {
			fail("a settled group is placed anew: %v", again)
		}
		slices.Reverse(settled)
		if turned := Place(Spread, "", settled); len(turned) > 0 {
			slices.Reverse(turned)
			if !slices.Equal(turned, choices) {
				fail("the order of the elections matters: %v", turned)
			}
		}
	}
}

// The fewest moves that make a placement even, by trying all.
func fewestMoves(elections []Placed) int {
	best := len(elections) + 1
	var try func(i, moves int, choices []Choice)
	try = func(i, moves int, choices []Choice) {
		if moves >= best {
			return
		}
		if i == len(elections) {
			load := loads(choices)
			for j, c := range choices {
				for _, other := range elections[j].Candidates {
					if load[c.First]-load[other] > 1 {
						return
					}
				}
			}
			best = moves
			return
		}
		for _, name := range elections[i].Candidates {
			more := 0
			if name != elections[i].Leader {
				more = 1
			}
			choices[i].First = name
			try(i+1, moves+more, choices)
		}
	}
	try(0, 0, make([]Choice, len(elections)))
	return best
}

// Where all members may lead all elections, no even placement needs fewer moves.
func TestPlacementMovesAsFewAsItCan(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		members := memberNames(2 + r.IntN(2))
		elections := make([]Placed, 1+r.IntN(6))
		for i := range elections {
			elections[i] = Placed{Name: fmt.Sprintf("e%d", i), Candidates: members, Leader: members[r.IntN(len(members))]}
		}
		moves := 0
		for i, c := range Place(Spread, "", elections) {
			if c.First != elections[i].Leader {
				moves++
			}
		}
		if want := fewestMoves(elections); moves != want {
			t.Fatalf("seed %d: %d moves, %d would do: %+v", seed, moves, want, elections)
		}
	}
}

func TestMisplacedNamesOneElectionAtATime(t *testing.T) {
	elections := []Placed{{Name: "c", Leader: "n0"}, {Name: "b", Leader: "n0"}, {Name: "a", Leader: "n1"}, {Name: "0"}}
	choices := []Choice{{First: "n1"}, {First: "n1"}, {First: "n1"}, {First: "n1"}}
	if got := Misplaced(elections, choices); got != 1 {
		t.Errorf("want election 1, b; got %d", got)
	}
	if got := Misplaced(elections[2:], choices[2:]); got != -1 {
		t.Errorf("nothing is misplaced: got %d", got)
	}
}

func BenchmarkPlace(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 3))
	members := memberNames(100)
	elections := randomElections(r, members, 128)
	for i, c := range Place(Spread, "", elections) {
		elections[i].Leader = c.First
	}
	b.ReportAllocs()
	for b.Loop() {
		Place(Spread, "", elections)
	}
}

func TestSupersedes(t *testing.T) {
	const now = 1_770_000_000_000 * places
	for _, c := range []struct {
		term, old, led uint64
		want           bool
	}{
		{now, 0, 0, true}, {now, now, now, true}, {now, now + 1, now, false}, {now + 1, now, now, true},
		{now, now + 2*maxLead, now, true}, {now + 2*maxLead, now, now, false},
		{now, now + 2*maxLead, 0, false}, {now + 3*maxLead, now + 2*maxLead, now, true},
	} {
		if got := Supersedes(c.term, c.old, c.led); got != c.want {
			t.Errorf("%d after %d under %d: want %v, got %v", c.term, c.old, c.led, c.want, got)
		}
	}
}
