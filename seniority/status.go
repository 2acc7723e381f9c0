package seniority

import (
	"slices"
	"time"
)

// finish describes the state after a step and the time of the next one.
func (c *Core) finish(now Now) {
	leader := c.show(now)
	c.fillStatus(now, leader)
	if leader != "" || c.vacant == 0 {
		c.vacant = now.Boot
	}
	if c.voter.floor > c.persisted && (c.phase == Holding || c.mustPersist()) {
		c.persisted = c.voter.floor
		c.out.Persist, c.out.PersistOf = c.voter.floor, c.voter.floorOf
	}
	c.out.MaxLease = c.cfg.KeptLease // a node that does not abstain has not waited for it
	if c.voter.abstained > 0 {
		c.out.MaxLease = max(c.timing.Lease, c.voter.longest)
	}
	c.wake = c.nextWake(now)
	c.out.Wake = c.wake
}

// show notes which leader this node shows now, and returns it.
func (c *Core) show(now Now) string {
	leader, term := c.leader(now)
	if leader != c.shown || (leader != "" && term != c.shownTerm) {
		if c.shown != "" {
			c.previous = c.shown
		}
		c.shown = leader
		if leader != "" {
			c.shownTerm = term
		}
		c.note(Note{Kind: LeaderChanged, Peer: leader, Term: term, Reason: c.reason})
	}
	return leader
}

// fillStatus writes the status that is published.
func (c *Core) fillStatus(now Now, leader string) {
	s := &c.out.Status
	_, term := c.leader(now)
	*s = Status{
		Phase: c.phase, Leader: leader, Term: term, Leading: c.phase == Holding,
		Reason: c.reason, Previous: c.previous, Electing: c.electing(now),
		Releasing: c.releasing, ReleaseBy: c.releaseBy,
		Join: c.self.Join, Eligible: c.self.Eligible && c.releasing == 0, Highest: c.highest, AsideUntil: c.asideUntil,
		Answers: c.answers, Terms: c.termTrouble(now),
	}
	if leader == "" && now.Boot < c.vain.till {
		s.AloneAt = c.vain.till
	}
	if now.Boot < c.voter.abstainTill {
		s.AbstainTill = c.voter.abstainTill
	}
	if c.phase == Holding || c.phase == Yielding {
		s.Deadline, s.LeaseEnd, s.Since = c.claim.deadline, c.claim.leaseEnd, c.claim.since
		s.Doubtful = c.claim.doubtful || c.outdone(now)
		s.Will, s.Successor, s.Lasted = c.claim.secret, c.claim.successor, c.lasted()
	}
	if leader != "" && !s.Leading {
		s.Lapse = c.led.until
	}
}

// mustPersist reports whether the messages rest on the highest term: a claim or
// a confirm is about to be sent. A leader may have no member to send one to.
func (c *Core) mustPersist() bool {
	return slices.ContainsFunc(c.out.Messages, func(m Message) bool { return m.Kind == Claim || m.Kind == Confirm })
}

// electing reports whether an election is under way as far as this node knows.
func (c *Core) electing(now Now) bool {
	switch c.phase {
	case Claiming:
		return true
	case Waiting, Following:
		if name, _ := c.leader(now); name != "" {
			return false
		}
		return c.voter.running(now) && c.voter.stand == Asking || c.phase == Waiting && c.electAt != 0 && c.electAt <= now.Boot+c.timing.Lease
	}
	return false
}

// nextWake is the earliest time at which advance has something to do.
func (c *Core) nextWake(now Now) time.Duration {
	var w time.Duration
	at := func(t time.Duration) {
		if t > 0 && (w == 0 || t < w) {
			w = t
		}
	}
	if c.led.name != "" {
		at(c.led.until)
	}
	if c.asideUntil > 0 {
		at(c.asideUntil)
	}
	at(c.reach.at)
	switch c.phase {
	case Following, Waiting:
		at(c.electAt)
		at(c.handedTill)
	case Claiming:
		at(c.claim.reaskAt)
	case Holding:
		at(c.claim.renewAt)
		at(c.claim.deadline)
		at(c.claim.preemptAt)
		at(c.claim.beaconAt)
		at(c.resendAt())
	case Yielding:
		at(c.claim.renewAt)
		at(c.electorate.releaseBy())
	}
	if w != 0 && w < now.Boot {
		w = now.Boot
	}
	return w
}
