package seniority

import (
	"crypto/sha256"
	"time"
)

// silentLeases is after how many leases without news a member that does not
// get renewals stops vouching for a leader.
const silentLeases = 3

// followed is the leadership that this node believes in.
type followed struct {
	name        string
	incarnation uint64
	term, seq   uint64
	until       time.Duration // it lapses then unless heard of again
	direct      bool          // renewals come straight from the leader
	leaving     bool          // the leader has stopped leading, its release runs
	said        Message       // its last claim, to greet newcomers with
	successor   string        // after it ended: who is to claim first
}

func (f *followed) is(name string, incarnation, term uint64) bool {
	return f.name == name && f.incarnation == incarnation && f.term == term
}

// leader returns who leads, as far as this node can vouch for it, and the term;
// without a leader "" and the highest term known.
func (c *Core) leader(now Now) (string, uint64) {
	switch {
	case c.phase == Holding:
		return c.self.Name, c.claim.term
	case c.phase != Yielding && c.led.name != "" && !c.led.leaving && now.Boot < c.led.until:
		return c.led.name, c.led.term
	}
	return "", c.highest
}

// follow adopts the leadership whose claim has just been granted.
func (c *Core) follow(now Now, m *Message) {
	if m.Watch {
		c.adopt(now, m, c.voter.until, true)
	} else {
		c.adopt(now, m, now.Boot+silentLeases*m.Lease, false)
	}
	if m.Given.Number != 0 {
		c.renumber(m.Given)
	}
}

// listen follows a leader as a member without a vote: nothing is promised.
func (c *Core) listen(now Now, m *Message) {
	if c.led.is(m.From, m.Incarnation, m.Term) && m.Seq <= c.led.seq {
		c.ignore(m, Outdated)
		return
	}
	if m.Term <= c.ended || m.Term < c.shownTerm {
		c.object(now, m, StaleTerm)
		return
	}
	c.adopt(now, m, now.Boot+silentLeases*m.Lease, false)
	if m.Given.Number != 0 {
		c.renumber(m.Given)
	}
}

// adopt takes a leadership for the one in force, until the time given.
func (c *Core) adopt(now Now, m *Message, until time.Duration, direct bool) {
	if c.led.name != "" && c.led.name != m.From {
		c.distrust() // another has been elected, and nobody heard of a release
	}
	if !c.led.is(m.From, m.Incarnation, m.Term) {
		c.reason = Elected
		if c.led.successor == m.From {
			c.reason = Succeeded
		}
	}
	c.led = followed{
		name: m.From, incarnation: m.Incarnation, term: m.Term, seq: m.Seq,
		until: until, direct: direct, said: *m,
	}
	c.led.said.Gossiped, c.led.said.To, c.led.said.Given = true, "", Join{}
	c.former = followed{}
	c.phase, c.electAt, c.waitFrom = Following, 0, 0
	c.everLed, c.met, c.failures, c.answers = true, true, 0, 0
	c.absolve(m)
	c.deposed = ""
	clear(c.courtesy)
}

// overhear takes in a leader's claim that came by gossip: perhaps late,
// certainly not to be confirmed. Only a sequence number not heard before is
// news.
func (c *Core) overhear(now Now, m *Message) {
	if m.Stand != Leading {
		c.ignore(m, Malformed)
		return
	}
	if s, ok := c.suspects[m.From]; ok && s.incarnation == m.Incarnation && m.Seq <= s.seq {
		c.ignore(m, Outdated)
		return
	}
	if r := c.electorate.belongs(m); r != None {
		c.ignore(m, r)
		return
	}
	until := now.Boot + silentLeases*m.Lease
	switch {
	case c.phase == Holding || c.phase == Yielding:
		if c.phase == Holding && c.electorate.merges() {
			c.note(Note{Kind: OtherLeader, Peer: m.From, Term: m.Term})
			c.claim.metTill = now.Boot + c.timing.Lease
			c.enlighten(m.From)
		}
	case m.Deaf:
		c.ignore(m, LeaderDeaf)
	case c.led.is(m.From, m.Incarnation, m.Term):
		if m.Seq <= c.led.seq {
			c.ignore(m, Outdated)
			return
		}
		c.led.seq, c.led.said = m.Seq, *m
		if !c.led.direct {
			c.led.until = until
		}
	case m.Term < c.shownTerm || c.voter.refuses(m.Term) && !c.voter.promisedTo(m.From, m.Incarnation, m.Term):
		c.ignore(m, SpentTerm)
		if c.led.name == "" && c.electorate.merges() {
			c.object(now, m, StaleTerm) // if it still leads, it must raise its term
		}
	case c.phase == Claiming:
		c.ignore(m, Outdated) // the voters will say so if it still leads
	case c.led.name == "" || !c.led.direct && m.Term > c.led.term:
		c.learn(now, m.Term, true)
		c.adopt(now, m, until, false)
	}
}

// watchLeader ends a leadership that has not been heard of in time, and a time
// of standing aside that is over.
func (c *Core) watchLeader(now Now) {
	if c.led.name != "" && now.Boot >= c.led.until {
		c.lapse(now, LeaderSilent)
	}
	if c.asideUntil != 0 && now.Boot >= c.asideUntil {
		c.asideUntil = 0
		c.refreshSelf()
	}
}

// lapse takes the leader for dead and starts the search for the next.
func (c *Core) lapse(now Now, r Reason) {
	c.distrust()
	c.lapsed = c.led.name
	c.forgetLeader(now, r)
}

// distrust takes the run of the leader for dead until it is heard of again.
func (c *Core) distrust() {
	s := suspect{incarnation: c.led.incarnation, seq: c.led.seq}
	if m := c.view.member(c.led.name); m != nil {
		s.join = m.Join
	}
	c.suspects[c.led.name] = s
}

// forgetLeader leaves this node without a leader.
func (c *Core) forgetLeader(now Now, r Reason) {
	if c.led.name == "" {
		return
	}
	c.former, c.led = c.led, followed{}
	c.reason = r
	if c.phase == Following {
		c.await(now, 0)
	}
}

// onRelease ends a claim or a leadership, on its holder's word or its will.
func (c *Core) onRelease(now Now, m *Message) {
	led := &c.led
	if led.name == "" {
		led = &c.former // its end may have been noticed before its last word
	}
	leads := led.is(m.From, m.Incarnation, m.Term)
	promised := c.voter.promisedTo(m.From, m.Incarnation, m.Term)
	will := m.Will != [32]byte{}
	if will {
		hash := sha256.Sum256(m.Will[:])
		if !(leads && hash == led.said.Will) && !(promised && hash == c.voter.will) {
			c.ignore(m, ForgedWill)
			return
		}
	}
	if c.electorate.farAhead(now, m.Term) {
		c.ignore(m, FutureTerm)
		return
	}
	c.learn(now, m.Term, false)
	c.voter.released = max(c.voter.released, m.Term)
	if c.voter.again(m) {
		c.voter.floorOf = holder{}
	}
	if leads {
		c.ended = m.Term
	}
	if promised {
		c.voter.forget()
	}
	if m.Reason == HookFailed {
		c.penalise(now, m.From, m.Term)
	}
	if leads {
		c.deposed = m.From
	}
	switch {
	case leads && will && c.led.name != "":
		c.lapse(now, LeaderDied)
	case leads && will && c.phase == Waiting:
		c.await(now, 0)
	case leads:
		c.succeed(now, m)
	case promised && c.phase != Holding && c.phase != Claiming:
		c.await(now, c.timing.Confirm)
	case !promised:
		c.ignore(m, NotMine)
	}
	if leads {
		c.former = followed{} // nothing more is expected of it
	}
}

// succeed goes on after a leader that has stepped down: the successor it named
// claims at once, the others a little later.
func (c *Core) succeed(now Now, m *Message) {
	c.forgetLeader(now, m.Reason)
	c.led.successor = m.Leader
	if c.phase != Waiting && c.phase != Following {
		return // this node has claimed already
	}
	head := time.Duration(0)
	switch {
	case m.Reason == Merged:
		// The winner leads already; its claim is on the way. The members of
		// the group that yields keep their own order, as another group.
		if c.self.Join.Number != 0 {
			c.renumber(Join{Group: m.Term, Number: c.self.Join.Number})
		}
		head = c.timing.Lease
	case m.Leader == c.self.Name && c.mayClaim():
		c.phase = Waiting
		c.startClaim(now)
		return
	case m.Leader != "":
		head = 2 * c.timing.Confirm
	}
	if c.phase == Waiting || c.phase == Following {
		c.await(now, head)
	}
}

// penalise makes a member that could not do its work wait before it may
// preempt again: twice as long each time, from one minute to five. It is told
// more than once, directly and by gossip.
func (c *Core) penalise(now Now, name string, term uint64) {
	p := c.penalties[name]
	if term <= p.term {
		return
	}
	p.term = term
	p.wait = min(max(2*p.wait, time.Minute), 5*time.Minute)
	p.until = now.Boot + p.wait
	c.penalties[name] = p
}
