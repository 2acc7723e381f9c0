package gossip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/transport"
)

// A stream carries messages of any length between two members, in order, over a
// connection of its own to the gossip port: streamByte, the cluster's label, a
// random number each way, and then frames. With a keyring every frame is
// encrypted, and bound to both numbers, its direction and its place, so that
// none can be replayed, moved or left out.

const (
	// MaxMessage is the longest message of a stream: a whole store.
	MaxMessage = 96 << 20
	// maxFrame is the longest frame; longer messages are several.
	maxFrame = 256 << 10
	// smallMessage is how long messages may be of which any number is read at once.
	smallMessage = 2 << 20
	// maxStreams and maxHostStreams bound the streams that others have opened.
	maxStreams, maxHostStreams = 256, 48
	// streamIdle is how long a stream that another has opened may say nothing.
	streamIdle = 2 * time.Minute
	nonceSize  = 16
)

// Stream is one end of a stream. One goroutine may read and one write.
type Stream struct {
	conn     net.Conn
	from     *bufio.Reader // of conn: most messages are read by one call of the kernel
	gossip   *Gossip
	in, out  []byte // what frames are bound to, before their place
	reads    uint64
	writes   uint64
	incoming bool
}

func newStream(c net.Conn, g *Gossip, incoming bool) *Stream {
	return &Stream{conn: c, from: bufio.NewReader(c), gossip: g, incoming: incoming}
}

// streams counts the streams that others have opened.
type streams struct {
	handler func(*Stream)

	mu    sync.Mutex
	all   int
	hosts map[string]int
	large sync.Mutex // held while a message longer than smallMessage is read
}

// OnStream sets what serves the streams that others open; it is called in a
// goroutine of its own for each, and the stream ends when it returns. Before the first
// call streams are closed at once. It must be called before Start.
func (g *Gossip) OnStream(serve func(*Stream)) { g.streams.handler = serve }

// OpenStream opens a stream to a member.
func (g *Gossip) OpenStream(ctx context.Context, member string) (*Stream, error) {
	addr, ok := g.members.addrOf(member)
	if !ok {
		return nil, fmt.Errorf("no member %s is known", member)
	}
	limit := streamLimit
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
	c, err := g.mux.Dial(memberlist.Address{Addr: addr.String(), Name: member}, limit)
	if err != nil {
		return nil, err
	}
	s := newStream(c, g, false)
	if err := s.greet(time.Now().Add(limit)); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// greet exchanges the random numbers.
func (s *Stream) greet(by time.Time) error {
	if err := s.conn.SetDeadline(by); err != nil {
		return err
	}
	own, other := make([]byte, nonceSize), make([]byte, nonceSize)
	rand.Read(own)
	head := own
	if !s.incoming {
		head = append([]byte{transport.StreamByte, byte(len(s.gossip.mux.Label()))}, s.gossip.mux.Label()...)
		head = append(head, own...)
	}
	if _, err := s.conn.Write(head); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.from, other); err != nil {
		return err
	}
	s.out = append(append([]byte("stream"), own...), other...)
	s.in = append(append([]byte("stream"), other...), own...)
	return s.conn.SetDeadline(time.Time{})
}

// talk serves a stream that another has opened, which the port closes then.
func (g *Gossip) talk(c net.Conn) {
	serve, host := g.streams.handler, transport.HostOf(c.RemoteAddr().String())
	if serve == nil || !g.streams.enter(host) {
		g.findings.Count("stream-refused")
		return
	}
	defer g.streams.leave(host)
	s := newStream(c, g, true)
	if s.greet(time.Now().Add(streamLimit)) == nil {
		serve(s)
	}
}

func (s *streams) enter(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.hosts[host] >= maxHostStreams {
		return false
	}
	if s.hosts == nil {
		s.hosts = map[string]int{}
	}
	s.all++
	s.hosts[host]++
	return true
}

func (s *streams) leave(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
}

// Close ends the stream at once.
func (s *Stream) Close() error { return s.conn.Close() }

// SetWriteDeadline limits how long what is sent from now on may take; a zero time is no
// limit.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }

// Send writes messages, short ones in one go.
func (s *Stream) Send(messages ...[]byte) error {
	var out bytes.Buffer
	for _, message := range messages {
		for first := true; first || len(message) > 0; first = false {
			n := min(len(message), maxFrame)
			frame := make([]byte, 0, n+1)
			more := byte(0)
			if n < len(message) {
				more = 1
			}
			frame = append(append(frame, more), message[:n]...)
			message = message[n:]
			sealed, err := seal(s.gossip.keyring, frame, binary.BigEndian.AppendUint64(s.out[:len(s.out):len(s.out)], s.writes))
			if err != nil {
				return err
			}
			s.writes++
			out.Write(appendFrame(nil, sealed))
			if out.Len() < smallMessage {
				continue
			}
			if _, err := s.conn.Write(out.Bytes()); err != nil {
				return err
			}
			out.Reset()
		}
	}
	_, err := s.conn.Write(out.Bytes())
	return err
}

var errMessageTooLong = errors.New("a message is longer than any that members send")

// Receive reads one message. Memory is taken as it arrives.
func (s *Stream) Receive() ([]byte, error) {
	var message []byte
	large := false
	defer func() {
		if large {
			s.gossip.streams.large.Unlock()
		}
	}()
	for {
		if s.incoming {
			if err := s.conn.SetReadDeadline(time.Now().Add(streamIdle)); err != nil {
				return nil, err
			}
		}
		sealed, err := readFrame(s.from, maxFrame+64)
		if err != nil {
			return nil, err
		}
		frame, err := open(s.gossip.keyring, sealed, binary.BigEndian.AppendUint64(s.in[:len(s.in):len(s.in)], s.reads))
		if err != nil {
			s.gossip.findings.Undecryptable(s.conn.RemoteAddr().String())
			return nil, err
		}
		s.reads++
		if len(frame) == 0 {
			return nil, errors.New("a frame is empty")
		}
		more := frame[0] == 1
		if len(message)+len(frame) > MaxMessage {
			return nil, errMessageTooLong
		}
		if !large && len(message)+len(frame) > smallMessage {
			s.gossip.streams.large.Lock() // one at a time, for the memory's sake
			large = true
		}
		message = append(message, frame[1:]...)
		if !more {
			return message, nil
		}
	}
}
