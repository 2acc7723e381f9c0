package seniority

import "time"

// A member of available mode that hears no other may be the only one left, and must lead
// then. Or its link is bad, and a leader that it does not hear leads on: then it takes the
// address from clients that had it, and gives it back when the two meet. It cannot tell
// the one from the other, but it can learn. If a leadership that not all had confirmed has
// ended because another was there, it was in vain. When a leader falls silent again, this
// node leads at once if all the others confirm its claim, as ever; with fewer only if they
// confirm every round of it, for on a link that loses most packets some of many members
// confirm one round, and hardly any confirms all; and without any answer only after a time.

// vain is what a node knows of its leaderships in vain.
type vain struct {
	times int           // in a row
	at    time.Duration // when the last ended, or a leader was silent since
	till  time.Duration // no claim without an answer is won before; 0: there is a leader, or none was in vain
	told  bool          // of till
}

const (
	// vainWait is how long a node waits that has led in vain once, in a group of three or
	// more: all others would have to be dead or cut off. Twice as long each time, up to
	// vainMost.
	vainWait = 30 * time.Second
	vainMost = 5 * time.Minute
	// vainLeases is the most leases that the last of two waits: one lease at first, and
	// twice as many each time. There is no other to ask.
	vainLeases = 8
	// vainLife is for how long without a silent leader a node remembers.
	vainLife = 10 * time.Minute
)

// steady counts the members that have confirmed every round of this node's claim, this
// node included.
func (c *Core) steady() int {
	n := 1
	for name, b := range c.claim.ballots {
		if name != c.self.Name && b.confirms == c.claim.rounds {
			n++
		}
	}
	return n
}

// countVain notes that this leadership ends because another stays.
func (c *Core) countVain(now Now) {
	if c.claim.doubtful {
		c.vain.times, c.vain.at = c.vain.times+1, now.Boot
	}
	c.doubtSilence(now) // until it has followed the other
}

// doubtSilence sets how long the silence of the leader must last before this node leads
// without an answer.
func (c *Core) doubtSilence(now Now) {
	v := &c.vain
	if now.Boot > v.at+vainLife {
		v.times = 0
	}
	v.at, v.told = now.Boot, false
	if v.times == 0 {
		return
	}
	wait := min(vainWait<<min(v.times-1, 10), vainMost)
	if c.size(now) <= 2 {
		wait = min(c.timing.Lease<<min(v.times-1, 10), vainLeases*c.timing.Lease)
	}
	v.till = now.Boot + wait
}

// sayUnanswered tells once in a silence why this node does not lead.
func (c *Core) sayUnanswered(now Now) {
	if now.Boot < c.vain.till && !c.vain.told {
		c.vain.told = true
		c.note(Note{Kind: Unanswered, Term: c.claim.term})
	}
}
