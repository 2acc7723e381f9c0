package seniority

import (
	"cmp"
	"time"
)

// defend takes in an objection to a running leadership.
func (c *Core) defend(now Now, m *Message) {
	c.note(Note{Kind: Objected, Peer: m.From, Term: m.Term, Reason: m.Reason})
	if m.Reason == StaleTerm && m.Known >= c.claim.asked {
		c.raise(now)
		return
	}
	if !c.electorate.merges() {
		c.doubt(now, m)
		return
	}
	switch m.Reason {
	case HeldByAnother:
		if m.Leader != "" && m.Leader != c.self.Name {
			c.note(Note{Kind: OtherLeader, Peer: m.Leader, Term: m.Known})
			c.claim.refusedTill = now.Boot + c.timing.Lease
			c.notifyLeader(m.Leader)
		}
	case LeadsToo:
		c.decide(now, m)
	case AnotherPreferred:
		// Not the late answer of a voter to the election.
		if m.Leader == m.From && m.From < c.self.Name && c.fresh(now, m) && c.claim.sent[m.Seq%sentRing].stand == Leading {
			c.yield(now, m.From)
		}
	}
}

// doubt ends a leadership of quorum mode whose holder's clock must have stood
// still: a voter whose promise it still counts on has promised another. With
// clocks that run this cannot happen; else only time ends a lease.
func (c *Core) doubt(now Now, m *Message) {
	b := c.claim.ballots[m.Voter]
	sent := c.claim.sent[m.Seq%sentRing]
	if m.Reason == HeldByAnother && b.granted && b.confirmed+c.timing.Lease > now.Boot &&
		sent.seq == m.Seq && sent.at > b.confirmed {
		c.lose(now, Asleep)
	}
}

// confront begins to settle which of two leaders that have met stays. Elapsed
// times grow while messages travel, so both must not compare: each could find
// itself the longer. The one with the lower name decides, and the other obeys.
// Neither acts on a claim that may be old: the decider asks first, and both
// believe only what echoes a round of their own of the last lease.
func (c *Core) confront(now Now, m *Message) {
	c.note(Note{Kind: OtherLeader, Peer: m.From, Term: m.Term})
	c.meetsLeader(now, m)
	if c.self.Name < m.From {
		c.claim.other = *m
		if now.Boot >= c.claim.confrontAt {
			c.claim.confrontAt = now.Boot + c.timing.Confirm
			c.notifyLeader(m.From)
		}
		return
	}
	c.send(Message{
		Kind: Object, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease,
		Reason: LeadsToo, Leader: c.self.Name, Held: c.lasted(), Met: c.met, Known: c.claim.term,
	})
	c.notifyLeader(m.From)
}

// meetsLeader notes a sign that another leads too.
func (c *Core) meetsLeader(now Now, m *Message) {
	c.claim.metTill = now.Boot + c.timing.Lease
	c.claim.outdone = c.outdoneBy(m)
	c.hearsOther(now)
}

// outdone reports whether another leads that is preferred to this node, or that it knows of
// by members that follow that one only: which of the two stays is open then.
func (c *Core) outdone(now Now) bool {
	if now.Boot < c.claim.metTill {
		return c.claim.outdone
	}
	return now.Boot < c.claim.refusedTill
}

// outdoneBy reports whether the leadership that a message tells of is preferred to this
// node's.
func (c *Core) outdoneBy(m *Message) bool {
	mine := Leadership{Leader: c.self, Held: c.lasted(), Met: c.met}
	other := Leadership{Leader: Member{Name: m.From}, Held: cmp.Or(m.Lasted, m.Held), Met: m.Met}
	if known := c.view.member(m.From); known != nil {
		other.Leader = *known
	}
	return c.cfg.Rule.Prefer(&mine, &other) > 0
}

// hearsOther notes a sign of a leadership that this node does not follow.
func (c *Core) hearsOther(now Now) { c.otherTill = now.Boot + silentLeases*c.timing.Lease }

// lasted is how long this leadership has lasted, as it counts when another is met. If
// another member has confirmed it, it goes on from one that ended by its own word or was
// deaf: else a member that had been alone, cut off, could take the lead from the
// successor, and a deaf one take it back and lose it again. If most members have confirmed
// it, it goes on from one that fell silent, too. That one's clock may be the faster, and it may
// lead on alone for long.
func (c *Core) lasted() time.Duration {
	if c.claim.ahead > 0 {
		return Drifted(c.held) + c.claim.ahead
	}
	return c.held + c.claim.ahead
}

// inherit notes from when on a leadership counts that has ended by its own word.
func (c *Core) inherit(since time.Duration) {
	c.inherits, c.mayInherit, c.needsMost = since, true, false
}

// inheritSilent notes that the leader has fallen silent, or has died. If most members elect
// this node, and none that hears that leader objects, they are to keep the next one when it
// is heard again: its host may have been cut off alone, or its link may lose most packets.
// One that has died is not heard again, but it may have gone on from one that will be.
func (c *Core) inheritSilent() {
	c.inherit(c.led.since - c.timing.Lease) // so that it counts for longer than the silent one's
	c.needsMost = true
}

// fresh reports whether an answer echoes a round of the last lease.
func (c *Core) fresh(now Now, m *Message) bool {
	sent := c.claim.sent[m.Seq%sentRing]
	return sent.seq == m.Seq && now.Boot-sent.at <= c.timing.Lease
}

// decide compares this leadership with another that has just shown that it
// lives. The other must have sent a claim of its own, for the verdict to echo.
func (c *Core) decide(now Now, m *Message) {
	o := &c.claim.other
	if c.self.Name > m.From || o.From != m.From || o.Term != m.Known || !c.fresh(now, m) {
		return
	}
	// A verdict stands for as long as the other may obey it: of two that have led for nearly as long a second look
	// could say the opposite, when the other has obeyed the first.
	cl := &c.claim
	stands := cl.verdict == Holder{o.From, o.Incarnation} && cl.verdictOn == o.Term && now.Boot < cl.verdictTill
	if !stands && c.outdoneBy(m) {
		c.yield(now, m.From)
		return
	}
	if !stands {
		cl.verdict, cl.verdictOn, cl.verdictTill = Holder{o.From, o.Incarnation}, o.Term, now.Boot+2*c.timing.Lease
	}
	c.send(Message{
		Kind: Object, To: o.From, Incarnation: o.Incarnation, Term: o.Term, Seq: o.Seq, Lease: o.Lease,
		Reason: AnotherPreferred, Leader: c.self.Name, Known: c.claim.term,
	})
	if c.claim.overcame < o.Term {
		c.claim.overcame = o.Term
		c.raise(now)
	}
}

// raise goes on leading under a higher term, so that voters whose floor has
// risen above this one, and the members of a group that has yielded, can
// follow. Promises of either term are to this holder and carry the lease; the
// new term is used once it has the votes that winning it would need.
func (c *Core) raise(now Now) {
	term := c.newTerm(now)
	if term == 0 || c.claim.asked != c.claim.term && c.claim.asked > max(c.highest, c.voter.released) {
		return
	}
	before := c.claim.asked
	c.askFor(term)
	if !c.ask(now, Leading) {
		c.askFor(before) // this node itself may not promise anything new now
		return
	}
	c.claim.renewAt = c.nextRenewal(now)
	c.extend(now)
	c.settleRaise(now)
}

// settleRaise begins to use the higher term once it may.
func (c *Core) settleRaise(now Now) {
	cl := &c.claim
	if cl.asked == cl.term || !c.electorate.raised() {
		return
	}
	cl.term, cl.beaconAt = cl.asked, now.Boot
	c.settleTerm(now, Merged)
}

// yield ends this leadership for another that stays.
func (c *Core) yield(now Now, winner string) {
	term := c.claim.term
	c.countVain(now)
	c.end(now, Merged)
	c.met = true
	if c.self.Join.Number != 0 {
		c.renumber(Join{Group: term, Number: c.self.Join.Number})
	}
	c.voter.forget()
	c.announceEnd(term, Merged, winner)
	c.await(now, c.timing.Lease)
}
