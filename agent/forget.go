package agent

import (
	"maps"
	"slices"
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

// A further election that no member's settings name any more is forgotten: it is no
// longer listed, counted or diagnosed. One whose candidates have only vanished is
// kept, because a person must see that it has no leader.

// forgetElections forgets the further elections that no member has named for so
// long that every promise made in them has run out.
func (l *loop) forgetElections(now time.Duration) {
	if len(l.elections) == 1 {
		return
	}
	l.noteNamers()
	for _, e := range slices.Clone(l.elections[1:]) {
		maps.DeleteFunc(e.namers, func(member string, noted namer) bool { return l.namesNoMore(e, member, noted) })
		switch {
		case e.candidate, len(e.namers) > 0, e.last.Leader != "":
			e.unnamed = 0
		case e.unnamed == 0:
			e.unnamed = now
		case now >= e.unnamed+l.promisesLast(e):
			l.forget(e)
		}
	}
}

// A namer is a run of another member whose settings name an election.
type namer struct {
	run uint64
	// ended is the run of that member whose end was known last, at that time.
	ended uint64
}

// noteNamers takes note of the other members that name each further election now.
func (l *loop) noteNamers() {
	runs := make(map[string]uint64, len(l.view.Members))
	for i := range l.view.Members {
		runs[l.view.Members[i].Name] = l.view.Members[i].Incarnation
	}
	for member, name := range l.details.Candidates() {
		if e := l.byName[name]; e != nil {
			end, _ := l.group().members.End(member)
			e.namers[member] = namer{runs[member], end.Incarnation}
		}
	}
}

// namesNoMore reports whether a member that has named the election no longer does: it
// is there and says so, or that run, or a later one that this member hardly met, has left.
func (l *loop) namesNoMore(e *election, member string, noted namer) bool {
	if _, names := l.details.Of(member, e.pub.name); names {
		return false
	}
	if slices.ContainsFunc(l.view.Members, func(p gossip.Peer) bool { return p.Name == member }) {
		_, current := l.agent.gossip.Detail(member)
		return current
	}
	end, known := l.group().members.End(member)
	return known && !end.Died && (end.Incarnation == noted.run || end.Incarnation != noted.ended)
}

// promisesLast is for how long a promise in the election may still run.
func (l *loop) promisesLast(e *election) time.Duration {
	return seniority.Drifted(max(e.cfg.timing.Lease, l.agent.keptLease(), seniority.LongestLease()))
}

// forget ends this member's part in an election. The term that it knows there does
// not fall if the election is named again.
func (l *loop) forget(e *election) {
	e.unwatch()
	<-e.watched
	e.close()
	e.findings.ClearAll(e.self.Name)
	if len(l.pastTerms) >= MaxElections {
		l.pastTerms = nil // terms are made from the clock, so that they rise all the same
	}
	if l.pastTerms == nil {
		l.pastTerms = map[string]uint64{}
	}
	l.pastTerms[e.pub.name] = max(e.last.Highest, e.last.Term)
	l.elections = slices.DeleteFunc(l.elections, func(other *election) bool { return other == e })
	delete(l.byName, e.pub.name)
	l.agent.strike(e.pub)
	e.log.Info("the election has ended: no member's settings name it")
}
