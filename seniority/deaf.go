package seniority

import "time"

// A leader of available mode that hears no answer cannot know why: the others may
// be dead, or cut off, or it alone has become deaf. So silence does not depose
// it. But where its claims still arrive they keep the others from electing one
// that they can talk to. Hence it says in its claims that it hears no answer. A
// member that reads this knows that its own answer was lost.

// deafLeases is within how many leases of the last answer a deaf leader is
// replaced.
const deafLeases = 2

// deafAfter is how long a leader waits for any answer before it calls itself deaf:
// what is left of deafLeases after the renewal in which the last answer came, the
// next try, which says so, and the claim of another. It is long enough that loss
// alone hardly does it, for in that time each member that it watches over is asked
// five times, three tries each.
func (t Timing) deafAfter() time.Duration {
	return deafLeases*t.Lease - t.Renewal - 2*t.Confirm
}

// deaf reports whether no member has answered this node's claims for too long.
func (c *Core) deaf() bool {
	return c.silence >= c.timing.deafAfter() && c.electorate.merges()
}

// expect notes that a round has gone to the members given. The silence begins
// with the first round that somebody should have answered and ends when there
// is no member left that should; of those taken for dead no answer is expected.
func (c *Core) expect(now Now, names []string) {
	awaited := false
	for _, name := range names {
		m := c.view.member(name)
		awaited = awaited || m != nil && !c.isSuspect(m)
	}
	switch {
	case !awaited:
		c.claim.silent = 0
	case c.claim.silent == 0:
		c.claim.silent = now.Boot
	}
}

// answered notes that somebody has answered a round of the last lease.
func (c *Core) answered(now Now, m *Message) {
	if c.fresh(now, m) {
		c.claim.silent, c.silence = 0, 0
	}
}

// dropDeafLeader ends the following of a leader that says it is deaf. The answer is for
// the case that it can hear again, and tells it who leads now.
func (c *Core) dropDeafLeader(now Now, m *Message) {
	if c.led.is(m.From, m.Incarnation, m.Term) {
		if m.Seq < c.led.seq {
			c.ignore(m, Outdated)
			return
		}
		c.lapse(now, LeaderDeaf)
		c.deposed = m.From
	}
	if c.voter.promisedTo(m.From, m.Incarnation, m.Term) {
		c.voter.forget()
	}
	r := LeaderDeaf
	if name, _ := c.leader(now); name != "" {
		r = HeldByAnother
	}
	c.object(now, m, r)
}
