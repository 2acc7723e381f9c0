package seniority

import (
	"cmp"
	"time"
)

// Log is the place of the newest entry of what a node keeps for the group, as the
// caller's replicated log counts it. The zero Log is that of a node that keeps
// nothing; no Log is older.
type Log struct{ Term, Index uint64 }

// newer reports whether l has an entry that other may lack.
func (l Log) newer(other Log) bool {
	return cmp.Or(cmp.Compare(l.Term, other.Term), cmp.Compare(l.Index, other.Index)) > 0
}

// logLeases is for how many leases without a leader logs come before the rule: by
// then a voter with the newest log has claimed, or it cannot win.
const logLeases = 2

// ranksLogs reports whether the newer log comes first now, in place of the rule's
// first; not against a successor that the leader has named itself.
func (c *Core) ranksLogs(now Now, m *Message) bool {
	vacant := max(c.vacant, c.voter.abstainTill)
	if name, _ := c.leader(now); name != "" {
		vacant = now.Boot // as known by gossip
	}
	return now.Boot < vacant+logLeases*c.timing.Lease && c.led.successor != m.From
}

// refusesLog reports whether a claim is refused because the claimant's log is
// behind that of this node, which may lead itself; it then claims when its turn
// comes, without waiting for anything else, and under a higher term: others may
// have confirmed the claim that it refuses.
func (c *Core) refusesLog(now Now, m *Message) bool {
	if !c.log.newer(m.Log) || !c.ranksLogs(now, m) || !c.mayClaim() || c.givesWay() {
		return false
	}
	c.skipSettle = true
	c.waitFrom = min(c.waitFrom, now.Boot)
	c.learn(now, m.Term, false)
	return true
}

// considerLog gives a claim up that cannot be won because logs of other voters are
// newer, and leaves those the time to claim, each in its turn.
func (c *Core) considerLog(now Now, m *Message) {
	if !c.electorate.blocks(m) {
		return
	}
	c.abandon(now, LogBehind)
	c.failures--
	c.retryAt = now.Boot + c.timing.Confirm + time.Duration(len(c.cfg.Voters))*c.timing.Stagger
}
