package seniority

import "time"

// setHealth takes in whether this node may lead: None, or why not.
func (c *Core) setHealth(now Now, unfit Reason) {
	if unfit == c.unfit {
		return
	}
	c.unfit = unfit
	c.refreshSelf()
	if unfit != None {
		c.stopClaiming(now, unfit)
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
		c.stopClaiming(now, StoodAside)
	}
}

// stopClaiming gives up a claim that this node may no longer make, and says so if
// it goes on leading although it should not.
func (c *Core) stopClaiming(now Now, r Reason) {
	switch {
	case c.phase == Claiming && (!c.mayClaim() || c.givesWay()):
		c.abandon(now, r)
	case c.phase == Holding && c.successor(now, doubtful) == "":
		c.note(Note{Kind: Stayed, Term: c.claim.term, Reason: r})
	}
}

// unwilling is why this node should not be the one that leads, or None.
func (c *Core) unwilling() Reason {
	switch {
	case c.unfit != None:
		return c.unfit
	case c.asideUntil != 0:
		return StoodAside
	}
	return None
}
