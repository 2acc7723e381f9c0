package seniority

import (
	"math/bits"
	"time"
)

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

// hearing is how many rounds of renewals back, three leases, a leader looks for answers,
// and seldom in how many of them a member answers at most whose answers are mostly lost. A
// network that loses 30 % of all packets gets nearly nine of ten rounds confirmed, three
// tries each; one that loses 80 %, one of nine.
const (
	hearing = 9
	seldom  = 3
)

// deaf reports whether no member has answered this node's claims for too long.
func (c *Core) deaf() bool {
	return c.silence >= c.timing.deafAfter() && c.electorate.merges()
}

// hearsPatchily notes who of those asked has answered the last round, and reports whether
// this node's link loses most packets: two members at least have answered again after
// rounds without an answer, and none answers well. One that has died does not answer again,
// and one that refuses, since it has not heard yet that its leader hands over, has heard.
func (c *Core) hearsPatchily(asked []string) bool {
	patchy, well := 0, false
	for _, name := range asked {
		m := c.view.member(name)
		if m == nil || c.isSuspect(m) {
			continue
		}
		b, last := c.claim.ballots[name], uint16(0)
		if b.answered >= c.claim.round {
			last = 1
		}
		b.asked = min(b.asked+1, hearing)
		b.rounds = (b.rounds<<1 | last) & (1<<hearing - 1)
		c.claim.ballots[name] = b
		again := b.rounds & ^(b.rounds >> 1) & (1<<(b.asked-1) - 1)
		well = well || last != 0 || hearing*bits.OnesCount16(b.rounds) > seldom*b.asked
		if again != 0 {
			patchy++
		}
	}
	return patchy > 1 && !well
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

// answered notes an answer, be it a refusal, to a round of the last lease.
func (c *Core) answered(now Now, m *Message) {
	if !c.fresh(now, m) {
		return
	}
	c.claim.silent, c.silence = 0, 0
	if b, ok := c.claim.ballots[m.From]; ok {
		b.answered = max(b.answered, c.claim.sent[m.Seq%sentRing].at)
		c.claim.ballots[m.From] = b
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
		c.inherit(c.led.since - c.timing.Lease) // so that it counts for longer than the deaf one's
		c.lapse(now, LeaderDeaf)
		c.deposed = m.From
	}
	c.refuseLeader(now, m)
}

// refuseLeader refuses the claim of a leader that this node does not follow, and takes
// back the promise that it may have got when it asked.
func (c *Core) refuseLeader(now Now, m *Message) {
	if c.voter.promisedTo(m.From, m.Incarnation, m.Term) {
		c.voter.forget()
	}
	r := LeaderDeaf
	if name, _ := c.leader(now); name != "" {
		r = HeldByAnother
	}
	c.object(now, m, r)
}

// A member that hears nothing, or little, takes a leader that is well for dead, and wins
// without an answer, for silence does not block a claim of available mode for ever. Most
// members hear of a leader by gossip only, and would take the higher term for that of the
// next leader. So it says in its claims that it has won without a majority, and a member
// that has a leader keeps it until that one is silent or yields. The two leaders settle
// between themselves who stays.

// keepsLeader reports whether this node stays with its leader although another says, in
// m, that it leads: also if that one led already when the leader was elected. It is no
// successor then, and is not to take the lead back by a higher term.
func (c *Core) keepsLeader(now Now, m *Message) bool {
	name, term := c.leader(now)
	if !c.electorate.merges() || name == "" || name == m.From {
		return false
	}
	return m.Minority || m.Term < term || now.Boot-m.Held < c.led.began
}
