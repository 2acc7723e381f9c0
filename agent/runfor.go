package agent

import "time"

const (
	// leaseParts: a lease is asked for this often while it lasts, and the last
	// killParts of them are kept for killing what runs.
	leaseParts = 10
	killParts  = 2
	// shortestAsk and longestAsk bound the pause between two such questions.
	shortestAsk, longestAsk = 5 * time.Millisecond, time.Second
)

// RunFor returns how long something may run under the leadership of a term without
// asking anew, from the moment at which this lease was asked for, and how often to
// ask. false: that leadership is over, or about to be. What still runs after that
// time has to be killed; then all of it is dead before another member leads, since
// until the end of the lease none does: the keeper of an agent that is dead or
// stopped gives no lease back under which a Hold runs.
func (l Lease) RunFor(term uint64) (left, every time.Duration, ok bool) {
	part := time.Duration(l.OfMS) * time.Millisecond / leaseParts
	left = time.Duration(l.LeftMS)*time.Millisecond - killParts*part
	if !l.IsLeader || l.Term != term || left <= 0 {
		return 0, 0, false
	}
	return left, min(max(part, shortestAsk), longestAsk), true
}
