// Package simnet is a network in memory for tests: every host is a transport
// for gossip.Config.Transport. Unlike memberlist's MockNetwork it has hosts
// that die and come back, and links that can be cut in one direction or both.
// It uses nothing but channels and timers, so it works in synctest bubbles.
//
// Internal to Doyen: no promise.
package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// queue is how many packets a host takes in before it loses some.
const queue = 4096

// dialLimit is how long a dial over a cut link takes at most.
const dialLimit = 2 * time.Second

// Network connects hosts. The zero value is ready for use.
type Network struct {
	// Latency is how long a packet takes; a dial takes twice that. Set it before
	// there are hosts.
	Latency time.Duration
	// Buffered has a write to a connection return at once, as TCP has it, and not only
	// when the other end has read it. Set it before there are hosts.
	Buffered bool

	mu    sync.Mutex
	hosts map[netip.AddrPort]*Host
	cut   func(from, to netip.AddrPort) bool
	next  uint32
	dials int
}

// Host is one end: a transport with an address.
type Host struct {
	net                                  *Network
	addr                                 netip.AddrPort
	packets                              chan *memberlist.Packet
	streams                              chan net.Conn
	done                                 chan struct{}
	once                                 sync.Once
	packetsSent, connsDialled, bytesSent atomic.Uint64
}

// Traffic is what a host has sent: packets and connections, and the bytes of
// both, as its own programs count them, without headers of the network.
type Traffic struct{ Packets, Conns, Bytes uint64 }

// Sent returns what the host has sent so far.
func (h *Host) Sent() Traffic {
	return Traffic{Packets: h.packetsSent.Load(), Conns: h.connsDialled.Load(), Bytes: h.bytesSent.Load()}
}

var _ memberlist.NodeAwareTransport = (*Host)(nil)

// Host returns a host with an address of its own, 10.0.0.1:4000 the first.
func (n *Network) Host() *Host { return n.HostAt(n.NextAddr()) }

// NextAddr returns an address that no other host gets, for HostAt or Begin.
func (n *Network) NextAddr() netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.next >> 16), byte(n.next >> 8), byte(n.next)}), 4000)
}

// HostAt returns a host at an address that no running host has.
func (n *Network) HostAt(addr netip.AddrPort) *Host {
	h, err := n.Begin(addr)
	if err != nil {
		panic("simnet: two hosts at " + addr.String())
	}
	return h
}

// Begin returns a host at an address. It is an error if a running host has that.
func (n *Network) Begin(addr netip.AddrPort) (*Host, error) {
	h := &Host{
		net: n, addr: addr, packets: make(chan *memberlist.Packet, queue),
		streams: make(chan net.Conn), done: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[netip.AddrPort]*Host{}
	}
	if _, ok := n.hosts[addr]; ok {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	n.hosts[addr] = h
	return h, nil
}

// Cut loses from now on what cut says; nil: nothing.
func (n *Network) Cut(cut func(from, to netip.AddrPort) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// Dials is how often anybody has dialled.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// route returns the host at an address, nil if there is none, and whether the
// link there, or the way back, is cut.
func (h *Host) route(addr string) (to *Host, there, back bool, err error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, false, false, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if cut := h.net.cut; cut != nil {
		there, back = cut(h.addr, a), cut(a, h.addr)
	}
	return h.net.hosts[a], there, back, nil
}

// Addr is the host's address.
func (h *Host) Addr() netip.AddrPort { return h.addr }

// FinalAdvertiseAddr implements memberlist.Transport.
func (h *Host) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return h.addr.Addr().AsSlice(), int(h.addr.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (h *Host) WriteTo(b []byte, addr string) (time.Time, error) {
	h.packetsSent.Add(1)
	h.bytesSent.Add(uint64(len(b)))
	to, cut, _, err := h.route(addr)
	if err != nil || cut || to == nil {
		return time.Now(), err
	}
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(h.addr), Timestamp: time.Now()}
	deliver := func() {
		select {
		case to.packets <- p:
		default:
		}
	}
	if h.net.Latency > 0 {
		time.AfterFunc(h.net.Latency, deliver)
	} else {
		deliver()
	}
	return time.Now(), nil
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (h *Host) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return h.WriteTo(b, a.Addr)
}

// PacketCh implements memberlist.Transport.
func (h *Host) PacketCh() <-chan *memberlist.Packet { return h.packets }

// StreamCh implements memberlist.Transport.
func (h *Host) StreamCh() <-chan net.Conn { return h.streams }

// DialTimeout implements memberlist.Transport. Where no host is, it is refused;
// over a cut link it times out.
func (h *Host) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, there, back, err := h.route(addr)
	if err != nil {
		return nil, err
	}
	h.connsDialled.Add(1)
	h.net.mu.Lock()
	h.net.dials++
	h.net.mu.Unlock()
	time.Sleep(2 * h.net.Latency)
	late := time.NewTimer(min(timeout, dialLimit))
	defer late.Stop()
	if there || back {
		select {
		case <-late.C:
		case <-h.done:
		}
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ETIMEDOUT)
	}
	if to == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	mine, theirs := net.Pipe()
	if h.net.Buffered {
		mine, theirs = buffered()
	}
	select {
	case to.streams <- end{theirs, to, h.addr}:
		return end{mine, h, to.addr}, nil
	case <-to.done:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	case <-late.C:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ETIMEDOUT)
	}
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (h *Host) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return h.DialTimeout(a.Addr, timeout)
}

// Shutdown implements memberlist.Transport: the host is gone from the network.
func (h *Host) Shutdown() error {
	h.once.Do(func() {
		h.net.mu.Lock()
		delete(h.net.hosts, h.addr)
		h.net.mu.Unlock()
		close(h.done)
	})
	return nil
}

// end is one end of a connection that knows where the other is.
type end struct {
	net.Conn
	host *Host
	peer netip.AddrPort
}

// Write implements net.Conn.
func (e end) Write(b []byte) (int, error) {
	e.host.bytesSent.Add(uint64(len(b)))
	return e.Conn.Write(b)
}

// RemoteAddr implements net.Conn.
func (e end) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(e.peer) }
