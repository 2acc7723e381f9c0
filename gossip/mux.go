package gossip

import (
	"container/list"
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
	// packetBacklog is how many packets wait for memberlist, which sends while it
	// handles one: two members must not wait for each other.
	packetBacklog = 1024
	// maxPacket is the longest packet: the longest message of the core with its
	// label and encryption. Gossip fills packets only up to 1400 bytes.
	maxPacket = 2048
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
	guests *guests
	sealed bool // there are keys, and what is not encrypted is refused
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

func newMux(inner memberlist.NodeAwareTransport, label string, sealed bool, l *ledger, members func() int) *mux {
	return &mux{
		NodeAwareTransport: inner, label: label, sealed: sealed, ledger: l,
		guests:  newGuests(members, func() { l.count("stream-full") }),
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
	if len(p.Buf) > maxPacket {
		m.ledger.count("packet-too-long")
		return
	}
	switch first := p.Buf[0]; {
	case first == willByte:
		m.will(p.Buf)
	case first == labelByte:
		rest, label, err := memberlist.RemoveLabelHeaderFromPacket(p.Buf)
		switch {
		case err != nil:
			m.ledger.count("packet-malformed")
		case label != m.label:
			m.otherLabel(label, p.From)
		case !m.started.Load():
			m.ledger.count("packet-before-start")
		case !m.sealed && checkPacket(rest) != nil:
			m.ledger.count("packet-malformed")
		case m.sealed && checkSealedPacket(rest) != nil:
			m.ledger.undecryptable(p.From.String())
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

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (m *mux) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := m.dial(a, timeout)
	if err != nil {
		return nil, err
	}
	c.check = m.judge
	return c, nil
}

// dial connects to another member. memberlist turns the error into text, so it
// is kept here for the joiner.
func (m *mux) dial(a memberlist.Address, timeout time.Duration) (*conn, error) {
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
	wrapped, ok := m.track(c, nil)
	if !ok {
		return nil, net.ErrClosed
	}
	return wrapped, nil
}

// lastDial is the error of the last dial of an address, or nil.
func (m *mux) lastDial(addr string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[addr]
}

// track notes a connection, so that Shutdown can end it.
func (m *mux) track(c net.Conn, head []byte) (*conn, bool) {
	wrapped := &conn{Conn: c, head: head}
	wrapped.closed = func() {
		m.mu.Lock()
		delete(m.open, wrapped)
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped() {
		c.Close()
		return nil, false
	}
	m.open[wrapped] = struct{}{}
	return wrapped, true
}

// guest does the same for a connection that another has made.
func (m *mux) guest(c net.Conn, head []byte) (*conn, bool) {
	wrapped, ok := m.track(c, head)
	if ok {
		m.guests.enter(wrapped)
	}
	return wrapped, ok
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
