package store

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

const (
	// maxIdleTime is how long a line without a call stays open. The other end closes it
	// somewhat later.
	maxIdleTime = 30 * time.Second
	// leaderLook is how often a line looks whether another member leads.
	leaderLook = 50 * time.Millisecond
	// maxTogether is how many messages one write carries at most.
	maxTogether = 64
	// callHead is the length of what stands before the body of a call, its kind and
	// its number on the line; an answer has the number alone.
	callHead, answerHead = 10, 8
)

var (
	errLineEnded    = errors.New("the connection ended")
	errAnotherLeads = errors.New("another member leads")
)

// line is a stream over which this member has another answer its calls, many at a time.
type line struct {
	opened chan struct{} // closed once out is there, or err is
	out    *outbox

	mu      sync.Mutex
	err     error                  // why it is over
	calls   uint64                 // how many there were
	waiting map[uint64]chan []byte // by number; capacity one
	used    time.Time              // when the last call ended
}

func newLine() *line {
	return &line{opened: make(chan struct{}), waiting: map[uint64]chan []byte{}, used: time.Now()}
}

// open gives it its stream, or the error with which it is over before it has begun, and
// reports whether it can be used.
func (l *line) open(s Stream, err error) bool {
	defer close(l.opened)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err == nil && err == nil:
		l.out = newOutbox(s)
		return true
	case err == nil: // nothing waits for it any more
		s.Close()
	case l.err == nil:
		l.err = err
	}
	return false
}

// call puts a question, once the line is open, and returns the answer. sent is false if
// the question has certainly not arrived.
func (l *line) call(ctx context.Context, kind byte, body []byte) (answer []byte, sent bool, err error) {
	got := make(chan []byte, 1)
	l.mu.Lock()
	if err := l.err; err != nil {
		l.mu.Unlock()
		return nil, false, err
	}
	l.calls++
	number := l.calls
	l.waiting[number] = got
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, number)
		l.used = time.Now()
		l.mu.Unlock()
	}()
	question := binary.BigEndian.AppendUint64([]byte{callMessage, kind}, number)
	if err := l.out.put(ctx, append(question, body...)); err != nil {
		return nil, false, err
	}
	select {
	case answer := <-got:
		return answer, true, nil
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-l.out.over:
	}
	select {
	case answer := <-got: // it came last
		return answer, true, nil
	default:
		l.close(errLineEnded) // a write that failed has closed the outbox alone
		return nil, true, l.why()
	}
}

// receive hands the answers to those who wait for them, until the stream ends.
func (l *line) receive() {
	for {
		b, err := l.out.stream.Receive()
		if err != nil || len(b) < answerHead {
			l.close(errLineEnded)
			return
		}
		l.mu.Lock()
		got := l.waiting[binary.BigEndian.Uint64(b)]
		delete(l.waiting, binary.BigEndian.Uint64(b))
		l.mu.Unlock()
		if got != nil {
			got <- b[answerHead:]
		}
	}
}

// watch closes a line to a member that leads no more, or that nothing is asked. A member
// may be frozen or cut off, and would be waited for as long as a call may take; one that
// has handed over answers within a look.
func (l *line) watch(leads func() bool) {
	ticker := time.NewTicker(leaderLook)
	defer ticker.Stop()
	for followed := true; ; {
		select {
		case <-l.out.over:
			return
		case <-ticker.C:
		}
		leading := leads()
		if !leading && !followed {
			l.close(errAnotherLeads)
		}
		followed = leading
		l.mu.Lock()
		idle := len(l.waiting) == 0 && time.Since(l.used) >= maxIdleTime
		if idle { // from here on it takes no call
			l.err = errLineEnded
		}
		l.mu.Unlock()
		if idle {
			l.close(errLineEnded)
		}
	}
}

func (l *line) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// close ends it, for the first reason that is given.
func (l *line) close(why error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = why
	}
	out := l.out
	l.mu.Unlock()
	if out != nil {
		out.close()
	}
}

// outbox writes messages to a stream, those that wait together.
type outbox struct {
	stream Stream
	queue  chan []byte
	over   chan struct{} // closed with the stream
	once   sync.Once
}

func newOutbox(s Stream) *outbox {
	return &outbox{stream: s, queue: make(chan []byte, maxTogether), over: make(chan struct{})}
}

// put queues a message; with an error it is not sent.
func (o *outbox) put(ctx context.Context, message []byte) error {
	select {
	case o.queue <- message:
		return nil
	case <-o.over:
		return errLineEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until the outbox is closed or the stream breaks, which closes it.
func (o *outbox) run() {
	defer o.close()
	for {
		var all [][]byte
		select {
		case <-o.over:
			return
		case m := <-o.queue:
			all = append(all, m)
		}
		for len(all) < maxTogether && len(o.queue) > 0 {
			all = append(all, <-o.queue)
		}
		if o.stream.Send(all...) != nil {
			return
		}
	}
}

func (o *outbox) close() {
	o.once.Do(func() {
		close(o.over)
		o.stream.Close()
	})
}
