package gossip

import (
	"container/list"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// The first byte of a packet or a connection says whose it is.
const (
	askByte   = 0xD9 // a question to this member; see ask.go
	willByte  = 0xDA // a leader's will; see will.go
	labelByte = 244  // memberlist's label, before everything that it sends
	tlsByte   = 0x16 // a TLS handshake, which can only be meant for HTTP
	// lastMemberlistByte is the highest byte that begins a packet of a
	// memberlist without a label, or with an encryption version in its place.
	lastMemberlistByte = 13
)

const (
	// sniffLimit is how long a connection may take to say what it is.
	sniffLimit = 5 * time.Second
	// maxUndecided bounds the connections that have not; beyond it the oldest
	// is closed, for those that mean something say so at once.
	maxUndecided = 128
	// packetBacklog is how many packets wait for memberlist, which sends while
	// it handles one: two members must not wait for each other.
	packetBacklog = 1024
	// maxStreams and maxHTTP bound the connections of either kind.
	maxStreams = 512
	maxHTTP    = 512
)

// mux is the transport that memberlist is given: it stands before the real one
// and takes out what shares the port with gossip. Nothing that a stranger does
// on one connection delays another: each is read in its own goroutine, under a
// deadline, and their number is bounded.
type mux struct {
	memberlist.NodeAwareTransport
	label  string
	ledger *ledger
	http   *httpListener
	// will takes a will packet, ask answers the question on a connection.
	will func(packet []byte)
	ask  func(net.Conn)

	packets chan *memberlist.Packet
	streams chan net.Conn
	started atomic.Bool // memberlist reads packets and streams
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu        sync.Mutex
	undecided *list.List // of net.Conn, the oldest first
	open      map[*conn]struct{}
	failed    map[string]error // the last dial of an address, if it failed
	httpOpen  atomic.Int32
}

func newMux(inner memberlist.NodeAwareTransport, label string, l *ledger) *mux {
	return &mux{
		NodeAwareTransport: inner, label: label, ledger: l,
		packets: make(chan *memberlist.Packet, packetBacklog), streams: make(chan net.Conn),
		done: make(chan struct{}), undecided: list.New(),
		open: map[*conn]struct{}{}, failed: map[string]error{},
	}
}

// run begins to read.
func (m *mux) run() {
	m.wg.Add(2)
	go m.readPackets()
	go m.readStreams()
}

// PacketCh implements memberlist.Transport.
func (m *mux) PacketCh() <-chan *memberlist.Packet { return m.packets }

// StreamCh implements memberlist.Transport.
func (m *mux) StreamCh() <-chan net.Conn { return m.streams }

// Shutdown implements memberlist.Transport. It closes the port and every
// connection but those that HTTP has taken, and returns when nothing reads any
// more. It may be called more than once.
func (m *mux) Shutdown() error {
	var err error
	m.once.Do(func() {
		close(m.done)
		err = m.NodeAwareTransport.Shutdown()
		m.mu.Lock()
		for e := m.undecided.Front(); e != nil; e = e.Next() {
			e.Value.(net.Conn).Close()
		}
		for c := range m.open {
			c.Conn.Close()
		}
		m.mu.Unlock()
		m.http.Close()
	})
	m.wg.Wait()
	return err
}

func (m *mux) stopped() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// readPackets sorts the packets.
func (m *mux) readPackets() {
	defer m.wg.Done()
	for {
		select {
		case <-m.done:
			return
		case p := <-m.NodeAwareTransport.PacketCh():
			m.packet(p)
		}
	}
}

// packet passes one packet on, or refuses it with a reason.
func (m *mux) packet(p *memberlist.Packet) {
	if len(p.Buf) == 0 {
		m.ledger.count("packet-empty")
		return
	}
	switch first := p.Buf[0]; {
	case first == willByte:
		m.will(p.Buf)
	case first == labelByte:
		_, label, err := memberlist.RemoveLabelHeaderFromPacket(p.Buf)
		switch {
		case err != nil:
			m.ledger.count("packet-malformed")
		case label != m.label:
			m.otherLabel(label, p.From)
		case !m.started.Load():
			m.ledger.count("packet-before-start")
		default:
			select {
			case m.packets <- p:
			default:
				m.ledger.count("packet-overflow")
			}
		}
	case first <= lastMemberlistByte:
		m.foreign(p.From, "packet of a memberlist without a label")
	default:
		m.ledger.count("packet-unknown")
	}
}

// readStreams sorts the connections.
func (m *mux) readStreams() {
	defer m.wg.Done()
	for {
		select {
		case <-m.done:
			return
		case c := <-m.NodeAwareTransport.StreamCh():
			m.wg.Add(1)
			go m.stream(c)
		}
	}
}

// errRefused is returned for connections whose reason has been counted.
var errRefused = errors.New("refused")

// stream finds out what a connection is and hands it over.
func (m *mux) stream(c net.Conn) {
	defer m.wg.Done()
	entry, ok := m.enter(c)
	if !ok {
		c.Close()
		return
	}
	head, err := m.identify(c)
	m.mu.Lock()
	m.undecided.Remove(entry)
	m.mu.Unlock()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		if err != errRefused && !m.stopped() {
			m.ledger.count("stream-undecided")
		}
		return
	}
	switch first := head[0]; {
	case first == labelByte:
		m.gossip(c, head)
	case first == askByte:
		m.question(c)
	case first == willByte:
		m.testament(c, head)
	default:
		m.web(c, head)
	}
}

// enter takes a connection into the list of the undecided.
func (m *mux) enter(c net.Conn) (*list.Element, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped() {
		return nil, false
	}
	if m.undecided.Len() >= maxUndecided {
		// The goroutine of the oldest sees its connection closed and ends.
		m.undecided.Remove(m.undecided.Front()).(net.Conn).Close()
	}
	return m.undecided.PushBack(c), true
}

// identify reads no more than it takes to tell whose connection it is, and
// returns that.
func (m *mux) identify(c net.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(sniffLimit)); err != nil {
		return nil, err
	}
	head := make([]byte, 2, 2+len(m.label))
	if _, err := io.ReadFull(c, head[:1]); err != nil {
		return nil, err
	}
	switch first := head[0]; {
	case first == willByte, first == tlsByte, first >= 'A' && first <= 'Z':
		return head[:1], nil
	case first == labelByte, first == askByte:
	case first <= lastMemberlistByte:
		m.foreign(c.RemoteAddr(), "connection of a memberlist without a label")
		return nil, errRefused
	default:
		m.ledger.count("stream-unknown")
		return nil, errRefused
	}
	if _, err := io.ReadFull(c, head[1:2]); err != nil {
		return nil, err
	}
	label := make([]byte, head[1])
	if _, err := io.ReadFull(c, label); err != nil {
		return nil, err
	}
	if string(label) != m.label {
		m.otherLabel(string(label), c.RemoteAddr())
		return nil, errRefused
	}
	return append(head, label...), nil
}

// gossip hands a connection to memberlist, which closes it.
func (m *mux) gossip(c net.Conn, head []byte) {
	if !m.started.Load() {
		m.ledger.count("stream-before-start")
		c.Close()
		return
	}
	wrapped, ok := m.track(c, head, maxStreams)
	if !ok {
		return
	}
	select {
	case m.streams <- wrapped:
	case <-m.done:
		wrapped.Close()
	}
}

// question answers the question on a connection.
func (m *mux) question(c net.Conn) {
	if wrapped, ok := m.track(c, nil, maxStreams); ok {
		defer wrapped.Close()
		m.ask(wrapped)
	}
}

// testament reads a will; its end is that of the connection.
func (m *mux) testament(c net.Conn, head []byte) {
	wrapped, ok := m.track(c, head, maxStreams)
	if !ok {
		return
	}
	defer wrapped.Close()
	if wrapped.SetReadDeadline(time.Now().Add(sniffLimit)) != nil {
		return
	}
	packet, err := io.ReadAll(io.LimitReader(wrapped, maxWill+1))
	if err != nil {
		m.ledger.count("will-unread")
		return
	}
	m.will(packet)
}

// web hands a connection to HTTP, which closes it.
func (m *mux) web(c net.Conn, head []byte) {
	if m.httpOpen.Add(1) > maxHTTP {
		m.httpOpen.Add(-1)
		m.ledger.count("http-full")
		c.Close()
		return
	}
	wrapped := &conn{Conn: c, head: head, closed: func() { m.httpOpen.Add(-1) }}
	if !m.http.offer(wrapped) {
		m.ledger.count("http-unanswered")
		wrapped.Close()
	}
}

// DialAddressTimeout implements memberlist.NodeAwareTransport. memberlist turns
// the error into text, so it is kept here for the joiner.
func (m *mux) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := m.NodeAwareTransport.DialAddressTimeout(a, timeout)
	m.mu.Lock()
	if delete(m.failed, a.Addr); err != nil {
		if len(m.failed) >= maxMembers {
			clear(m.failed)
		}
		m.failed[a.Addr] = err
	}
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if wrapped, ok := m.track(c, nil, math.MaxInt); ok {
		return wrapped, nil
	}
	return nil, net.ErrClosed
}

// lastDial is the error of the last dial of an address, or nil.
func (m *mux) lastDial(addr string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[addr]
}

// track notes a connection, so that Shutdown can end it, or closes it if there
// are more than limit.
func (m *mux) track(c net.Conn, head []byte, limit int) (*conn, bool) {
	wrapped := &conn{Conn: c, head: head}
	wrapped.closed = func() {
		m.mu.Lock()
		delete(m.open, wrapped)
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if full := len(m.open) >= limit; full || m.stopped() {
		if full {
			m.ledger.count("stream-full")
		}
		c.Close()
		return nil, false
	}
	m.open[wrapped] = struct{}{}
	return wrapped, true
}

// otherLabel refuses what belongs to another cluster, or to another program.
func (m *mux) otherLabel(label string, from net.Addr) {
	cluster, ours := strings.CutPrefix(label, labelPrefix)
	if !ours || checkText(cluster) != nil {
		m.foreign(from, "label of another program")
		return
	}
	m.ledger.count("other-cluster")
	m.ledger.find(foundOtherCluster, hostOf(from.String()), "a member of cluster "+cluster+" at "+hostOf(from.String())+" sends to this port")
}

// foreign refuses what no Doyen has sent.
func (m *mux) foreign(from net.Addr, what string) {
	m.ledger.count("foreign-program")
	m.ledger.find(foundForeign, hostOf(from.String()), what+" from "+hostOf(from.String()))
}

// hostOf is the host of a host:port; the port of a caller says nothing.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
