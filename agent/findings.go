package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"doyen/agent/words"
	"doyen/seniority"
)

// findingsKept is for how long a finding about something that happened, rather
// than something that is, stays up.
const findingsKept = 10 * time.Minute

// ownFindings is what this member itself has noticed. Only the loop uses it; what
// it has published is never changed.
type ownFindings struct {
	own       map[string]noticed         // by their word and the member they are about
	shared    map[string]map[string]bool // by their word, the elections that have them
	published []Finding
	began     map[string]time.Duration // when those that stand began, by key
	lines     int                      // the log's lines of beginnings in a minute
	linesTill time.Duration            // when that minute ends
	stale     bool
	due       time.Duration // boot time of the next look at gossip's findings
}

type noticed struct {
	Finding
	until time.Duration // boot time; 0: until it is cleared
}

// set adds a finding, or replaces the one of the same name about the same
// member; keep 0 means until it is cleared.
func (f *ownFindings) set(now, keep time.Duration, x Finding) {
	if f.own == nil {
		f.own = map[string]noticed{}
	}
	n := noticed{Finding: x}
	if keep != 0 {
		n.until = now + keep
	}
	key := findingKey(x.Election, x.What, x.Member)
	if f.own[key] == n {
		return
	}
	f.own[key] = n
	f.stale = true
}

// clear takes a finding away.
func (f *ownFindings) clear(what, member string) { f.clearOf("", what, member) }

// clearOf takes a finding of an election away.
func (f *ownFindings) clearOf(election, what, member string) {
	key := findingKey(election, what, member)
	if _, there := f.own[key]; there {
		delete(f.own, key)
		f.stale = true
	}
}

// get returns the evidence of a finding, or "".
func (f *ownFindings) get(what, member string) string {
	return f.own[findingKey("", what, member)].Evidence
}

// findingKey is what tells findings apart.
func findingKey(election, what, member string) string {
	if election == "" {
		return what + " " + member
	}
	return what + " " + member + " " + election
}

// electionFindings are the findings of one election among those of the member.
type electionFindings struct {
	all      *ownFindings
	election string // "": the group's own
}

func (f electionFindings) set(now, keep time.Duration, x Finding) {
	x.Election = f.election
	f.all.set(now, keep, x)
}

func (f electionFindings) clear(what, member string) { f.all.clearOf(f.election, what, member) }

// share sets a finding that has one cause for all elections, so that it stands once
// for the member: as the first of them words it, and until the last has cleared it.
func (f electionFindings) share(now, keep time.Duration, x Finding) {
	if f.all.shared == nil {
		f.all.shared = map[string]map[string]bool{}
	}
	if f.all.shared[x.What] == nil {
		f.all.shared[x.What] = map[string]bool{}
	}
	f.all.shared[x.What][f.election] = true
	if len(f.all.shared[x.What]) == 1 || f.all.get(x.What, x.Member) == "" {
		f.all.set(now, keep, x)
	}
}

// shares reports whether the election has shared a finding and not cleared it.
func (f electionFindings) shares(what string) bool { return f.all.shared[what][f.election] }

// clearShared takes the election out of those that share a finding.
func (f electionFindings) clearShared(what, member string) {
	if !f.shares(what) {
		return
	}
	delete(f.all.shared[what], f.election)
	if len(f.all.shared[what]) == 0 {
		f.all.clear(what, member)
	}
}

// clearAll takes all findings of a further election away.
func (f electionFindings) clearAll(member string) {
	for key, n := range f.all.own {
		if n.Election == f.election {
			delete(f.all.own, key)
			f.all.stale = true
		}
	}
	for what := range f.all.shared {
		f.clearShared(what, member)
	}
}

func (f electionFindings) get(what, member string) string {
	return f.all.own[findingKey(f.election, what, member)].Evidence
}

// refreshFindings works out what is published, when something has changed and
// once a beat, for gossip's findings come and go by themselves.
func (l *loop) refreshFindings(now time.Duration) {
	f := &l.findings
	if !f.stale && now < f.due {
		return
	}
	l.findStore()
	f.stale, f.due = false, now+beatInterval
	f.published = []Finding{}
	for key, n := range f.own {
		if n.until != 0 && now >= n.until {
			delete(f.own, key)
			continue
		}
		f.published = append(f.published, n.Finding)
	}
	f.published = append(f.published, l.agent.gossip.Findings()...)
	slices.SortFunc(f.published, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Election, b.Election), cmp.Compare(a.Evidence, b.Evidence))
	})
	l.logFindings(now, f.published)
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
	e.member.findings.set(now, findingsKept, Finding{
		What: "clock-ahead", Member: culprit, Degrades: true,
		Evidence: fmt.Sprintf("a claim of term %d, a day or more ahead of what others know, was refused", n.Term),
		Advice:   "Set the clock of " + culprit + " right; terms are made from it.",
	})
}

// findClock notices a clock that terms cannot hold, and terms that are used up.
func (e *election) findClock(now seniority.Now, st *seniority.Status) {
	for reason, what := range termFindings {
		if st.Terms != reason {
			e.findings.clearShared(what, e.self.Name)
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
	e.findings.share(now.Boot, 0, f)
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

// maxFindingLines is how many beginnings of findings the log has in a minute:
// strangers can cause some.
const maxFindingLines = 20

// logFindings logs which findings have begun and which are over. It is the only
// place that does, for all that find them.
func (l *loop) logFindings(now time.Duration, current []Finding) {
	f := &l.findings
	standing := make(map[string]time.Duration, len(current))
	for _, x := range current {
		key := findingKey(x.Election, x.What, x.Member)
		began, stands := f.began[key]
		if !stands {
			began = now
			l.logFinding(now, &x)
		}
		delete(f.began, key)
		standing[key] = began
	}
	for _, key := range slices.Sorted(maps.Keys(f.began)) {
		if what, about, _ := strings.Cut(key, " "); what != inMaintenance {
			l.agent.log.Info("finding is over", "what", what, "about", about, "lasted", words.Round(now-f.began[key]))
		}
	}
	f.began = standing
}

// logFinding logs one that begins. Maintenance has lines of its own.
func (l *loop) logFinding(now time.Duration, x *Finding) {
	f := &l.findings
	if x.What == inMaintenance {
		return
	}
	if now >= f.linesTill {
		f.lines, f.linesTill = 0, now+time.Minute
	}
	switch f.lines++; {
	case f.lines <= maxFindingLines:
		l.agent.log.Warn("finding", "what", x.What, "about", x.Member, "evidence", x.Evidence, "advice", x.Advice)
	case f.lines == maxFindingLines+1:
		l.agent.log.Warn("more findings are held back for a minute; agent diag lists them")
	}
}
