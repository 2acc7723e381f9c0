package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// dialLimit bounds one attempt to connect. A healed link answers within
	// the first retransmission of the SYN, a second after the first.
	dialLimit = 2 * time.Second
	// stallLimit is how long what a member sends another by TCP may stay unacknowledged.
	stallLimit = 2 * time.Second
	// receiveBuffer is what the UDP socket asks for; the kernel may give less.
	receiveBuffer = 2 << 20
	// portTries bounds the search for a port that is free for TCP and UDP.
	portTries = 32
	// acceptPause is how long to wait when a connection cannot be accepted,
	// because the process has no descriptor left, for instance.
	acceptPause = 50 * time.Millisecond
)

// Sockets is the transport of a real member: one TCP and one UDP socket on the
// same address and port. It hands everything on unsorted; see Port.
type Sockets struct {
	bind      netip.Addr
	TCP       *net.TCPListener
	UDP       *net.UDPConn
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	advertise netip.AddrPort
	life      context.Context // ends with the sockets, and ends every dial
	end       context.CancelFunc
	once      sync.Once
	wg        sync.WaitGroup
}

// Listen binds addr for TCP and UDP. Port 0 means one that is free for both.
func Listen(addr netip.Addr, port int) (*Sockets, error) {
	s := &Sockets{bind: addr, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn)}
	var err error
	for range portTries {
		if err = s.open(port); err == nil || port != 0 {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("bind-port %d is taken on %s by another program: %w", port, addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("bind-addr %s is no address of this host: %w", addr, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("bind-port %d may not be used by this user: %w", port, err)
	case err != nil:
		return nil, fmt.Errorf("bind-addr %s, bind-port %d: %w", addr, port, err)
	}
	// A small buffer loses packets under load, which gossip survives.
	_ = s.UDP.SetReadBuffer(receiveBuffer)
	s.life, s.end = context.WithCancel(context.Background())
	s.wg.Add(2)
	go s.accept()
	go s.receive()
	return s, nil
}

// open opens both sockets or none. 0.0.0.0 is IPv4 alone, :: both families.
func (s *Sockets) open(port int) error {
	suffix := ""
	switch {
	case s.bind.Is4():
		suffix = "4"
	case !s.bind.IsUnspecified():
		suffix = "6"
	}
	tcp, err := net.ListenTCP("tcp"+suffix, net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.bind, uint16(port))))
	if err != nil {
		return err
	}
	bound := tcp.Addr().(*net.TCPAddr).AddrPort().Port()
	udp, err := net.ListenUDP("udp"+suffix, net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.bind, bound)))
	if err != nil {
		tcp.Close()
		return err
	}
	s.TCP, s.UDP = tcp, udp
	return nil
}

// Port is the port bound.
func (s *Sockets) Port() uint16 { return s.TCP.Addr().(*net.TCPAddr).AddrPort().Port() }

// accept takes connections until the listener is closed.
func (s *Sockets) accept() {
	defer s.wg.Done()
	for {
		c, err := s.TCP.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-s.life.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case s.streams <- c:
		case <-s.life.Done():
			c.Close()
		}
	}
}

// receive takes packets until the socket is closed. memberlist keeps what it
// is given, so each packet gets memory of its own, of its own size.
func (s *Sockets) receive() {
	defer s.wg.Done()
	buf := make([]byte, MaxPacket+1) // what is longer is refused
	for {
		n, from, err := s.UDP.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		p := &memberlist.Packet{
			Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now(),
		}
		select {
		case s.packets <- p:
		case <-s.life.Done():
			return
		}
	}
}

// Advertise sets the address at which others are told to reach this member. It is
// called before memberlist starts.
func (s *Sockets) Advertise(addr netip.AddrPort) { s.advertise = addr }

// FinalAdvertiseAddr implements memberlist.Transport.
func (s *Sockets) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(s.advertise.Addr().AsSlice()), int(s.advertise.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (s *Sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.UDP.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (s *Sockets) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return s.WriteTo(b, a.Addr)
}

// PacketCh implements memberlist.Transport.
func (s *Sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }

// StreamCh implements memberlist.Transport.
func (s *Sockets) StreamCh() <-chan net.Conn { return s.streams }

// DialTimeout implements memberlist.Transport. A member bound to one address
// calls from that address, so that firewalls and peers see the same one.
func (s *Sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: min(timeout, dialLimit), Control: endStalled}
	if !s.bind.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.bind, 0))
	}
	return d.DialContext(s.life, "tcp", addr)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *Sockets) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(a.Addr, timeout)
}

// Shutdown implements memberlist.Transport.
func (s *Sockets) Shutdown() error {
	var err error
	s.once.Do(func() {
		s.end()
		err = errors.Join(s.TCP.Close(), s.UDP.Close())
	})
	s.wg.Wait()
	return err
}
