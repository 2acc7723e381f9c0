package seniority

import (
	"fmt"
	"slices"
	"strings"
)

// Several elections over one group are laid over its members by a placement. It
// is a pure function of what every member knows, so that all come to the same
// one: which members may lead each election, and which lead them now. It only
// orders preference, as a rule does: a placement that is wrong, old or missing
// makes no election unsafe and no failover slower.

// Placement is how the further elections of a group are laid over its members.
type Placement uint8

const (
	// Spread lays them evenly: settled, no member leads two more than another
	// that may lead one of them. It is the default.
	Spread Placement = iota
	// Together puts all where the group's own election is led.
	Together
	// ByRule leaves each to its rule alone.
	ByRule
)

var placementNames = [...]string{"spread", "together", "rule"}

// String returns the name that --placement uses.
func (p Placement) String() string {
	if int(p) < len(placementNames) {
		return placementNames[p]
	}
	return fmt.Sprintf("placement(%d)", uint8(p))
}

// ParsePlacement is the inverse of String.
func ParsePlacement(s string) (Placement, error) {
	if i := slices.Index(placementNames[:], s); i >= 0 {
		return Placement(i), nil
	}
	return 0, fmt.Errorf("placement %q is none of %s", s, strings.Join(placementNames[:], ", "))
}

// Choice is where an election should be led: by First, else by Second. Empty
// names leave it to the rule.
type Choice struct{ First, Second string }

// rank is the place of a member in the choice: 0 and 1, or 2 for all others.
func (c *Choice) rank(name string) int {
	switch {
	case name == "":
	case name == c.First:
		return 0
	case name == c.Second:
		return 1
	}
	return 2
}

// Placed is one election as a placement sees it.
type Placed struct {
	Name string
	// Candidates are the members that may lead it now, in the order of its rule.
	Candidates []string
	// Prefer are members that should lead it, the first first.
	Prefer []string
	// Leader leads it now; "": none does.
	Leader string
	// Choice is how it has been placed so far. Between two leaders it goes by that:
	// the members that seek the next leader do.
	Choice Choice
}

// home is the member that the election is at: its leader, or the one that is to be
// its next leader.
func (p *Placed) home() string {
	switch {
	case p.Leader != "":
		return p.Leader
	case slices.Contains(p.Candidates, p.Choice.First):
		return p.Choice.First
	}
	return p.Choice.Second
}

// Supersedes reports whether a placement that was published under term counts in place
// of one under old, on a member that follows a leader of the group under led (0: it
// follows none). The higher term counts, unless it is a day or more ahead of led: its
// doyen's clock was wrong, and the group has gone on under lower terms.
func Supersedes(term, old, led uint64) bool {
	ahead := func(t uint64) bool { return led != 0 && t > led+maxLead }
	if ahead(term) != ahead(old) {
		return ahead(old)
	}
	return term >= old
}

// Place returns a choice for each election, in their order; doyen leads the
// group's own election.
//
// Under Spread it starts from where each election is led, or will be in the failover
// that is under way. One that is led by none of its candidates, or not by the first of
// Prefer that may, goes to a preferred member, else to the candidate that has fewest. Then elections move,
// one each time, from a member to one that has two fewer: so no move is made
// without need. Second choices are laid out as if the first choice of an
// election had died: its elections go to the others evenly.
//
// The result depends only on the arguments. Place may sort elections of the same
// name in any way; names are distinct.
func Place(how Placement, doyen string, elections []Placed) []Choice {
	switch how {
	case Together:
		return together(doyen, elections)
	case Spread:
		s := newSpread(elections)
		s.start()
		s.level()
		s.seconds()
		return s.choices()
	}
	return make([]Choice, len(elections))
}

// together puts every election where the doyen is. The next doyen is the next by
// the rule, so the second choice is the rule's.
func together(doyen string, elections []Placed) []Choice {
	choices := make([]Choice, len(elections))
	for i := range elections {
		c := &choices[i]
		if slices.Contains(elections[i].Candidates, doyen) {
			c.First = doyen
		}
	}
	return choices
}

// spread is a placement being made. Members are numbered in the order in which
// the candidates name them; none is no member.
type spread struct {
	names  []string
	byName []spreadElection // in the order of their names
	load   []int            // how many elections each member is the first choice of
}

// none stands for no member.
const none = -1

// spreadElection is an election and where it is to be.
type spreadElection struct {
	at            int // its place among the arguments
	candidates    []int
	prefer        []int // of the candidates
	first, second int
	next          int // the second choice that a failover under way goes by; none: there is none
}

func newSpread(elections []Placed) *spread {
	s := &spread{byName: make([]spreadElection, len(elections))}
	order := make([]int, len(elections))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(elections[a].Name, elections[b].Name) })
	index := map[string]int{}
	for k, i := range order {
		p, e := &elections[i], &s.byName[k]
		home := p.home()
		*e = spreadElection{at: i, candidates: make([]int, len(p.Candidates)), first: none, second: none, next: none}
		for c, name := range p.Candidates {
			n, known := index[name]
			if !known {
				n = len(s.names)
				index[name] = n
				s.names = append(s.names, name)
			}
			e.candidates[c] = n
			if name == home {
				e.first = n
			}
			if name == p.Choice.Second && p.Leader == "" {
				e.next = n
			}
		}
		for _, name := range p.Prefer {
			if slices.Contains(p.Candidates, name) {
				e.prefer = append(e.prefer, index[name])
			}
		}
	}
	s.load = make([]int, len(s.names))
	return s
}

// start chooses where each election is led already, and a member for those that
// are led nowhere or in the wrong place.
func (s *spread) start() {
	var homeless []*spreadElection
	for i := range s.byName {
		e := &s.byName[i]
		if len(e.prefer) > 0 {
			e.first = e.prefer[0]
		}
		if e.first == none {
			homeless = append(homeless, e)
			continue
		}
		s.load[e.first]++
	}
	for _, e := range homeless {
		if e.first = least(e.candidates, s.load, none); e.first != none {
			s.load[e.first]++
		}
	}
}

// least returns the candidate with the lowest load, the first of equal ones, but
// not the one given; none if there is no other.
func least(candidates, load []int, without int) int {
	best := none
	for _, n := range candidates {
		if n != without && (best == none || load[n] < load[best]) {
			best = n
		}
	}
	return best
}

// level moves elections from members that have two more than another that may
// lead one of theirs. Each move brings two loads closer, so it ends. The widest
// gap is closed first, and of equal ones that of the first election by name.
func (s *spread) level() {
	for {
		var move *spreadElection
		to, gap := none, 1
		for i := range s.byName {
			e := &s.byName[i]
			if e.first == none || len(e.prefer) > 0 {
				continue
			}
			if n := least(e.candidates, s.load, e.first); n != none && s.load[e.first]-s.load[n] > gap {
				move, to, gap = e, n, s.load[e.first]-s.load[n]
			}
		}
		if move == nil {
			return
		}
		s.load[move.first]--
		s.load[to]++
		move.first = to
	}
}

// seconds chooses, for the elections of each member, the members that they go to
// if that one dies: as if these elections alone were placed, over what the others
// lead already. One that has no leader now keeps its own: members that went by different
// ones would wait for each other.
func (s *spread) seconds() {
	of := make([][]*spreadElection, len(s.names))
	for i := range s.byName {
		if e := &s.byName[i]; e.first != none {
			of[e.first] = append(of[e.first], e)
		}
	}
	for dead, elections := range of {
		if len(elections) == 0 {
			continue
		}
		after := spread{names: s.names, byName: make([]spreadElection, len(elections)), load: slices.Clone(s.load)}
		for i, e := range elections {
			left := func(n int) bool { return n == dead }
			after.byName[i] = spreadElection{
				candidates: slices.DeleteFunc(slices.Clone(e.candidates), left),
				prefer:     slices.DeleteFunc(slices.Clone(e.prefer), left), first: none,
			}
			if e.next != none && e.next != dead {
				after.byName[i].prefer = []int{e.next}
			}
		}
		after.start()
		after.level()
		for i, e := range elections {
			e.second = after.byName[i].first
		}
	}
}

// choices returns the placement in the order of the arguments.
func (s *spread) choices() []Choice {
	name := func(n int) string {
		if n == none {
			return ""
		}
		return s.names[n]
	}
	choices := make([]Choice, len(s.byName))
	for i := range s.byName {
		e := &s.byName[i]
		choices[e.at] = Choice{First: name(e.first), Second: name(e.second)}
	}
	return choices
}

// Misplaced returns the first election, by name, that should be led by another
// member than leads it now, and that may be: -1 if there is none. One is moved
// at a time, so that a group never has two planned hand-overs for placement's
// sake under way.
func Misplaced(elections []Placed, choices []Choice) int {
	found := -1
	for i := range elections {
		p, to := &elections[i], choices[i].First
		if p.Leader == "" || to == "" || to == p.Leader {
			continue
		}
		if found < 0 || p.Name < elections[found].Name {
			found = i
		}
	}
	return found
}
