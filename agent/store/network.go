package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Network is what a Store needs of gossip.
type Network interface {
	// Open opens a stream to a member.
	Open(ctx context.Context, member string) (Stream, error)
	// Serve sets what serves the streams that others open; a stream ends when it
	// returns.
	Serve(serve func(Stream))
}

// Stream carries messages in order. One goroutine may read and one write.
type Stream interface {
	Send(message []byte) error
	Receive() ([]byte, error)
	// SetDeadline limits how long what follows may take; a zero time is no limit.
	SetDeadline(t time.Time) error
	Close() error
}

const (
	// maxQueued is how many bytes may wait to be sent to one voter; what is more is
	// dropped, and raft sends it again.
	maxQueued = 16 << 20
	// redial is the pause after a stream that could not be opened or broke.
	redial = 100 * time.Millisecond
	// dialLimit is how long opening one may take: a voter that comes back is met again
	// within that and redial.
	dialLimit = time.Second
	// sendLimit is how long one message may take, a whole store included.
	sendLimit = 30 * time.Second
	// maxIdle is how many streams for calls wait for the next one, for one member.
	maxIdle = 16
	// maxIdleTime is how long one waits.
	maxIdleTime = 30 * time.Second
)

// network carries messages between voters, and calls to the leader, over streams
// of gossip.
type network struct {
	streams Network
	self    string
	member  func(voter string) string // the member that a voter is; "": unknown
	// sent tells how it went with a message that wanted to know.
	sent func(p *parcel, err error)

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	senders map[string]*sender
	idle    map[string][]idleStream
}

// idleStream is a stream that waits for the next call.
type idleStream struct {
	stream Stream
	since  time.Time
}

// parcel is one message on its way.
type parcel struct {
	body     []byte
	to       uint64
	snapshot bool
}

// sender sends to one voter.
type sender struct {
	voter  string
	queue  chan *parcel
	queued atomic.Int64
}

func newNetwork(streams Network, self string, member func(string) string) *network {
	n := &network{streams: streams, self: self, member: member, senders: map[string]*sender{}, idle: map[string][]idleStream{}}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// send queues a message; it may be lost.
func (n *network) send(voter string, p *parcel) {
	n.mu.Lock()
	s := n.senders[voter]
	if s == nil && n.ctx.Err() == nil {
		s = &sender{voter: voter, queue: make(chan *parcel, 1024)}
		n.senders[voter] = s
		n.wg.Go(func() { n.run(s) })
	}
	n.mu.Unlock()
	if s == nil {
		return
	}
	if s.queued.Load() > maxQueued {
		n.sent(p, errNotSent)
		return
	}
	select {
	case s.queue <- p:
		s.queued.Add(int64(len(p.body)))
	default:
		n.sent(p, errNotSent)
	}
}

var errNotSent = errors.New("too much waits to be sent")

// run sends what is queued for one voter, over one stream while that holds.
func (n *network) run(s *sender) {
	var stream Stream
	var broken time.Time
	defer func() {
		if stream != nil {
			stream.Close()
		}
	}()
	for {
		var p *parcel
		select {
		case <-n.ctx.Done():
			return
		case p = <-s.queue:
			s.queued.Add(-int64(len(p.body)))
		}
		err := errNotSent
		if time.Since(broken) > redial {
			stream, err = n.deliver(stream, s.voter, p)
		}
		if err != nil && time.Since(broken) > redial {
			broken = time.Now()
		}
		n.sent(p, err)
	}
}

// deliver sends a message over the stream, or over a new one.
func (n *network) deliver(stream Stream, voter string, p *parcel) (Stream, error) {
	if stream == nil {
		name := n.member(voter)
		if name == "" || name == n.self {
			return nil, fmt.Errorf("no member is voter %s", voter)
		}
		ctx, cancel := context.WithTimeout(n.ctx, dialLimit)
		defer cancel()
		var err error
		if stream, err = n.streams.Open(ctx, name); err != nil {
			return nil, err
		}
	}
	done := context.AfterFunc(n.ctx, func() { stream.Close() })
	defer done()
	err := stream.SetDeadline(time.Now().Add(sendLimit))
	if err == nil {
		err = stream.Send(p.body)
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

// call asks a member and returns its answer. sent is false if the question has
// certainly not arrived.
func (n *network) call(ctx context.Context, member string, question []byte) (answer []byte, sent bool, err error) {
	stream, err := n.take(ctx, member)
	if err != nil {
		return nil, false, err
	}
	if answer, err = ask(ctx, stream, question); err != nil {
		stream.Close()
		return nil, true, err
	}
	n.give(member, stream)
	return answer, true, nil
}

func ask(ctx context.Context, s Stream, question []byte) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Send(question); err != nil {
		return nil, err
	}
	return s.Receive()
}

// take returns an idle stream, or opens one. One that has been idle for long may
// have been closed by the other end.
func (n *network) take(ctx context.Context, member string) (Stream, error) {
	n.mu.Lock()
	for idle := n.idle[member]; len(idle) > 0; idle = n.idle[member] {
		newest := idle[len(idle)-1]
		n.idle[member] = idle[:len(idle)-1]
		if time.Since(newest.since) < maxIdleTime {
			n.mu.Unlock()
			return newest.stream, nil
		}
		newest.stream.Close()
	}
	n.mu.Unlock()
	opening, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return n.streams.Open(opening, member)
}

// give keeps a stream for the next call. Those to other members than the one of
// the last call are closed: it leads no more.
func (n *network) give(member string, s Stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, idle := range n.idle {
		if other != member {
			closeAll(idle)
			delete(n.idle, other)
		}
	}
	if n.ctx.Err() != nil || len(n.idle[member]) >= maxIdle {
		s.Close()
		return
	}
	n.idle[member] = append(n.idle[member], idleStream{s, time.Now()})
}

func closeAll(all []idleStream) {
	for _, s := range all {
		s.stream.Close()
	}
}

// close ends everything.
func (n *network) close() {
	n.stop()
	n.wg.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, idle := range n.idle {
		closeAll(idle)
	}
	clear(n.idle)
}
