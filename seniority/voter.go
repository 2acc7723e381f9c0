package seniority

import "time"

// voter is the half of a node that promises its vote. Its invariants are those
// of doc.go, section Voters:
//
//   - at any instant it has promised to at most one holder;
//   - it promises a term to one holder only, and no new term at or below its
//     floor or one it has seen released;
//   - only a confirm raises the floor; a refusal changes nothing.
type voter struct {
	holder      string
	incarnation uint64
	term        uint64
	stand       Stand
	at, until   time.Duration // by this node's clock, from receipt
	will        [32]byte

	floor    uint64        // the highest term confirmed
	floorOf  Holder        // the holder it was confirmed to; none once that term is released
	released uint64        // the highest term seen released
	longest  time.Duration // the longest lease promised

	abstainTill time.Duration // just started: no promise before
	abstained   time.Duration // and never one for a longer lease than this; 0: no limit
}

// abstain has a voter that starts promise nothing before everything has run out
// that its last run may have promised, and never a lease longer than that: the
// next run may know no more than this one does. The time counts from this start,
// because nothing else is certain: the clock of this host, and how long it has
// been up, say nothing of the run before where that was on another machine.
func (v *voter) abstain(now Now, own, kept time.Duration) {
	if kept == 0 {
		kept = LongestLease()
	}
	v.abstained = max(own, kept)
	v.abstainTill = now.Boot + Drifted(v.abstained)
}

// Holder is a run of a member that claims terms.
type Holder struct {
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation"`
}

// refuses reports whether a term that is not promised already comes too late.
func (v *voter) refuses(term uint64) bool { return term <= max(v.floor, v.released) }

// raiseFloor refuses, from now on, new terms up to this one, which is the
// holder's.
func (v *voter) raiseFloor(term uint64, name string, incarnation uint64) {
	if term > v.floor {
		v.floor, v.floorOf = term, Holder{name, incarnation}
	}
}

// again reports whether a claim is for the highest term confirmed, by the claimant it
// was confirmed to: a leader that was lost and is back. The claims of its own
// that this node has made meanwhile came to nothing.
func (v *voter) again(m *Message) bool {
	return m.Term == v.floor && v.floorOf == Holder{m.From, m.Incarnation}
}

// running reports whether a promise is in force.
func (v *voter) running(now Now) bool { return v.term != 0 && now.Boot < v.until }

// promisedTo reports whether the last promise was for exactly this claim's
// term and run of its holder.
func (v *voter) promisedTo(name string, incarnation, term uint64) bool {
	return v.term != 0 && v.holder == name && v.incarnation == incarnation && v.term == term
}

// judge says whether a claim may be granted: None, or the reason to refuse it.
func (c *Core) judge(now Now, m *Message) Reason {
	v := &c.voter
	if v.promisedTo(m.From, m.Incarnation, m.Term) {
		return None // a renewal: nothing was promised since, so other claims seen do not matter
	}
	if r := c.electorate.admits(now, m); r != None {
		return r
	}
	mine := v.holder == m.From && v.incarnation == m.Incarnation
	switch {
	case now.Boot < v.abstainTill:
		return JustStarted
	case v.abstained > 0 && m.Lease > v.abstained:
		return LeaseTooLong
	case v.running(now) && !mine:
		return HeldByAnother
	case v.refuses(m.Term) && !v.again(m):
		return StaleTerm
	case m.Stand == Asking && m.From != c.self.Name && c.electorate.farAhead(now, m.Term):
		return FutureTerm
	}
	return None
}

// grant promises the vote to a claim that judge has passed.
//
// The floor of a claim of one's own is raised when it is won, not now: the
// term carries this node's place, so no other node can claim it, and a claim
// that a wrong clock put far ahead must not shut out those of all others.
func (c *Core) grant(now Now, m *Message) {
	v := &c.voter
	v.holder, v.incarnation, v.term = m.From, m.Incarnation, m.Term
	v.stand, v.will = m.Stand, m.Will
	v.at, v.until = now.Boot, now.Boot+Drifted(m.Lease)
	v.longest = max(v.longest, m.Lease)
	if m.From != c.self.Name {
		v.raiseFloor(m.Term, m.From, m.Incarnation)
		c.learn(now, m.Term, true)
	}
}

// forget ends the promise in force, if any.
func (v *voter) forget() {
	v.holder, v.incarnation, v.term, v.until = "", 0, 0, 0
}

// onClaim answers another's claim.
func (c *Core) onClaim(now Now, m *Message) {
	if m.Gossiped {
		c.overhear(now, m)
		return
	}
	if m.Stand == Leading {
		c.learn(now, m.Term, true)
	}
	switch leads := m.Stand == Leading && c.electorate.merges(); {
	case leads && c.phase == Holding:
		c.confront(now, m)
		return
	case leads && m.Deaf:
		c.dropDeafLeader(now, m)
		return
	case leads && c.keepsLeader(now, m):
		c.refuseLeader(now, m)
		return
	}
	late := c.voter.refuses(m.Term) && !c.voter.again(m)
	if c.phase == Claiming && !late && c.yieldsTo(now, m) {
		c.abandon(now, AnotherPreferred)
	}
	switch r := c.answer(now, m); {
	case r == NotAVoter && m.Stand == Leading && c.electorate.belongs(m) == None:
		c.listen(now, m)
	case r == JustStarted && m.Stand == Leading:
		if !c.led.heard(m) {
			c.overhear(now, m) // a leader may be followed before it is given a vote
		}
		c.object(now, m, r)
	case r != None:
		c.object(now, m, r)
	default:
		c.confirm(now, m)
	}
}

// answer is why a claim is refused, or None.
func (c *Core) answer(now Now, m *Message) Reason {
	r := c.judge(now, m)
	switch {
	case r == None && m.Stand == Asking && c.refusesLog(now, m):
		return LogBehind
	case r == None && m.Stand == Asking && m.Log.newer(c.log) && c.ranksLogs(now, m):
		return None // the first by the rule may lack entries of it
	case r == None && m.Stand == Asking:
		return c.preferAnother(now, m)
	case r == None && m.Stand == Leading && m.Term < c.shownTerm && c.electorate.merges():
		return StaleTerm // of another group's leader this node has heard already
	}
	return r
}

// confirm grants a claim, and follows the claimant if it leads.
func (c *Core) confirm(now Now, m *Message) {
	first := !c.voter.promisedTo(m.From, m.Incarnation, m.Term)
	c.grant(now, m)
	c.send(Message{Kind: Confirm, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease})
	if first {
		c.note(Note{Kind: Promised, Peer: m.From, Term: m.Term})
	}
	switch {
	case m.Stand == Leading && m.Term >= c.shownTerm:
		c.follow(now, m)
	case m.Stand == Leaving && c.led.is(m.From, m.Incarnation, m.Term):
		c.led.leaving = true
		c.led.until = c.voter.until
	case first:
		c.deferTo(now)
	}
}

// object refuses a claim. While the claimant cannot know who leads, a leader
// tells it by a claim of its own.
func (c *Core) object(now Now, m *Message, r Reason) {
	o := Message{
		Kind: Object, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease,
		Reason: r, Known: max(c.highest, c.voter.floor, c.voter.released),
	}
	o.Leader, _ = c.leader(now)
	switch r {
	case JustStarted:
		o.Held = c.voter.abstainTill - now.Boot
	case HeldByAnother:
		o.Held = c.mayBeFree(now) - now.Boot
		if o.Leader == "" {
			o.Leader = c.voter.holder
		}
	case FutureTerm:
		if now.Wall > 0 {
			o.Known = max(o.Known, uint64(now.Wall)*places)
		}
	case AnotherPreferred:
		o.Leader = c.preferred(m)
	}
	c.send(o)
	c.note(Note{Kind: RefusedClaim, Peer: m.From, Term: m.Term, Reason: r})
	if c.phase == Holding && m.Stand == Asking {
		c.notifyLeader(m.From)
	}
}

// mayBeFree is when the vote may be free again: when the promise runs out, but a
// claimant that has not won yet asks again, leads, or gives up before. The vote of a
// member that hears of its leader by gossip, and has promised nothing, is free now: no
// message carries a time before.
func (c *Core) mayBeFree(now Now) time.Duration {
	v := &c.voter
	if !v.running(now) {
		return now.Boot
	}
	if soon := v.at + 2*c.timing.Confirm; v.stand == Asking && now.Boot < soon {
		return min(v.until, soon)
	}
	return v.until
}

// preferAnother says, once in an election, that the rule puts another first.
func (c *Core) preferAnother(now Now, m *Message) Reason {
	if c.courtesy[m.From] {
		return None
	}
	first := c.preferred(m)
	if first == "" {
		return None
	}
	if name, _ := c.leader(now); name != "" {
		return None
	}
	if c.led.successor == m.From {
		return None // the leader itself named it
	}
	c.courtesy[m.From] = true
	if first == c.self.Name {
		c.skipSettle = true // others are ready; there is nothing left to wait for
		c.waitFrom = min(c.waitFrom, now.Boot)
	}
	return AnotherPreferred
}

// preferred returns the first member that may lead and comes before a claimant
// in the line of succession, or "".
func (c *Core) preferred(claim *Message) string {
	claimant, ok := c.claimant(claim)
	if !ok {
		return ""
	}
	for i := range c.view.members {
		m := &c.view.members[i]
		switch {
		case m.Name == claimant.Name:
		case c.compare(m, &claimant) > 0:
			return ""
		case c.contends(m):
			return m.Name
		}
	}
	return ""
}

// claimant returns the member whose claim this is, in the place that it knows
// of itself: gossip may still show an older one. Two that each found the other
// preferred would both give way, again and again.
func (c *Core) claimant(claim *Message) (Member, bool) {
	known := c.view.member(claim.From)
	if known == nil {
		return Member{}, false
	}
	m := *known
	m.Join = claim.Join
	return m, true
}

// yieldsTo reports whether a claim of this node that has not been won gives
// way to m: to any leadership, and to a claimant whose log is newer, or that the
// rule prefers.
func (c *Core) yieldsTo(now Now, m *Message) bool {
	if m.Stand != Asking {
		return m.Stand == Leading
	}
	other, ok := c.claimant(m)
	switch {
	case !ok || !other.MayLead():
		return false
	case !c.self.MayLead():
		return true
	case m.Log != c.log && c.ranksLogs(now, m):
		return m.Log.newer(c.log)
	}
	return c.compare(&other, &c.self) < 0
}
