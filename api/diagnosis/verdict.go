package diagnosis

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"doyen/agent"
)

// The statuses of a verdict, worst first; Judge gives the first that applies.
const (
	// TwoLeaders: two members said that they lead.
	TwoLeaders = "two-leaders"
	// Disagreed: the members that answered do not all name the same leader.
	Disagreed = "disagreed"
	// NoLeader: no member names a leader.
	NoLeader = "no-leader"
	// Degraded: one leader, but a member does not answer or a finding needs a
	// hand.
	Degraded = "degraded"
	// Agreed: all answer, and all name one leader.
	Agreed = "agreed"
)

// maxFindings limits a verdict: past it, one more does not help a person.
const maxFindings = 100

// Verdict is what the members' answers add up to.
type Verdict struct {
	Status string `json:"status"`
	// Leader is the one that the members name; null if they name none, and while two
	// lead. Among members that disagree it is the one that says it leads.
	Leader   *string         `json:"leader"`
	Findings []agent.Finding `json:"findings"`
}

// Evidence is everything that Judge looks at.
type Evidence struct {
	// Asker is the state of the member that asked: what it answered itself, so that
	// the verdict does not mix two of its states.
	Asker agent.State
	// Members is the asker's line of succession.
	Members []agent.MemberInfo
	// Replies holds an entry for each member that was asked, the asker included,
	// and for each voter that is no member.
	Replies map[string]Reply
	// Began and Ended are when the survey began and ended, by the clock of the
	// asker. Every answer was made between them.
	Began, Ended time.Time
}

// Reply is the answer of one member: its state, or what went wrong.
type Reply struct {
	// State is what the member answered; nil if it did not.
	State *agent.State
	// Err says why there is no state. It is shown as it is, so the caller makes it
	// safe with Printable.
	Err string
	// UDP is true if the member answered a probe by UDP.
	UDP bool
}

// inquiry is a judgement in the making.
type inquiry struct {
	given    *Evidence
	answered []string            // members that answered, in order
	silent   []string            // members that did not, in order
	leading  []string            // members that say they lead
	follow   map[string][]string // by leader, the members that name it
	lost     []string            // members that name no leader
	yielding []string            // members whose release is under way
	findings []agent.Finding
}

// Judge returns the verdict on the evidence, and does nothing else. Other programs
// wrote the states in it: these may contradict one another and even themselves,
// and Judge reports that rather than assume anything.
func Judge(e *Evidence) Verdict {
	q := open(e)
	for _, check := range []func(*inquiry){
		leadership, splits, absences, views, transports, clocks, hooks, holders, reported, settings, voters, successors, versions, elections,
	} {
		check(q)
	}
	v := Verdict{Status: q.status()}
	v.Leader = q.leader(v.Status)
	v.Findings = q.sorted()
	return v
}

// open sorts the answers by what they say of the leader.
func open(e *Evidence) *inquiry {
	q := &inquiry{given: e, follow: map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(e.Replies)) {
		s := e.Replies[name].State
		if s == nil {
			q.silent = append(q.silent, name)
			continue
		}
		q.answered = append(q.answered, name)
		if s.IsLeader {
			q.leading = append(q.leading, name)
		}
		if s.Phase == "yielding" {
			q.yielding = append(q.yielding, name)
		}
	}
	for _, name := range q.answered {
		l := e.Replies[name].State.Leader
		// Who names a leader that says it is handing over has not heard yet.
		if l == nil || *l == "" || slices.Contains(q.yielding, *l) {
			q.lost = append(q.lost, name)
			continue
		}
		q.follow[*l] = append(q.follow[*l], name)
	}
	return q
}

// status is the first that applies.
func (q *inquiry) status() string {
	switch {
	case len(q.leading) > 1:
		return TwoLeaders
	case q.disagree():
		return Disagreed
	case len(q.follow) == 0:
		return NoLeader
	case slices.ContainsFunc(q.findings, func(f agent.Finding) bool { return f.Degrades }):
		return Degraded
	}
	return Agreed
}

// disagree reports whether two members that answered named different leaders,
// or one named a leader and the other none.
func (q *inquiry) disagree() bool {
	return len(q.follow) > 1 || len(q.follow) == 1 && len(q.lost) > 0
}

// leader is the verdict's leader under a status.
func (q *inquiry) leader(status string) *string {
	switch status {
	case Agreed, Degraded:
		l := q.favourite()
		return &l
	case Disagreed:
		if len(q.leading) == 1 {
			return &q.leading[0]
		}
	}
	return nil
}

// favourite is the leader that most members name; of equals one that says it
// leads, then the first by name.
func (q *inquiry) favourite() string {
	best := ""
	for _, l := range slices.Sorted(maps.Keys(q.follow)) {
		if best == "" || cmp.Or(
			cmp.Compare(len(q.follow[l]), len(q.follow[best])),
			cmp.Compare(btoi(slices.Contains(q.leading, l)), btoi(slices.Contains(q.leading, best))),
		) > 0 {
			best = l
		}
	}
	return best
}

// find adds a finding that needs a hand.
func (q *inquiry) find(what, member, evidence, advice string) {
	q.findings = append(q.findings, agent.Finding{
		What: what, Member: member, Evidence: evidence, Advice: advice, Degrades: true,
	})
}

// note adds a finding that is only good to know.
func (q *inquiry) note(what, member, evidence, advice string) {
	q.findings = append(q.findings, agent.Finding{What: what, Member: member, Evidence: evidence, Advice: advice})
}

// sorted returns the findings, those that need a hand first, and within reason.
func (q *inquiry) sorted() []agent.Finding {
	slices.SortStableFunc(q.findings, func(a, b agent.Finding) int {
		return cmp.Compare(btoi(b.Degrades), btoi(a.Degrades))
	})
	return append([]agent.Finding{}, q.findings[:min(len(q.findings), maxFindings)]...) // [] in JSON, not null
}

// answerOf returns the state of a member that answered.
func (q *inquiry) answerOf(name string) *agent.State { return q.given.Replies[name].State }

// quorum reports whether the member that asked is in quorum mode.
func (q *inquiry) quorum() bool { return q.given.Asker.Mode == "quorum" }
