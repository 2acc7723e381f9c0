package store

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"
)

const (
	// maxIdleTime is how long one without a call stays open. The other end closes it
	// somewhat later.
	maxIdleTime = 30 * time.Second
	// leaderLook is how often one looks whether another member leads.
	leaderLook = 50 * time.Millisecond
	// callHead is the length of what stands before the body of a call, its kind and
	// its number on the stream; an answer has the number alone.
	callHead, answerHead = 10, 8
)

var (
	errStreamEnded  = errors.New("the connection ended")
	errAnotherLeads = errors.New("another member leads")
)

// callStream is a stream over which this member has another answer its calls, many at a time.
type callStream struct {
	opened chan struct{} // closed once out is there, or err is
	out    *outbox

	mu      sync.Mutex
	err     error                  // why it is over
	calls   uint64                 // how many there were
	waiting map[uint64]chan []byte // by number; capacity one
	used    time.Time              // when the last call ended
}

func newCallStream() *callStream {
	return &callStream{opened: make(chan struct{}), waiting: map[uint64]chan []byte{}, used: time.Now()}
}

// open gives it its stream, or the error with which it is over before it has begun, and
// reports whether it can be used.
func (c *callStream) open(s Stream, err error) bool {
	defer close(c.opened)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err == nil && err == nil:
		c.out = newOutbox(s)
		return true
	case err == nil: // nothing waits for it any more
		s.Close()
	case c.err == nil:
		c.err = err
	}
	return false
}

// call puts a question, once the stream is open, and returns the answer. sent is false if
// the question has certainly not arrived.
func (c *callStream) call(ctx context.Context, kind byte, body []byte) (answer []byte, sent bool, err error) {
	got := make(chan []byte, 1)
	c.mu.Lock()
	if err := c.err; err != nil {
		c.mu.Unlock()
		return nil, false, err
	}
	c.calls++
	number := c.calls
	c.waiting[number] = got
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, number)
		c.used = time.Now()
		c.mu.Unlock()
	}()
	question := binary.BigEndian.AppendUint64([]byte{callMessage, kind}, number)
	if err := c.out.put(ctx, append(question, body...)); err != nil {
		return nil, false, err
	}
	select {
	case answer := <-got:
		return answer, true, nil
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-c.out.over:
	}
	select {
	case answer := <-got: // it came last
		return answer, true, nil
	default:
		c.close(errStreamEnded) // a write that failed has closed the outbox alone
		return nil, true, c.why()
	}
}

// receive hands the answers to those who wait for them, until the stream ends.
func (c *callStream) receive() {
	for {
		b, err := c.out.stream.Receive()
		if err != nil || len(b) < answerHead {
			c.close(errStreamEnded)
			return
		}
		c.mu.Lock()
		got := c.waiting[binary.BigEndian.Uint64(b)]
		delete(c.waiting, binary.BigEndian.Uint64(b))
		c.mu.Unlock()
		if got != nil {
			got <- b[answerHead:]
		}
	}
}

// watch closes a stream to a member that leads no more, or that nothing is asked. A member
// may be frozen or cut off, and would be waited for as long as a call may take; one that
// has handed over answers within a look.
func (c *callStream) watch(leads func() bool) {
	ticker := time.NewTicker(leaderLook)
	defer ticker.Stop()
	for followed := true; ; {
		select {
		case <-c.out.over:
			return
		case <-ticker.C:
		}
		leading := leads()
		if !leading && !followed {
			c.close(errAnotherLeads)
		}
		followed = leading
		c.mu.Lock()
		idle := len(c.waiting) == 0 && time.Since(c.used) >= maxIdleTime
		if idle { // from here on it takes no call
			c.err = errStreamEnded
		}
		c.mu.Unlock()
		if idle {
			c.close(errStreamEnded)
		}
	}
}

func (c *callStream) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close ends it, for the first reason that is given.
func (c *callStream) close(why error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = why
	}
	out := c.out
	c.mu.Unlock()
	if out != nil {
		out.close()
	}
}

// maxOutbox is how many bytes wait in an outbox, beyond one message.
const maxOutbox = 2 << 20

// outbox writes messages to a stream, those that wait together.
type outbox struct {
	stream Stream
	over   chan struct{} // closed with the stream
	once   sync.Once

	mu      sync.Mutex
	waiting [][]byte
	size    int
	news    chan struct{} // capacity one: messages wait
	room    chan struct{} // capacity one: there may be room for more
}

func newOutbox(s Stream) *outbox {
	return &outbox{stream: s, over: make(chan struct{}), news: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put queues a message, once there is room; with an error it is not sent.
func (o *outbox) put(ctx context.Context, message []byte) error {
	for {
		select {
		case <-o.over:
			return errStreamEnded
		default:
		}
		if o.add(message) {
			poke(o.news)
			return nil
		}
		select {
		case <-o.room:
		case <-o.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outbox) add(message []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size > 0 && o.size+len(message) > maxOutbox {
		return false
	}
	o.waiting, o.size = append(o.waiting, message), o.size+len(message)
	if o.size < maxOutbox {
		poke(o.room) // for the next that waits
	}
	return true
}

// take returns what waits, and makes room.
func (o *outbox) take() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.waiting
	o.waiting, o.size = nil, 0
	poke(o.room)
	return all
}

// run writes until the outbox is closed or the stream breaks, which closes it. Goroutines
// that can run go first, as they may have more to send in one go. What cannot be written
// in the time that a call may take is of no use any more.
func (o *outbox) run() {
	defer o.close()
	for {
		select {
		case <-o.over:
			return
		case <-o.news:
		}
		runtime.Gosched()
		if o.stream.SetWriteDeadline(time.Now().Add(callLimit)) != nil || o.stream.Send(o.take()...) != nil {
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

// poke sends to a channel of capacity one, if it is empty.
func poke(c chan struct{}) { enter(c) }
