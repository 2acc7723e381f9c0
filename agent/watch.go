package agent

import (
	"context"
	"sync"
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
	return e.watchers.add(ctx, e.Status)
}

// watchers holds the mailboxes of those who watch, each with room for one
// status; an unread one is replaced.
type watchers struct {
	mu     sync.Mutex
	boxes  map[chan Status]struct{}
	last   Status
	closed bool
}

func (w *watchers) add(ctx context.Context, current func() Status) <-chan Status {
	c := make(chan Status, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	c <- current()
	if w.closed {
		close(c)
		return c
	}
	if w.boxes == nil {
		w.boxes = map[chan Status]struct{}{}
	}
	w.boxes[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := w.boxes[c]; ok {
			delete(w.boxes, c)
			close(c)
		}
	})
	return c
}

// publish puts s into every mailbox. Only the loop calls it, so that once the
// old value is out there is room.
func (w *watchers) publish(s Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == w.last {
		return
	}
	w.last = s
	for c := range w.boxes {
		select {
		case <-c:
		default:
		}
		c <- s
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.boxes {
		close(c)
	}
	clear(w.boxes)
}
