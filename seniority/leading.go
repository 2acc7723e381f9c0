package seniority

import "time"

// resendLimit is how often a round that carries the lease is sent again to
// voters that have not answered it, a confirm time-out apart.
const resendLimit = 2

// resendsPerConfirm is how often a confirm time-out a round is repeated that does not
// carry the lease yet, once the first time-out is over. With three voters, 30 % loss and
// the profile fast, some 20 tries fit into what is left of the lease, and all fail once
// in a million million renewals.
const resendsPerConfirm = 8

// win turns the claim into a leadership.
func (c *Core) win(now Now) {
	cl := &c.claim
	cl.since, c.held = now.Boot, 0
	c.phase, c.electAt = Holding, 0
	c.reason = Elected
	switch named := c.led.successor; {
	case named == c.self.Name:
		c.reason = Succeeded
	case named != "":
		c.penalise(now, named, cl.term, maxLost*c.timing.Lease/2) // it was handed the lead and has not taken it
	}
	c.led, c.former, c.handedTill, c.vain.till = followed{}, followed{}, 0, 0
	c.everLed, c.mustLead, c.reach.since = true, false, 0
	c.forgetFailures()
	c.met = c.met || len(cl.ballots) > 1
	granted, total := c.electorate.votes()
	cl.minority = 2*granted <= total
	cl.doubtful = c.electorate.merges() && c.lapsed != "" && (granted < total || granted == 1)
	if c.mayInherit && granted > 1 && (!c.needsMost || 2*granted > c.size(now)) {
		cl.ahead = now.Boot - c.inherits
	}
	c.mayInherit = false
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
	r := c.unwilling()
	if r == None && cl.patchy {
		r = LeaderDeaf
	}
	if r != None && now.Boot >= cl.metTill {
		if next := c.successor(now, failed); next != "" {
			if r == LeaderDeaf {
				c.asideUntil = now.Boot + stepAside
			}
			c.handOver(now, r, next)
			return
		}
	}
	c.considerPreemption(now)
}

// renew sends a round of renewals.
func (c *Core) renew(now Now) {
	if c.claim.minority {
		granted, total := c.electorate.votes()
		c.claim.minority = 2*granted <= total
	}
	names := c.electorate.ask(Leading)
	if c.claim.patchy = c.electorate.merges() && c.hearsPatchily(names); c.claim.patchy {
		c.claim.ahead = -c.held
	}
	if !c.askSelf(now, Leading) {
		panic("seniority: a leader's own vote is not its own")
	}
	c.askOthers(now, Leading, names)
	c.claim.renewAt = c.nextRenewal(now)
	c.extend(now)
}

// nextRenewal is when the round after one at now is due.
func (c *Core) nextRenewal(now Now) time.Duration {
	if c.cfg.RenewalGrid {
		return now.Boot - now.Boot%c.timing.Renewal + c.timing.Renewal
	}
	return now.Boot + c.timing.Renewal
}

// resendAt is when the round is to be repeated; 0: not again.
func (c *Core) resendAt() time.Duration {
	cl := &c.claim
	switch again := time.Duration(cl.resends); {
	case cl.leaseEnd < cl.round+c.timing.Lease:
		return cl.round + c.timing.Confirm + again*c.timing.Confirm/resendsPerConfirm
	case cl.resends < resendLimit && cl.awaited > 0:
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
	if m.Seq > c.claim.watched[m.From] {
		delete(c.claim.watched, m.From)
	}
	if first && !c.met {
		c.met = true
		c.assign(now)
		c.notifyLeader(m.From) // with its number
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

// notifyLeader tells one member directly who leads.
func (c *Core) notifyLeader(name string) {
	if name != "" && name != c.self.Name && !claimed(c.out.Messages, name) {
		c.sendClaim(c.claimMessage(Leading), name)
	}
}
