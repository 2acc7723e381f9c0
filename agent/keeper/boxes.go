package keeper

import "sync"

// mailbox holds the newest order. Putting never blocks.
type mailbox struct {
	full  chan struct{} // receives when there is an order that was not taken
	mu    sync.Mutex
	order Order
}

func newMailbox() *mailbox { return &mailbox{full: make(chan struct{}, 1)} }

func (m *mailbox) put(o Order) {
	m.mu.Lock()
	m.order = o
	m.mu.Unlock()
	select {
	case m.full <- struct{}{}:
	default:
	}
}

// take returns the newest order, whether it was taken before or not.
func (m *mailbox) take() Order {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.order
}

// maxReports is how many reports may wait for a reader that is stopped.
const maxReports = 64

// outbox holds the reports that were not taken yet, in order. Adding never
// blocks: when too many wait, the oldest that only tells of a run is dropped.
// The others are few, since only the agent's own doing brings them about.
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
			if o.queue[i].newsless() {
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
