package seniority

import (
	"cmp"
	"fmt"
	"time"
)

// Step takes one input at the time now and returns what to do about it. Time
// must not run backwards.
func (c *Core) Step(now Now, in Input) *Output {
	c.begin()
	c.log = in.Log
	c.detectPause(now)
	// Before the input: a claim may arrive at the instant the leader lapses,
	// and must not be told that the dead leader is preferred.
	c.watchLeader(now)
	switch in.Kind {
	case Tick:
	case Receive:
		c.received = in.Message
		c.receive(now, &c.received)
	case View:
		if in.Rule != nil {
			c.cfg.Rule = in.Rule
		}
		c.apart(now, in.Apart)
		c.meet(now, in.Members, in.Settled)
	case Gone:
		c.gone(now, in.Name, in.Incarnation)
	case StepDown:
		c.out.Refused = c.stepDown(now, in.Reason, in.Aside, in.Name)
	case Released:
		c.released(now, in.Term)
	case Fired:
		c.fired(now, in.Term, in.Reason)
	case Health:
		reason := None
		if !in.Eligible {
			reason = cmp.Or(in.Reason, Unhealthy)
		}
		c.setHealth(now, reason)
	case Elect:
		c.out.Refused = c.elect(now)
	case StandAside:
		c.standAside(now, in.Aside)
	case Choose:
		c.choose(in.Choice)
	default:
		panic(fmt.Sprintf("seniority: input of unknown kind %d", in.Kind))
	}
	c.advance(now)
	c.probe(now)
	c.finish(now)
	return &c.out
}

// begin empties the output of the step before.
func (c *Core) begin() {
	c.out.Messages = c.out.Messages[:0]
	c.out.Notes = c.out.Notes[:0]
	c.out.Refused = None
	c.out.Persist, c.out.PersistOf = 0, Holder{}
}

// detectPause notices a pause. Invariant: nothing is done on the strength of what
// was known before a pause longer than the lease; a holder whose deadline has
// passed stops before it looks at anything else.
func (c *Core) detectPause(now Now) {
	c.held, c.silence = now.Boot-c.claim.since, 0
	if c.claim.silent != 0 {
		c.silence = now.Boot - c.claim.silent
	}
	late := c.wake != 0 && now.Boot > c.wake+c.timing.Lease
	if c.phase == Holding && now.Boot >= c.claim.deadline {
		reason := LeaseLost
		if late {
			reason = Asleep
		}
		c.lose(now, reason)
	}
	if !late {
		return
	}
	c.note(Note{Kind: Awoke, Paused: now.Boot - c.wake})
	c.graceTill = now.Boot + c.timing.Lease
	if c.phase == Claiming {
		c.abandon(now, Asleep)
	}
	c.forgetLeader(now, Asleep)
}

// advance does what is due at the time now. Each part looks at the state, not
// at what changed, so calling it too often does nothing.
func (c *Core) advance(now Now) {
	c.watchLeader(now)
	switch c.phase {
	case Following, Waiting:
		c.takeTurn(now)
	case Claiming:
		c.advanceClaim(now)
	case Holding:
		c.hold(now)
	case Yielding:
		c.holdDuringRelease(now)
	}
	if c.phase == Waiting {
		c.electAt, _ = c.turn(now) // a claim or a lease may have ended just now
	}
}

// receive sorts a message out.
func (c *Core) receive(now Now, m *Message) {
	if r := c.malformed(m); r != None {
		c.ignore(m, r)
		return
	}
	if m.Kind != Release { // a will is from anybody until its secret is checked
		c.electorate.heard(now, m)
		if !m.Gossiped && !m.Deaf {
			c.clearSuspect(m)
			if m.From == c.led.successor {
				c.handedTill = 0
			}
		}
	}
	switch m.Kind {
	case Claim:
		c.onClaim(now, m)
	case Confirm:
		c.onConfirm(now, m)
	case Object:
		c.onObject(now, m)
	case Release:
		c.onRelease(now, m)
	case Probe:
		c.onProbe(now, m)
	case Echo:
		c.onEcho(now, m)
	}
}

// malformed names what is wrong with a message that no sender following the
// protocol sends.
func (c *Core) malformed(m *Message) Reason {
	switch {
	case m.From == "" || m.Term == 0 || m.Term > maxTerm || m.Incarnation == 0:
		return Malformed
	case m.From == c.self.Name:
		return NotMine
	case m.Kind == Claim && (m.Lease <= 0 || m.Lease > 10*time.Minute):
		return Malformed
	case m.Kind < Claim || m.Kind > Echo || m.Kind > Release && m.Gossiped:
		return Malformed
	case m.To != "" && m.To != c.self.Name:
		return NotMine
	}
	return None
}

// learn takes note of a term that somebody knows. A term far ahead of
// everything is believed only of a leadership that has been won.
func (c *Core) learn(now Now, term uint64, won bool) {
	if term > c.highest && (won || !c.electorate.farAhead(now, term)) {
		c.highest = term
	}
}

func (c *Core) send(m Message) {
	m.From = c.self.Name
	m.Voter, m.Voters = c.self.Voter, c.cfg.Voters
	c.out.Messages = append(c.out.Messages, m)
}

func (c *Core) note(n Note) { c.out.Notes = append(c.out.Notes, n) }

func (c *Core) ignore(m *Message, r Reason) {
	c.note(Note{Kind: Ignored, Peer: m.From, Term: m.Term, Reason: r})
}
