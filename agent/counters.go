package agent

import (
	"maps"
	"sync"
)

// tally holds the running totals. Only the loop adds to them.
type tally struct {
	mu sync.Mutex
	c  Counters
}

func newTally() *tally {
	return &tally{c: Counters{
		Losses: map[string]uint64{}, Messages: map[string]uint64{}, Dropped: map[string]uint64{},
		AddressEvents: map[string]uint64{}, HookRuns: map[string]uint64{}, HookSeconds: map[string]float64{},
	}}
}

// add changes the totals under their lock.
func (t *tally) add(f func(*Counters)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.c)
}

// Counters returns the running totals since the start.
func (e *Election) Counters() Counters {
	e.tally.mu.Lock()
	defer e.tally.mu.Unlock()
	c := e.tally.c
	c.Losses, c.Messages, c.Dropped = maps.Clone(c.Losses), maps.Clone(c.Messages), maps.Clone(c.Dropped)
	c.AddressEvents = maps.Clone(c.AddressEvents)
	c.HookRuns, c.HookSeconds = maps.Clone(c.HookRuns), maps.Clone(c.HookSeconds)
	c.GossipDropped = e.agent.gossip.Counters()
	return c
}
