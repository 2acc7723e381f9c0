package diagnosis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"doyen/agent"
)

// groupElection is the name of the group's own election, which the status of the
// verdict is about.
const groupElection = "group"

// JudgeElection returns the verdict on one further election: its status and leader
// are those of the election, and its findings those of the election and those that
// are of none.
func JudgeElection(e *Evidence, name string) Verdict {
	all := Judge(e)
	s := open(e).standing(name)
	v := Verdict{Status: Agreed, Findings: []agent.Finding{}}
	for _, f := range all.Findings {
		if f.Election == Printable(name, MaxText) || f.Election == "" {
			v.Findings = append(v.Findings, f)
			if f.Degrades {
				v.Status = Degraded
			}
		}
	}
	switch {
	case len(s.leading) > 1:
		v.Status = TwoLeaders
		return v
	case len(s.follow) > 1 || len(s.follow) == 1 && len(s.lost) > 0:
		v.Status = Disagreed
		if len(s.leading) == 1 {
			v.Leader = &s.leading[0]
		}
		return v
	case len(s.follow) == 0:
		v.Status = NoLeader
		return v
	}
	leader := s.favourite()
	v.Leader = &leader
	return v
}

// standing is what the members that know a further election say of it.
type standing struct {
	known   []string            // the members, in order
	leading []string            // those that say they lead it
	terms   map[string]uint64   // by member
	follow  map[string][]string // by leader, those that name it
	lost    []string            // those that name no leader
}

// elections reports the further elections that two members lead, that members do
// not agree on, or that no member leads. None of it changes the leader of the
// group, which is the verdict's.
func elections(q *inquiry) {
	for _, name := range q.furtherElections() {
		s := q.standing(name)
		switch {
		case len(s.leading) > 1:
			q.findIn(name, "election-two-leaders", s.leading[0], s.leaders(),
				"a leadership that has just moved reaches every member within a second: "+askAgain+"; if it stays, "+checkBetween(s.leading[0], s.leading[1]))
		case len(s.follow) > 1 || len(s.follow) == 1 && len(s.lost) > 0:
			most := s.favourite()
			odd := s.odd(most)
			q.findIn(name, "election-disagreed", odd, s.says(),
				"a leadership that has just moved reaches every member within a second: "+askAgain+"; if it stays, "+checkBetween(odd, most))
		case len(s.follow) == 0:
			q.unled(name, s)
		}
	}
}

// unled reports an election that no member names a leader of. Where none may lead
// it, that may be as it should: its only members are away.
func (q *inquiry) unled(name string, s *standing) {
	may := q.candidates(name)
	if len(may) == 0 {
		q.noteIn(name, "election-no-leader", "", "no member may lead it: those whose settings name it are away, or no candidates now",
			"start a member whose settings name it, or mend what keeps these from leading (a failed hook or health check, a step-down)")
		return
	}
	q.findIn(name, "election-no-leader", "", fmt.Sprintf("none of %s names a leader; %s may lead it", list(s.known), list(may)),
		askAgain+"; if it stays, GET /events?election="+Printable(name, MaxText)+" shows who objects and why")
}

// furtherElections returns the names of the elections that any member that answered
// knows, without the group's own.
func (q *inquiry) furtherElections() []string {
	names := map[string]bool{}
	for _, by := range q.answered {
		for name := range q.answerOf(by).Elections {
			names[name] = name != groupElection
		}
	}
	maps.DeleteFunc(names, func(_ string, further bool) bool { return !further })
	return slices.Sorted(maps.Keys(names))
}

// standing sorts the answers by what they say of the leader of an election. A
// member that does not know the election says nothing of it.
func (q *inquiry) standing(name string) *standing {
	s := &standing{terms: map[string]uint64{}, follow: map[string][]string{}}
	for _, by := range q.answered {
		e, ok := q.answerOf(by).Elections[name]
		if !ok {
			continue
		}
		s.terms[by] = e.Term
		s.known = append(s.known, by)
		if e.Self {
			s.leading = append(s.leading, by)
		}
		if e.Leader == nil || *e.Leader == "" {
			s.lost = append(s.lost, by)
		} else {
			s.follow[*e.Leader] = append(s.follow[*e.Leader], by)
		}
	}
	return s
}

// candidates returns the members that may lead an election as any member sees it.
func (q *inquiry) candidates(election string) []string {
	may := map[string]bool{}
	for _, by := range q.answered {
		for _, name := range q.answerOf(by).Elections[election].Candidates {
			may[name] = true
		}
	}
	return slices.Sorted(maps.Keys(may))
}

// favourite is the leader that most members name, the first by name of equals.
func (s *standing) favourite() string {
	return slices.MinFunc(slices.Collect(maps.Keys(s.follow)), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(s.follow[b]), len(s.follow[a])), strings.Compare(a, b))
	})
}

// odd is the first member that does not name the leader that most name.
func (s *standing) odd(most string) string {
	for _, name := range s.known {
		if !slices.Contains(s.follow[most], name) {
			return name
		}
	}
	return most
}

// leaders says under which terms the members that lead it do.
func (s *standing) leaders() string {
	parts := make([]string, 0, len(s.leading))
	for _, name := range s.leading[:min(len(s.leading), 8)] {
		parts = append(parts, fmt.Sprintf("%s says that it leads, in term %d", Printable(name, MaxText), s.terms[name]))
	}
	return strings.Join(parts, "; ")
}

// says tells who names which leader.
func (s *standing) says() string {
	var parts []string
	for _, leader := range slices.Sorted(maps.Keys(s.follow)) {
		parts = append(parts, list(s.follow[leader])+" "+verb(len(s.follow[leader]), "names", "name")+" "+Printable(leader, MaxText))
	}
	parts = parts[:min(len(parts), 8)]
	if len(s.lost) > 0 {
		parts = append(parts, list(s.lost)+" "+verb(len(s.lost), "names", "name")+" no leader")
	}
	return strings.Join(parts, "; ")
}

// findIn adds a finding about an election that needs a hand.
func (q *inquiry) findIn(election, what, member, evidence, advice string) {
	q.noteIn(election, what, member, evidence, advice)
	q.findings[len(q.findings)-1].Degrades = true
}

// noteIn adds a finding about an election that is only good to know.
func (q *inquiry) noteIn(election, what, member, evidence, advice string) {
	q.note(what, member, evidence, advice)
	q.findings[len(q.findings)-1].Election = Printable(election, MaxText)
}
