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
	// Send writes messages, short ones in one go.
	Send(messages ...[]byte) error
	Receive() ([]byte, error)
	// SetWriteDeadline limits how long what is sent from now on may take.
	SetWriteDeadline(t time.Time) error
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
	// sendLimit is how long one message of raft may take, a whole store included.
	sendLimit = 30 * time.Second
)

// network carries messages between voters, and calls to the leader, over streams
// of gossip.
type network struct {
	streams Network
	self    string
	member  func(voter string) string // the member that a voter is; "": unknown
	leader  func() string             // the member that leads; "": unknown
	// sent tells how it went with a message that wanted to know.
	sent func(p *parcel, err error)

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	senders map[string]*sender
	calls   map[string]*callStream // by member
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

func newNetwork(streams Network, self string, member func(string) string, leader func() string) *network {
	n := &network{streams: streams, self: self, member: member, leader: leader, senders: map[string]*sender{}, calls: map[string]*callStream{}}
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
	err := stream.SetWriteDeadline(time.Now().Add(sendLimit))
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
// certainly not arrived. Answers that may be as long as the store come over a stream of
// their own, so that others need not wait for them.
func (n *network) call(ctx context.Context, member string, kind byte, body []byte) (answer []byte, sent bool, err error) {
	alone := kind == callList || kind == callSave
	l := n.callStream(member, alone)
	if alone {
		defer l.close(errStreamEnded)
	}
	select {
	case <-l.opened:
		return l.call(ctx, kind, body)
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// callStream returns the stream to a member that its calls share, or one for a call
// alone. It may still have to be opened.
func (n *network) callStream(member string, alone bool) *callStream {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.calls[member]; l != nil && !alone && l.why() == nil {
		return l
	}
	l := newCallStream()
	if !alone {
		n.calls[member] = l
	}
	if err := n.ctx.Err(); err != nil {
		l.open(nil, err)
	} else {
		n.wg.Go(func() { n.open(l, member) })
	}
	return l
}

// open opens a stream to a member and returns once it is over.
func (n *network) open(l *callStream, member string) {
	ctx, cancel := context.WithTimeout(n.ctx, dialLimit)
	defer cancel()
	if !l.open(n.streams.Open(ctx, member)) {
		return
	}
	defer context.AfterFunc(n.ctx, func() { l.close(n.ctx.Err()) })()
	n.wg.Go(l.out.run)
	n.wg.Go(l.receive)
	l.watch(func() bool { now := n.leader(); return now == "" || now == member })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calls[member] == l {
		delete(n.calls, member)
	}
}

// close ends everything.
func (n *network) close() {
	n.mu.Lock()
	n.stop()
	n.mu.Unlock()
	n.wg.Wait()
}
