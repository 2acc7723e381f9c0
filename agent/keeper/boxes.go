package keeper

import (
	"cmp"
	"slices"
	"sync"
)

// mailbox holds the newest of what was put in. Putting never blocks.
type mailbox[T any] struct {
	full   chan struct{} // receives when there is one that was not taken
	mu     sync.Mutex
	newest T
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{full: make(chan struct{}, 1)} }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.newest = v
	m.mu.Unlock()
	select {
	case m.full <- struct{}{}:
	default:
	}
}

// take returns the newest, whether it was taken before or not.
func (m *mailbox[T]) take() T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest
}

// orders holds the newest order of each election, for the process that carries
// them out. Putting never blocks.
type orders struct {
	full   chan struct{} // receives when there is an order that was not taken
	mu     sync.Mutex
	newest map[string]Order
	fresh  []string // the elections whose newest order was not taken, oldest first
}

func newOrders() *orders { return &orders{full: make(chan struct{}, 1), newest: map[string]Order{}} }

func (b *orders) put(o Order) {
	b.mu.Lock()
	b.newest[o.Election] = o
	if !slices.Contains(b.fresh, o.Election) {
		b.fresh = append(b.fresh, o.Election)
	}
	b.mu.Unlock()
	b.wake()
}

func (b *orders) wake() {
	select {
	case b.full <- struct{}{}:
	default:
	}
}

// take returns the orders that were not taken before.
func (b *orders) take() []Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Order
	for _, name := range b.fresh {
		all = append(all, b.newest[name])
	}
	b.fresh = nil
	return all
}

// all returns the newest order of each election, whether it was taken or not.
func (b *orders) all() []Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh = nil
	all := make([]Order, 0, len(b.newest))
	for _, o := range b.newest {
		all = append(all, o)
	}
	slices.SortFunc(all, func(x, y Order) int { return cmp.Compare(x.Election, y.Election) })
	return all
}

// forget drops the order of an election that is no more.
func (b *orders) forget(election string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.newest, election)
	b.fresh = slices.DeleteFunc(b.fresh, func(name string) bool { return name == election })
}

// maxReports is how many reports may wait for a reader that is stopped.
const maxReports = 256

// outbox holds the reports that were not taken yet, in order. Adding never
// blocks: when too many wait, the oldest that is droppable is dropped.
// The others are few: each follows from an order, or from a change that lasts.
type outbox struct {
	mu     sync.Mutex
	filled *sync.Cond
	queue  []Report
	closed bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.filled = sync.NewCond(&o.mu)
	return o
}

func (o *outbox) add(r Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= maxReports {
		for i := range o.queue {
			if o.queue[i].droppable() {
				o.queue = append(o.queue[:i], o.queue[i+1:]...)
				break
			}
		}
	}
	o.queue = append(o.queue, r)
	o.filled.Signal()
}

// take waits for the next report; false: the box is closed and empty.
func (o *outbox) take() (Report, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) == 0 && !o.closed {
		o.filled.Wait()
	}
	if len(o.queue) == 0 {
		return Report{}, false
	}
	r := o.queue[0]
	o.queue = o.queue[1:]
	return r, true
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.filled.Broadcast()
}
