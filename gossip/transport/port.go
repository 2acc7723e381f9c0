package transport

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/findings"
)

// The first byte of a packet or a connection says whose it is.
const (
	AskByte    = 0xD9 // a question to this member
	WillByte   = 0xDA // a leader's will
	StreamByte = 0xDB // a stream of messages between two members
	LabelByte  = 244  // memberlist's label, before everything that it sends
	tlsByte    = 0x16 // a TLS handshake, which can only be meant for HTTP
	// lastMemberlistByte is the highest byte that begins a packet of a
	// memberlist without a label, or with an encryption version in its place.
	lastMemberlistByte = 13
)

const (
	// packetBacklog is how many packets wait for memberlist, which sends while it
	// handles one: two members must not wait for each other.
	packetBacklog = 1024
	// MaxWill is the longest will.
	MaxWill = 2048
	// MaxPacket is the longest packet: the longest message of the core with its
	// label and encryption. Gossip fills packets only up to 1400 bytes.
	MaxPacket = 2048
)

// Config is what a Port needs. All fields are required.
type Config struct {
	// Inner is the transport under it: Sockets, or a simulated network.
	Inner memberlist.NodeAwareTransport
	// Addr is the address of the listener of HTTP.
	Addr net.Addr
	// Label stands before everything that members of this group send.
	Label string
	// ClusterOf returns the cluster that a label is of, and false for a label of
	// another program.
	ClusterOf func(label string) (string, bool)
	// Sealed: there are keys, and what is not encrypted is refused.
	Sealed bool
	// Findings takes down what is refused.
	Findings *findings.Record
	// Others is how many others there are: the room for their connections.
	Others func() int
	// Will takes a will packet, Ask answers the question on a connection, Talk
	// serves a stream; nil: none is taken.
	Will func(packet []byte)
	Ask  func(net.Conn)
	Talk func(net.Conn)
	// Route turns the address by which memberlist knows a member into the one at
	// which it is reached.
	Route func(memberlist.Address) memberlist.Address
}

// Port is the transport that memberlist is given: it stands before the real one
// and takes out what shares the port with gossip. Nothing that a stranger does
// on one connection delays another: each is read in its own goroutine, under a
// deadline, and their number is bounded.
type Port struct {
	cfg   Config
	http  *httpListener
	limit *limit

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

// New returns a port that does not read yet.
func New(c Config) *Port {
	return &Port{
		cfg: c, http: newHTTPListener(c.Addr), limit: newLimit(c.Others, func() { c.Findings.Count("stream-full") }),
		packets: make(chan *memberlist.Packet, packetBacklog), streams: make(chan net.Conn),
		done: make(chan struct{}), undecided: list.New(),
		open: map[*conn]struct{}{}, failed: map[string]error{},
	}
}

// Run begins to read; Shutdown ends it.
func (m *Port) Run() {
	m.wg.Add(2)
	go m.readPackets()
	go m.readStreams()
}

// Start lets what belongs to memberlist in; before, nothing reads it.
func (m *Port) Start() { m.started.Store(true) }

// Label is the label of this group.
func (m *Port) Label() string { return m.cfg.Label }

// HTTP returns the listener of what speaks HTTP on the port. Before the first call
// such connections are closed, for nothing would answer.
func (m *Port) HTTP() net.Listener {
	m.http.want()
	return m.http
}

// Held returns what the connections that others have made weigh now; see limit.
func (m *Port) Held() int {
	m.limit.mu.Lock()
	defer m.limit.mu.Unlock()
	return m.limit.weight
}

// PacketCh implements memberlist.Transport.
func (m *Port) PacketCh() <-chan *memberlist.Packet { return m.packets }

// StreamCh implements memberlist.Transport.
func (m *Port) StreamCh() <-chan net.Conn { return m.streams }

// Shutdown implements memberlist.Transport. It closes the port and every
// connection but those that HTTP has taken, and returns when nothing reads any
// more. It may be called more than once.
func (m *Port) Shutdown() error {
	var err error
	m.once.Do(func() {
		close(m.done)
		err = m.cfg.Inner.Shutdown()
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

func (m *Port) stopped() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// readPackets sorts the packets.
func (m *Port) readPackets() {
	defer m.wg.Done()
	for {
		select {
		case <-m.done:
			return
		case p := <-m.cfg.Inner.PacketCh():
			m.packet(p)
		}
	}
}

// packet passes one packet on, or refuses it with a reason.
func (m *Port) packet(p *memberlist.Packet) {
	if len(p.Buf) == 0 {
		m.cfg.Findings.Count("packet-empty")
		return
	}
	if len(p.Buf) > MaxPacket {
		m.cfg.Findings.Count("packet-too-long")
		return
	}
	switch first := p.Buf[0]; {
	case first == WillByte:
		m.cfg.Will(p.Buf)
	case first == LabelByte:
		rest, label, err := memberlist.RemoveLabelHeaderFromPacket(p.Buf)
		switch {
		case err != nil:
			m.cfg.Findings.Count("packet-malformed")
		case label != m.cfg.Label:
			m.otherLabel(label, p.From)
		case !m.started.Load():
			m.cfg.Findings.Count("packet-before-start")
		case !m.cfg.Sealed && checkPacket(rest) != nil:
			m.cfg.Findings.Count("packet-malformed")
		case m.cfg.Sealed && checkSealedPacket(rest) != nil:
			m.cfg.Findings.Undecryptable(HostOf(p.From.String()))
		default:
			select {
			case m.packets <- p:
			default:
				m.cfg.Findings.Count("packet-overflow")
			}
		}
	case first <= lastMemberlistByte:
		m.foreign(p.From, "packet of a memberlist without a label")
	default:
		m.cfg.Findings.Count("packet-unknown")
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (m *Port) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return m.cfg.Inner.FinalAdvertiseAddr(ip, port)
}

// WriteTo implements memberlist.Transport.
func (m *Port) WriteTo(b []byte, addr string) (time.Time, error) { return m.cfg.Inner.WriteTo(b, addr) }

// DialTimeout implements memberlist.Transport.
func (m *Port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return m.cfg.Inner.DialTimeout(addr, timeout)
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (m *Port) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return m.cfg.Inner.WriteToAddress(b, m.cfg.Route(a))
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (m *Port) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := m.connect(a, timeout)
	if err != nil {
		return nil, err
	}
	c.check = m.judge
	return c, nil
}

// Dial connects to another member, for what memberlist does not read.
func (m *Port) Dial(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := m.connect(a, timeout)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// connect connects to another member. memberlist turns the error into text, so it
// is kept here for the joiner.
func (m *Port) connect(a memberlist.Address, timeout time.Duration) (*conn, error) {
	c, err := m.cfg.Inner.DialAddressTimeout(m.cfg.Route(a), timeout)
	m.mu.Lock()
	if delete(m.failed, a.Addr); err != nil {
		if len(m.failed) >= MaxMembers {
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

// LastDial is the error of the last dial of an address, or nil.
func (m *Port) LastDial(addr string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[addr]
}

// track notes a connection, so that Shutdown can end it.
func (m *Port) track(c net.Conn, head []byte) (*conn, bool) {
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

// limited does the same for a connection that another has made.
func (m *Port) limited(c net.Conn, head []byte) (*conn, bool) {
	wrapped, ok := m.track(c, head)
	if ok {
		m.limit.enter(wrapped)
	}
	return wrapped, ok
}

// otherLabel refuses what belongs to another cluster, or to another program.
func (m *Port) otherLabel(label string, from net.Addr) {
	cluster, ours := m.cfg.ClusterOf(label)
	if !ours {
		m.foreign(from, "label of another program")
		return
	}
	m.cfg.Findings.Count("other-cluster")
	m.cfg.Findings.Find(findings.OtherCluster, HostOf(from.String()), "a member of cluster "+cluster+" at "+HostOf(from.String())+" sends to this port")
}

// foreign refuses what no Doyen has sent.
func (m *Port) foreign(from net.Addr, what string) {
	m.cfg.Findings.Count("foreign-program")
	m.cfg.Findings.Find(findings.ForeignProgram, HostOf(from.String()), what+" from "+HostOf(from.String()))
}

// HostOf is the host of a host:port; the port of a caller says nothing.
func HostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
