package ownfindings

import (
	"time"

	"doyen/gossip/findings"
)

// Election is the part of a List that is about one election.
type Election struct {
	all      *List
	election string // "": the group's own
}

// Of returns the part that is about an election; "": the group's own.
func (f *List) Of(election string) Election { return Election{all: f, election: election} }

// Set is List.Set of the election.
func (f Election) Set(now, keep time.Duration, x findings.Finding) {
	x.Election = f.election
	f.all.Set(now, keep, x)
}

// Clear is List.Clear of the election.
func (f Election) Clear(what, member string) { f.all.clear(f.election, what, member) }

// Share sets a finding that has one cause for all elections, so that it stands once
// for the member: as the first of them words it, and until the last has cleared it.
func (f Election) Share(now, keep time.Duration, x findings.Finding) {
	if f.all.shared == nil {
		f.all.shared = map[string]map[string]bool{}
	}
	if f.all.shared[x.What] == nil {
		f.all.shared[x.What] = map[string]bool{}
	}
	f.all.shared[x.What][f.election] = true
	if len(f.all.shared[x.What]) == 1 || f.all.Evidence(x.What, x.Member) == "" {
		f.all.Set(now, keep, x)
	}
}

// Shares reports whether the election has shared a finding and not cleared it.
func (f Election) Shares(what string) bool { return f.all.shared[what][f.election] }

// ClearShared takes the election out of those that share a finding.
func (f Election) ClearShared(what, member string) {
	if !f.Shares(what) {
		return
	}
	delete(f.all.shared[what], f.election)
	if len(f.all.shared[what]) == 0 {
		f.all.Clear(what, member)
	}
}

// ClearAll takes all findings of a further election away.
func (f Election) ClearAll(member string) {
	for k, n := range f.all.own {
		if n.finding.Election == f.election {
			delete(f.all.own, k)
			f.all.stale = true
		}
	}
	for what := range f.all.shared {
		f.ClearShared(what, member)
	}
}

// Evidence is List.Evidence of the election.
func (f Election) Evidence(what, member string) string {
	return f.all.own[key(f.election, what, member)].finding.Evidence
}
