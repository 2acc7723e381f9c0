package seniority

import (
	"slices"
	"time"
)

// quorum is the electorate of quorum mode: a fixed list of voters, of which a
// majority must confirm, independent of gossip.
//
// While the list is being changed, two lists that differ by one entry may be
// about. A claim needs a majority of its own list and of the list of each
// voter that confirms it, so any two sets of votes that suffice share a voter.
type quorum struct {
	core   *Core
	names  map[string]string   // entry → the member that is it, last heard of
	lists  map[string][]string // entry → the list that this voter goes by
	asked  []string
	times  []time.Duration
	probed []string // of the last call of probes
	// farTill is until when this node neither claims nor confirms, because a
	// voter was heard whose list is more than one entry away.
	farTill time.Duration
}

func (e *quorum) merges() bool             { return false }
func (e *quorum) votes() (int, int)        { return 1, 1 }
func (e *quorum) ballot(m *Message) string { return m.Voter }
func (e *quorum) releaseBy() time.Duration { return e.core.claim.leaseEnd }
func (e *quorum) seats(m *Member) bool {
	return m.Voter != "" && slices.Contains(e.core.cfg.Voters, m.Voter)
}
func (e *quorum) seat() uint64 {
	return uint64(slices.Index(e.core.cfg.Voters, e.core.self.Voter)) + 1
}

// farAhead: a voter whose clock is a day or more ahead is not followed there.
func (e *quorum) farAhead(now Now, term uint64) bool {
	return tooFarAhead(term, e.core.highest, now.Wall)
}

func (e *quorum) belongs(m *Message) Reason {
	if len(m.Voters) == 0 {
		return WrongElectorate
	}
	return None
}

func (e *quorum) admits(now Now, m *Message) Reason {
	switch {
	case e.core.self.Voter == "":
		return NotAVoter
	case now.Boot < e.farTill || m.Voter == "" || !slices.Contains(m.Voters, m.Voter) || distance(e.core.cfg.Voters, m.Voters) > 1:
		return WrongElectorate
	}
	return None
}

// counts: only voters count, and only of lists that may stand together.
func (e *quorum) counts(m *Message) Reason {
	switch {
	case m.Voter == "":
		return NotAVoter
	case distance(e.core.cfg.Voters, m.Voters) > 1:
		return WrongElectorate
	}
	return None
}

// heard remembers who a voter is and what list it goes by. A list too far away
// counts for some leases only: the message may be older than a restart.
func (e *quorum) heard(now Now, m *Message) {
	if m.Voter == "" || m.Gossiped {
		return
	}
	if distance(e.core.cfg.Voters, m.Voters) > 1 {
		e.farTill = now.Boot + silentLeases*e.core.timing.Lease
		return
	}
	if e.names[m.Voter] != m.From || !same(e.lists[m.Voter], m.Voters) {
		e.lists[m.Voter] = m.Voters
		e.regard(m.Voter, m.From)
	}
}

// saw learns from the view which member is which voter. What was learnt stays
// when a member leaves the view: gossip has no say in who votes.
func (e *quorum) saw() {
	for i := range e.core.view.members {
		if m := &e.core.view.members[i]; m.Voter != "" && e.names[m.Voter] != m.Name {
			e.regard(m.Voter, m.Name)
		}
	}
}

// regard brings the derived fields up to date.
func (e *quorum) regard(entry, name string) {
	e.names[entry] = name
	entries := slices.Clone(e.core.cfg.Voters)
	for _, l := range e.lists {
		for _, v := range l {
			if !slices.Contains(entries, v) {
				entries = append(entries, v)
			}
		}
	}
	slices.Sort(entries)
	e.asked = e.asked[:0]
	for _, v := range entries {
		if n := e.names[v]; n != "" && n != e.core.self.Name && !slices.Contains(e.asked, n) {
			e.asked = append(e.asked, n)
		}
	}
}

// ask: every voter that was ever heard of, for leadership and election alike.
func (e *quorum) ask(Stand) []string { return e.asked }

func (e *quorum) watches(name string) bool { return slices.Contains(e.asked, name) }

// ready: a voter that has just started abstains, for itself too.
func (e *quorum) ready(now Now) (time.Duration, bool) {
	if e.core.self.Voter == "" {
		return 0, false
	}
	return max(e.core.voter.abstainTill, e.farTill), true
}

func (e *quorum) elects(now Now, _ bool) bool {
	deadline, _ := e.lease(now)
	return deadline > now.Boot
}

// blocks: the claim is lost once too few voters are left that could confirm.
func (e *quorum) blocks(m *Message) bool {
	if m.Voter == "" {
		return false
	}
	e.core.claim.ballots[m.Voter] = ballot{excused: true, voters: m.Voters}
	left := 0
	for _, v := range e.core.cfg.Voters {
		if !e.core.claim.ballots[v].excused {
			left++
		}
	}
	return left <= len(e.core.cfg.Voters)/2
}

// lease: the majority-th newest confirmed time of sending, plus the lease, of
// this node's list and of every confirmer's. The voters count from receipt and
// a little longer, so this node always stops first.
func (e *quorum) lease(now Now) (deadline, end time.Duration) {
	sent, ok := e.carried(0)
	if !ok {
		return 0, 0
	}
	end = sent + e.core.timing.Lease
	return end - e.core.timing.ReleaseBudget, end
}

func (e *quorum) raised() bool {
	_, ok := e.carried(e.core.claim.asked)
	return ok
}

// carried returns the newest time of sending such that a majority of this
// node's list, and of the list of everyone who confirmed, has confirmed a
// claim sent then or later, of that term at least.
func (e *quorum) carried(term uint64) (time.Duration, bool) {
	sent, ok := e.majority(e.core.cfg.Voters, term)
	if !ok {
		return 0, false
	}
	for _, b := range e.core.claim.ballots {
		if !b.granted || b.term < term || same(b.voters, e.core.cfg.Voters) {
			continue
		}
		t, ok := e.majority(b.voters, term)
		if !ok {
			return 0, false
		}
		sent = min(sent, t)
	}
	return sent, true
}

// majority is carried for one list.
func (e *quorum) majority(list []string, term uint64) (time.Duration, bool) {
	e.times = e.times[:0]
	for _, v := range list {
		if b := e.core.claim.ballots[v]; b.granted && b.term >= term {
			e.times = append(e.times, b.confirmed)
		}
	}
	need := len(list)/2 + 1
	if len(e.times) < need {
		return 0, false
	}
	slices.Sort(e.times)
	return e.times[len(e.times)-need], true
}

func (e *quorum) confirmedBy(name string) time.Duration {
	for entry, n := range e.names {
		if n == name {
			return e.core.claim.ballots[entry].confirmed
		}
	}
	return 0
}

// unreached: members that do not vote hear of the leader by gossip, and voters
// that have not answered for some leases but are in the view.
func (e *quorum) unreached(now Now) bool {
	const long = silentLeases
	old := e.core.held > long*e.core.timing.Lease
	return slices.ContainsFunc(e.core.view.members, func(m Member) bool {
		switch {
		case m.Name == e.core.self.Name:
			return false
		case !e.watches(m.Name): // not by number: e.asked has voters that are not in the view, too
			return true
		}
		return old && now.Boot-e.confirmedBy(m.Name) > long*e.core.timing.Lease
	})
}

// same reports whether two lists are equal; nearly always they are one slice.
func same(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// distance is the number of entries that stand in one of the lists only.
func distance(a, b []string) int {
	if same(a, b) {
		return 0
	}
	n := 0
	for _, v := range a {
		if !slices.Contains(b, v) {
			n++
		}
	}
	for _, v := range b {
		if !slices.Contains(a, v) {
			n++
		}
	}
	return n
}
