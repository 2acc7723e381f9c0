package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"doyen/seniority"
)

// findingsKept is for how long a finding about something that happened, rather
// than something that is, stays up.
const findingsKept = 10 * time.Minute

// findings is what this member itself has noticed. Only the loop uses it; what
// it has published is never changed.
type findings struct {
	own       map[string]noticed // by what and whom they are about
	published []Finding
	stale     bool
	due       time.Duration // boot time of the next look at gossip's findings
}

type noticed struct {
	Finding
	until time.Duration // boot time; 0: until it is cleared
}

// set adds a finding, or replaces the one of the same name about the same
// member; keep 0 means until it is cleared.
func (f *findings) set(now, keep time.Duration, x Finding) {
	if f.own == nil {
		f.own = map[string]noticed{}
	}
	n := noticed{Finding: x}
	if keep != 0 {
		n.until = now + keep
	}
	key := x.What + " " + x.Member
	if f.own[key] == n {
		return
	}
	f.own[key] = n
	f.stale = true
}

// clear takes a finding away.
func (f *findings) clear(what, member string) {
	if _, there := f.own[what+" "+member]; there {
		delete(f.own, what+" "+member)
		f.stale = true
	}
}

// get returns the evidence of a finding, or "".
func (f *findings) get(what, member string) string { return f.own[what+" "+member].Evidence }

// refreshFindings works out what is published, when something has changed and
// once a beat, for gossip's findings come and go by themselves.
func (l *loop) refreshFindings(now time.Duration) {
	f := &l.findings
	if !f.stale && now < f.due {
		return
	}
	f.stale, f.due = false, now+beatInterval
	f.published = []Finding{}
	for key, n := range f.own {
		if n.until != 0 && now >= n.until {
			delete(f.own, key)
			continue
		}
		f.published = append(f.published, n.Finding)
	}
	for _, g := range l.gossip.Findings() {
		f.published = append(f.published, Finding(g))
	}
	slices.SortFunc(f.published, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Evidence, b.Evidence))
	})
}

// findTerms notices claims refused because somebody's clock is far ahead.
func (l *loop) findTerms(now time.Duration, n *seniority.Note) {
	if n.Reason != seniority.FutureTerm {
		return
	}
	culprit := n.Peer
	if n.Kind == seniority.Objected {
		culprit = l.self.Name
	}
	l.findings.set(now, findingsKept, Finding{
		What: "clock-ahead", Member: culprit, Degrades: true,
		Evidence: fmt.Sprintf("a claim of term %d, a day or more ahead of what others know, was refused", n.Term),
		Advice:   "Set the clock of " + culprit + " right; terms are made from it.",
	})
}
