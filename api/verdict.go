package api

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"doyen/agent"
)

// The verdicts, worst first; judge gives the first that applies.
const (
	// twoLeaders: two members said that they lead.
	twoLeaders = "two-leaders"
	// disagreed: the members that answered do not all name the same leader.
	disagreed = "disagreed"
	// noLeader: nobody names a leader.
	noLeader = "no-leader"
	// degraded: one leader, but a member does not answer or a finding needs a
	// hand.
	degraded = "degraded"
	// agreed: everybody answers, and all name one leader.
	agreed = "agreed"
)

// maxFindings limits a verdict: past it, one more does not help a person.
const maxFindings = 100

// Verdict is what the members' answers add up to.
type Verdict struct {
	Status string `json:"status"`
	// Leader is whom the members name; null if they name none, and while two
	// lead. Among members that disagree it is the one that says it leads.
	Leader   *string         `json:"leader"`
	Findings []agent.Finding `json:"findings"`
}

// evidence is everything that judge looks at.
type evidence struct {
	state   agent.State        // of the member that asked
	members []agent.MemberInfo // its line of succession
	replies map[string]reply   // by member, the one that asked included
	// began and ended are when the survey did, by the clock of the member that
	// asked. Every answer was made between them.
	began, ended time.Time
}

// reply is one member's answer: its state, or what went wrong.
type reply struct {
	state *agent.State
	err   string
	udp   bool // a probe by UDP was answered
}

// inquiry is a judgement in the making.
type inquiry struct {
	*evidence
	answered []string            // members that answered, in order
	silent   []string            // members that did not, in order
	leading  []string            // members that say they lead
	follow   map[string][]string // by leader, the members that name it
	lost     []string            // members that name no leader
	yielding []string            // members whose release is under way
	findings []agent.Finding
}

// judge is a pure function of the evidence. The states in it are other
// programs' words: they may contradict one another and even themselves, and
// judge reports that rather than assume anything.
func judge(e *evidence) Verdict {
	q := open(e)
	for _, check := range []func(*inquiry){
		leadership, absences, views, transports, clocks, hooks, reported, settings, voters, successors, splits, versions,
	} {
		check(q)
	}
	v := Verdict{Status: q.status()}
	v.Leader = q.leader(v.Status)
	v.Findings = q.sorted()
	return v
}

// open sorts the answers by what they say of the leader.
func open(e *evidence) *inquiry {
	q := &inquiry{evidence: e, follow: map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(e.replies)) {
		s := e.replies[name].state
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
		l := e.replies[name].state.Leader
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
		return twoLeaders
	case q.disagree():
		return disagreed
	case len(q.follow) == 0:
		return noLeader
	case slices.ContainsFunc(q.findings, func(f agent.Finding) bool { return f.Degrades }):
		return degraded
	}
	return agreed
}

// disagree reports whether two members that answered named different leaders,
// or one named a leader and the other none.
func (q *inquiry) disagree() bool {
	return len(q.follow) > 1 || len(q.follow) == 1 && len(q.lost) > 0
}

// leader is the verdict's leader under a status.
func (q *inquiry) leader(status string) *string {
	switch status {
	case agreed, degraded:
		l := q.favourite()
		return &l
	case disagreed:
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
	return array(q.findings[:min(len(q.findings), maxFindings)])
}

// answerOf returns the state of a member that answered.
func (q *inquiry) answerOf(name string) *agent.State { return q.replies[name].state }

// quorum reports whether the member that asked is in quorum mode.
func (q *inquiry) quorum() bool { return q.state.Mode == "quorum" }
