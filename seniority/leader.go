package seniority

import "time"

// stepAside is how long a leader that was asked to step down, or failed,
// leaves the lead to others.
const stepAside = time.Minute

// resendLimit is how often a round that carries the lease is sent again to
// voters that have not answered it, a confirm time-out apart.
const resendLimit = 2

// urgency is into how many parts a confirm time-out is divided to repeat a
// round that does not carry the lease yet, once it is over. With three voters,
// 30 % loss and the profile fast, some 20 tries fit into what is left of the
// lease, and all fail once in a million million renewals.
const urgency = 8

// win turns the claim into a leadership.
func (c *Core) win(now Now) {
	cl := &c.claim
	cl.since, c.held = now.Boot, 0
	c.phase, c.electAt = Holding, 0
	c.reason = Elected
	if c.led.successor == c.self.Name {
		c.reason = Succeeded
	}
	c.led, c.former = followed{}, followed{}
	c.everLed, c.failures, c.answers = true, 0, 0
	c.met = c.met || len(cl.ballots) > 1
	clear(c.courtesy)
	c.settleTerm(now, c.reason)
}

// settleTerm makes the claim's term the one in force: from now on this node's
// own vote refuses it and all below to anybody else.
func (c *Core) settleTerm(now Now, r Reason) {
	c.claim.secret = c.secret(c.claim.term)
	c.voter.raiseFloor(c.claim.term, c.self.Name, c.self.Incarnation)
	c.learn(now, c.claim.term, true)
	c.note(Note{Kind: Won, Peer: c.self.Name, Term: c.claim.term, Reason: r})
	if c.met {
		c.assign(now)
	}
	c.extend(now)
	c.renew(now)
	m, sent := c.claimMessage(Leading), c.out.Messages
	for _, name := range c.electorate.ask(Asking) {
		if !claimed(sent, name) {
			c.sendClaim(m, name)
		}
	}
}

// claimed reports whether a leading claim to a member is among the messages.
func claimed(messages []Message, name string) bool {
	for i := range messages {
		if m := &messages[i]; m.To == name && m.Kind == Claim && m.Stand == Leading {
			return true
		}
	}
	return false
}

// hold does what a leadership needs: renewals, and their repetition to voters
// that did not answer; the beacon for those who get none; handing over to a
// preferred member, or because this node is sick.
func (c *Core) hold(now Now) {
	cl := &c.claim
	switch {
	case now.Boot >= cl.renewAt:
		c.renew(now)
	case c.resendAt() != 0 && now.Boot >= c.resendAt():
		c.resend(now)
	}
	if now.Boot >= cl.beaconAt {
		cl.beaconAt = now.Boot + c.timing.Lease
		if c.met {
			c.assign(now)
		}
		if c.electorate.unreached(now) {
			c.sendClaim(c.claimMessage(Leading), "")
		}
	}
	// Not while another leader may be yielding to this one: both would be gone.
	if r := c.unwilling(); r != None && c.heir() != "" && now.Boot >= cl.metTill {
		c.stepDown(now, r, 0)
		return
	}
	c.considerPreemption(now)
}

// unwilling is why this node should not be the one that leads, or None.
func (c *Core) unwilling() Reason {
	switch {
	case !c.healthy:
		return Unhealthy
	case c.asideUntil != 0:
		return StoodAside
	}
	return None
}

// renew sends a round of renewals.
func (c *Core) renew(now Now) {
	if !c.ask(now, Leading) {
		panic("seniority: a leader's own vote is not its own")
	}
	c.claim.renewAt = now.Boot + c.timing.Renewal
	c.extend(now)
}

// resendAt is when the round is to be repeated; 0: not again.
func (c *Core) resendAt() time.Duration {
	cl := &c.claim
	switch again := time.Duration(cl.resends); {
	case cl.leaseEnd < cl.round+c.timing.Lease:
		return cl.round + c.timing.Confirm + again*c.timing.Confirm/urgency
	case cl.resends < resendLimit:
		return cl.round + (again+1)*c.timing.Confirm
	}
	return 0
}

// resend repeats the round to those that have not confirmed it.
func (c *Core) resend(now Now) {
	cl := &c.claim
	cl.resends++
	m := c.claimMessage(Leading)
	for _, name := range c.electorate.ask(Leading) {
		if c.electorate.confirmedBy(name) < cl.round {
			c.sendClaim(m, name)
		}
	}
}

// confirmed takes in a vote for a running leadership.
func (c *Core) confirmed(now Now, m *Message, first bool) {
	if first && !c.met {
		c.met = true
		c.assign(now)
		c.enlighten(m.From) // with its number
	}
	c.extend(now)
	c.settleRaise(now)
}

// extend moves the end of the lease to what the votes allow. It never moves
// back: promises once made run their time.
func (c *Core) extend(now Now) {
	deadline, end := c.electorate.lease(now)
	c.claim.deadline = max(c.claim.deadline, deadline)
	c.claim.leaseEnd = max(c.claim.leaseEnd, end)
}

// enlighten tells one member directly who leads.
func (c *Core) enlighten(name string) {
	if name != "" && name != c.self.Name && !claimed(c.out.Messages, name) {
		c.sendClaim(c.claimMessage(Leading), name)
	}
}

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
			c.enlighten(m.Leader)
		}
	case LeadsToo:
		c.decide(now, m)
	case AnotherPreferred:
		if m.Leader == m.From && m.From < c.self.Name && c.fresh(now, m) {
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
	c.claim.metTill = now.Boot + c.timing.Lease
	if c.self.Name < m.From {
		c.claim.other = *m
		if now.Boot >= c.claim.confrontAt {
			c.claim.confrontAt = now.Boot + c.timing.Confirm
			c.enlighten(m.From)
		}
		return
	}
	c.send(Message{
		Kind: Object, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease,
		Reason: LeadsToo, Leader: c.self.Name, Held: c.held, Met: c.met, Known: c.claim.term,
	})
	c.enlighten(m.From)
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
	mine := Leadership{Leader: c.self, Held: c.held, Met: c.met}
	other := Leadership{Leader: Member{Name: m.From}, Held: m.Held, Met: m.Met}
	if known := c.view.member(m.From); known != nil {
		other.Leader = *known
	}
	if c.cfg.Rule.Prefer(&mine, &other) > 0 {
		c.yield(now, m.From)
		return
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
	c.claim.renewAt = now.Boot + c.timing.Renewal
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
	c.end(now, Merged)
	c.met = true
	if c.self.Join.Number != 0 {
		c.renumber(Join{Group: term, Number: c.self.Join.Number})
	}
	c.voter.forget()
	c.announceEnd(term, Merged, winner)
	c.await(now, c.timing.Lease)
}

// end makes the term spent. Whatever is confirmed from now on does not count.
func (c *Core) end(now Now, r Reason) {
	cl := &c.claim
	cl.live = false
	c.voter.raiseFloor(cl.term, c.self.Name, c.self.Incarnation)
	c.voter.released = max(c.voter.released, cl.asked)
	c.releasing, c.releaseBy = cl.term, c.electorate.releaseBy()
	c.reason = r
	c.note(Note{Kind: Lost, Peer: c.self.Name, Term: cl.term, Reason: r})
}

// announceEnd tells everybody that a term is over.
func (c *Core) announceEnd(term uint64, r Reason, successor string) {
	m := Message{Kind: Release, Incarnation: c.self.Incarnation, Term: term, Reason: r, Leader: successor}
	if c.claim.term == term && c.claim.asked != term {
		m.Term = c.claim.asked // some have promised this one already
		c.sendAll(m)
		m.Term = term
	}
	c.sendAll(m)
	m.To = ""
	c.send(m)
}

// sendAll sends a message to the whole electorate, to the successor last, so
// that those it will ask have heard.
func (c *Core) sendAll(m Message) {
	for _, name := range c.electorate.ask(Asking) {
		if name != m.Leader {
			m.To = name
			c.send(m)
		}
	}
	if m.Leader != "" {
		m.To = m.Leader
		c.send(m)
	}
}

// lose ends the leadership at once, without a successor. Whoever loses the
// lead this way comes back as the youngest. The voters are told once the
// release has ended.
func (c *Core) lose(now Now, r Reason) {
	c.end(now, r)
	c.renumber(Join{})
	c.unannounced = r
	c.await(now, c.timing.Lease)
}

// fired ends the leadership of a term because the keeper says so.
func (c *Core) fired(now Now, term uint64, r Reason) {
	if term != c.claim.term {
		return
	}
	switch c.phase {
	case Holding, Yielding:
		c.lose(now, r)
	}
}

// heir returns who is to lead after a hand-over, or "".
func (c *Core) heir() string {
	for i := range c.view.members {
		if m := &c.view.members[i]; m.Name != c.self.Name && c.contends(m) {
			return m.Name
		}
	}
	return ""
}

// stepDown starts a planned hand-over.
func (c *Core) stepDown(now Now, r Reason, aside time.Duration) Reason {
	if r == Departed {
		c.healthy = false
		c.refreshSelf()
		if c.phase == Claiming {
			c.abandon(now, Departed)
		}
		if c.phase != Holding {
			return None
		}
	}
	if c.phase != Holding {
		return NotMine
	}
	heir := c.heir()
	if heir == "" && r != Departed {
		c.note(Note{Kind: Stayed, Term: c.claim.term, Reason: r})
		return Alone
	}
	c.end(now, r)
	c.phase = Yielding
	c.claim.live = true // for the lease alone; Yielding never turns back
	c.claim.successor, c.claim.ending = heir, r
	if aside == 0 && (r == Requested || r == HookFailed) {
		aside = stepAside
	}
	if aside > 0 {
		c.asideUntil = max(c.asideUntil, now.Boot+aside)
	}
	c.refreshSelf()
	c.ask(now, Leaving)
	c.claim.renewAt = now.Boot + c.timing.Renewal
	return None
}

// keepOut renews the promises while the release of a planned hand-over runs.
func (c *Core) keepOut(now Now) {
	cl := &c.claim
	if end := c.electorate.releaseBy(); end != 0 {
		c.releaseBy = end
		if now.Boot >= end {
			c.lose(now, LeaseLost)
			return
		}
	}
	if now.Boot >= cl.renewAt {
		c.ask(now, Leaving)
		cl.renewAt = now.Boot + c.timing.Renewal
		c.extend(now)
	}
}

// released goes on when the release of a term has ended: only now may another
// be let in.
func (c *Core) released(now Now, term uint64) {
	if term != c.releasing || term == 0 {
		return
	}
	c.releasing, c.releaseBy = 0, 0
	mine := c.voter.holder == c.self.Name && c.voter.term <= c.claim.asked && !(c.claim.live && c.phase != Yielding)
	switch {
	case c.phase == Yielding:
		cl := &c.claim
		cl.live = false
		if mine {
			c.voter.forget()
		}
		c.announceEnd(term, cl.ending, cl.successor)
		c.led.successor = cl.successor
		c.await(now, 2*c.timing.Confirm)
	case c.unannounced != None:
		if mine {
			c.voter.forget()
		}
		c.announceEnd(term, c.unannounced, "")
	}
	c.unannounced = None
}

// setHealth takes in whether this node may be elected.
func (c *Core) setHealth(now Now, healthy bool) {
	if healthy == c.healthy {
		return
	}
	c.healthy = healthy
	c.refreshSelf()
	if !healthy {
		c.makeRoom(now, Unhealthy)
	}
}

// standAside takes in for how long this node leaves the lead to others.
func (c *Core) standAside(now Now, aside time.Duration) {
	c.asideUntil = 0
	if aside > 0 {
		c.asideUntil = now.Boot + aside
	}
	c.refreshSelf()
	if aside > 0 {
		c.makeRoom(now, StoodAside)
	}
}

// makeRoom gives up a claim that this node may no longer make, and says so if
// it goes on leading although it should not.
func (c *Core) makeRoom(now Now, r Reason) {
	switch {
	case c.phase == Claiming && !c.mayClaim():
		c.abandon(now, r)
	case c.phase == Holding && c.heir() == "":
		c.note(Note{Kind: Stayed, Term: c.claim.term, Reason: r})
	}
}

// elect holds an election on request: it changes nothing under a healthy
// leader that the rule prefers.
func (c *Core) elect(now Now) Reason {
	name, _ := c.leader(now)
	switch {
	case c.phase == Holding:
		if heir := c.heir(); heir != "" && !c.view.before(c.self.Name, heir) {
			return c.stepDown(now, Preempted, 0)
		}
		return HeldByAnother
	case c.phase == Yielding || name != "":
		return HeldByAnother
	case !c.mayClaim():
		return NotEligible
	}
	c.waitFrom, c.graceTill = now.Boot, 0
	return None
}

// considerPreemption hands over to a preferred member that has been there,
// answering, for long enough. It is the leader that does it, so that there are
// never two.
func (c *Core) considerPreemption(now Now) {
	cl := &c.claim
	cl.preemptAt = 0
	heir := c.heir()
	if !c.cfg.Preempt || c.phase != Holding || heir == "" || c.view.before(c.self.Name, heir) ||
		now.Boot-c.electorate.confirmedBy(heir) > c.timing.Lease {
		cl.rival = ""
		return
	}
	if cl.rival != heir {
		cl.rival, cl.rivalSince = heir, now.Boot
	}
	due := max(cl.rivalSince+c.cfg.PreemptDelay, c.penalties[heir].until)
	if now.Boot >= due {
		c.stepDown(now, Preempted, 0)
		return
	}
	cl.preemptAt = due
}
