package agent

import (
	"context"
	"time"
)

// Status is what a program that embeds an agent needs to know of the
// leadership. It is a comparable value.
type Status struct {
	// Leader and Addr are the leader's name and host:port; empty when this
	// member can vouch for none.
	Leader, Addr string
	// Term is the leadership's term, which only rises: the fencing token.
	Term uint64
	// Since is when the leadership began, by this member's wall clock.
	Since time.Time
	// IsLeader says that this member itself is the leader.
	IsLeader bool
	// Electing says that an election is under way.
	Electing bool
}

// Status returns the leadership as this member knows it, checked against the
// clock now.
func (e *Election) Status() Status {
	if e == nil {
		return Status{}
	}
	s := e.snap.Load()
	l := e.vouched(s, e.cfg().now().Boot)
	return Status{
		Leader: l.Leader, Addr: l.Addr, Term: s.status.Term, Since: l.Since,
		IsLeader: l.Self, Electing: s.status.Electing,
	}
}

// Watch returns the current status, and then the newest whenever it has
// changed. A reader that is slow misses statuses in between, never the last.
// The channel is closed when ctx ends or Run returns.
func (e *Election) Watch(ctx context.Context) <-chan Status {
	if e == nil {
		none := make(chan Status)
		close(none)
		return none
	}
	return e.watchers.Watch(ctx, e.Status)
}

// Subscribe streams events, the current state first. The channel is closed
// when ctx ends, when Run returns, or when the reader is too slow.
func (e *Election) Subscribe(ctx context.Context) <-chan Event {
	return e.events.Subscribe(ctx, func() Event {
		s := e.State()
		if e.label() == "" {
			s = e.agent.State() // with all elections
		}
		return Event{Kind: "state", Time: time.Now(), Data: s}
	})
}
