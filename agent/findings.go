package agent

import (
	"fmt"
	"time"

	"doyen/seniority"
)

// findingsKept is for how long a finding about something that happened, rather
// than something that is, stays up.
const findingsKept = 10 * time.Minute

// refreshFindings works out what is published, when something has changed and
// once a beat, for gossip's findings come and go by themselves.
func (l *loop) refreshFindings(now time.Duration) {
	if l.findings.Due(now) {
		l.findStore()
		l.findings.Publish(now, beatInterval, l.agent.gossip.Findings())
	}
}

// findTerms notices claims refused because somebody's clock is far ahead.
func (e *election) findTerms(now time.Duration, n *seniority.Note) {
	if n.Reason != seniority.FutureTerm {
		return
	}
	culprit := n.Peer
	if n.Kind == seniority.Objected {
		culprit = e.self.Name
	}
	e.member.findings.Set(now, findingsKept, Finding{
		What: "clock-ahead", Member: culprit, Degrades: true,
		Evidence: fmt.Sprintf("a claim of term %d, a day or more ahead of what others know, was refused", n.Term),
		Advice:   "Set the clock of " + culprit + " right; terms are made from it.",
	})
}

// findClock notices a clock that terms cannot hold, and terms that are used up.
func (e *election) findClock(now seniority.Now, st *seniority.Status) {
	for reason, what := range termFindings {
		if st.Terms != reason {
			e.findings.ClearShared(what, e.self.Name)
		}
	}
	if st.Terms == seniority.None {
		return
	}
	f := Finding{
		What: termFindings[st.Terms], Member: e.self.Name, Degrades: true, Evidence: termTrouble(now, st),
		Advice: "Set the clock of " + e.self.Name + " right; terms are made from it.",
	}
	if st.Terms == seniority.TermsUsedUp {
		f.Advice = "Stop all members, set their clocks right, remove term.json from their state directories, have what compares terms forget them, and start the members again."
	}
	e.findings.Share(now.Boot, 0, f)
}

// termFindings are the findings about terms that a member could not claim.
var termFindings = map[seniority.Reason]string{seniority.ClockBeyond: "clock-beyond", seniority.TermsUsedUp: "terms-used-up"}

// termTrouble says what is wrong with the terms that this member would claim, or "".
func termTrouble(now seniority.Now, st *seniority.Status) string {
	switch year := time.UnixMilli(now.Wall).UTC().Year(); {
	case st.Terms == seniority.TermsUsedUp:
		return fmt.Sprintf("term %d is the last of all, so that this member can claim no other", st.Highest)
	case st.Terms == seniority.ClockBeyond && st.Highest == 0:
		return fmt.Sprintf("the wall clock of this member shows the year %d, and terms, which are made from it, end in 2255: it claims no term before it hears of one", year)
	case st.Terms == seniority.ClockBeyond:
		return fmt.Sprintf("the wall clock of this member shows the year %d, and terms, which are made from it, end in 2255: it claims terms one above the highest it has heard of", year)
	}
	return ""
}
