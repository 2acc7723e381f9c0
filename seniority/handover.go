package seniority

import (
	"cmp"
	"time"
)

// stepAside is how long a leader that was asked to step down, or failed,
// leaves the lead to others.
const stepAside = time.Minute

// end makes the term spent. Later confirms do not count.
func (c *Core) end(now Now, r Reason) {
	cl := &c.claim
	cl.live = false
	c.voter.released = max(c.voter.released, cl.asked)
	c.releasing, c.releaseBy = cl.term, c.electorate.releaseBy()
	c.reason = r
	c.note(Note{Kind: Lost, Peer: c.self.Name, Term: cl.term, Reason: r})
}

// announceEnd tells all members that a term is over.
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

// lose ends the leadership at once, without a successor. A leader that loses the
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
		// Another member may try first, whichever is preferred, and the caller can
		// say meanwhile what this node lacks.
		c.retryAt = now.Boot + c.timing.Lease
	}
}

// suitability is how good a successor a member would be.
type suitability uint8

const (
	// unsuited: it does not answer, or reaches no majority.
	unsuited suitability = iota
	// doubtful: it has not said yet how far it reaches.
	doubtful
	// failed: it has led lately, or was to lead, and failed.
	failed
	suited
)

// suits says how good a successor a member would be: it must have answered this
// leader within the last lease, and be able to win (reach.go).
func (c *Core) suits(now Now, m *Member) suitability {
	known, can := c.electorate.reaches(now, m)
	switch {
	case m.Name == c.self.Name || !c.contends(m) || known && !can, !c.answersNow(now, m.Name), now.Boot < c.penalties[m.Name].ill,
		c.penalties[m.Name].wait > 0 && now.Boot < c.otherTill: // what kept it from the lead may be that leader's followers
		return unsuited
	case !known && !c.reach.inVain(now, c.timing.Lease):
		return doubtful
	case now.Boot < c.penalties[m.Name].until:
		return failed
	}
	return suited
}

// answersNow reports whether a member has confirmed a claim of the last lease.
func (c *Core) answersNow(now Now, name string) bool {
	return now.Boot-c.electorate.confirmedBy(name) <= c.timing.Lease
}

// successor returns who is to lead after a hand-over, or "": the first of those that
// suit best in the line of succession, if they suit well enough.
func (c *Core) successor(now Now, least suitability) string {
	for s := suited; s >= least; s-- {
		for i := range c.view.members {
			if m := &c.view.members[i]; c.suits(now, m) == s {
				return m.Name
			}
		}
	}
	return ""
}

// stepDown starts a planned hand-over on request, to the member named if one is.
func (c *Core) stepDown(now Now, r Reason, aside time.Duration, to string) Reason {
	if r == Departed {
		c.unfit = Departed
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
	if to != "" {
		if refused := c.mayHandTo(now, r, to); refused != None {
			return refused
		}
	}
	next := cmp.Or(to, c.successor(now, doubtful))
	if next == "" && r != Departed {
		c.note(Note{Kind: Stayed, Term: c.claim.term, Reason: r})
		return Alone
	}
	if aside == 0 && (r == Requested || r == HookFailed || r == CommandFailed) {
		aside = stepAside
	}
	if aside > 0 {
		c.asideUntil = max(c.asideUntil, now.Boot+aside)
	}
	c.handOver(now, r, next)
	return None
}

// mayHandTo is why the lead may not be handed to a member now, or None. One that
// could lead and has not answered lately is asked from now on: in available mode
// a leader renews with the first few only.
func (c *Core) mayHandTo(now Now, r Reason, name string) Reason {
	m := c.view.member(name)
	switch {
	case m == nil || name == c.self.Name || !c.contends(m):
		return NotEligible
	case r == Preempted && now.Boot < c.penalties[name].until: // its placement may know less than this
		return NotEligible
	case c.suits(now, m) == unsuited:
		c.claim.courted = name
		c.sendClaim(c.claimMessage(Leading), name)
		return NotAnswering
	}
	return None
}

// handOver starts a planned hand-over to a member.
func (c *Core) handOver(now Now, r Reason, successor string) {
	c.end(now, r)
	c.phase = Yielding
	c.claim.live = true // for the lease alone; Yielding never turns back
	c.claim.successor, c.claim.ending = successor, r
	c.refreshSelf()
	c.ask(now, Leaving)
	c.claim.renewAt = c.nextRenewal(now)
}

// holdDuringRelease renews the promises while the release of a planned hand-over runs.
func (c *Core) holdDuringRelease(now Now) {
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
		cl.renewAt = c.nextRenewal(now)
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
		if s := cl.successor; s != "" && !c.stillSuits(now, s) {
			cl.successor = c.successor(now, doubtful)
			c.mustLead = cl.successor == "" && cl.ending == Unhealthy
		}
		cl.live = false
		if mine {
			c.voter.forget()
		}
		c.announceEnd(term, cl.ending, cl.successor)
		c.handTo(now, cl.successor)
		c.await(now, 2*c.timing.Confirm)
	case c.unannounced != None:
		if mine {
			c.voter.forget()
		}
		c.announceEnd(term, c.unannounced, "")
	}
	c.unannounced = None
}

// stillSuits reports whether the successor chosen when the release began may be named at
// its end: it may have hung up, or have fallen ill.
func (c *Core) stillSuits(now Now, name string) bool {
	if !c.answersNow(now, name) {
		c.suspectSuccessor(now, name)
		return false
	}
	m := c.view.member(name)
	return m != nil && c.suits(now, m) != unsuited
}

// elect holds an election on request: it changes nothing under a healthy
// leader that the rule prefers.
func (c *Core) elect(now Now) Reason {
	name, _ := c.leader(now)
	switch {
	case c.phase == Holding:
		if next := c.successor(now, doubtful); next != "" && !c.view.before(c.self.Name, next) {
			c.handOver(now, Preempted, next)
			return None
		}
		return HeldByAnother
	case c.phase == Yielding || name != "":
		return HeldByAnother
	case !c.mayClaim() || c.givesWay():
		return NotEligible
	case c.newTerm(now) == 0:
		return c.termTrouble(now)
	}
	c.waitFrom, c.retryAt, c.graceTill, c.vain.till = now.Boot, 0, 0, 0
	return None
}

// considerPreemption hands over to a preferred member that has been there,
// answering, for long enough. It is the leader that does it, so that there are
// never two.
func (c *Core) considerPreemption(now Now) {
	cl := &c.claim
	cl.preemptAt = 0
	next := c.successor(now, suited)
	// Not while another leads that gossip connects to this group: the preferred
	// member may be unable to win where that one's followers hear it.
	if !c.cfg.Preempt || c.phase != Holding || next == "" || c.view.before(c.self.Name, next) || now.Boot < c.otherTill {
		cl.rival = ""
		return
	}
	if cl.rival != next {
		cl.rival, cl.rivalSince = next, now.Boot
	}
	due := cl.rivalSince + c.cfg.PreemptDelay
	if now.Boot >= due {
		c.handOver(now, Preempted, next)
		return
	}
	cl.preemptAt = due
}
