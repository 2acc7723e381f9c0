//go:build linux

package floatingip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echo answers UDP packets to the floating addresses, and to others, while they are there.
func (h *host) echo(others ...netip.Addr) {
	h.t.Helper()
	free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		ctlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		return errors.Join(err, ctlErr)
	}}
	h.do(func() {
		for _, ip := range append(others, float4, float6) {
			conn, err := free.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(ip, 7).String())
			must(h.t, err)
			h.t.Cleanup(func() { conn.Close() })
			go func() {
				buffer := make([]byte, 64)
				for {
					n, from, err := conn.ReadFrom(buffer)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err == nil {
						conn.WriteTo(buffer[:n], from)
					}
				}
			}()
		}
	})
}

// asks reports whether ip answers within limit a UDP packet of this host.
func (h *host) asks(ip netip.Addr, limit time.Duration) bool {
	answered := false
	h.do(func() {
		conn, err := net.Dial("udp", netip.AddrPortFrom(ip, 7).String())
		must(h.t, err)
		defer conn.Close()
		buffer := make([]byte, 8)
		for end := time.Now().Add(limit); !answered && time.Now().Before(end); {
			conn.Write([]byte("hello"))
			conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := conn.Read(buffer)
			answered = err == nil
		}
	})
	return answered
}

// countLost asks ip again and again, one UDP packet at a time, until the function
// that it returns is called; that one returns how many were not answered.
func (h *host) countLost(ip netip.Addr) func() int {
	var conn net.Conn
	h.do(func() {
		var err error
		conn, err = net.Dial("udp", netip.AddrPortFrom(ip, 7).String())
		must(h.t, err)
	})
	stop, lost := make(chan struct{}), make(chan int)
	go func() {
		defer conn.Close()
		n, buffer := 0, make([]byte, 8)
		for {
			select {
			case <-stop:
				lost <- n
				return
			default:
			}
			conn.Write([]byte("hello"))
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Read(buffer); err != nil {
				n++
			}
		}
	}()
	return func() int { close(stop); return <-lost }
}

// ear hears every frame that a host's eth0 gets, of one protocol.
type ear struct {
	fd, index int
	mac       net.HardwareAddr
	mu        sync.Mutex
	heard     [][]byte
}

func (h *host) listen(protocol uint16) *ear {
	h.t.Helper()
	e := new(ear)
	h.do(func() {
		l := link(h.t, "eth0").Attrs()
		e.index, e.mac = l.Index, l.HardwareAddr
		swapped := protocol<<8 | protocol>>8
		var err error
		e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(swapped))
		must(h.t, err)
		must(h.t, unix.Bind(e.fd, &unix.SockaddrLinklayer{Protocol: swapped, Ifindex: e.index}))
		must(h.t, unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	h.t.Cleanup(func() { close(stop); <-stopped; unix.Close(e.fd) })
	go func() {
		defer close(stopped)
		buffer := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(e.fd, buffer, 0)
			select {
			case <-stop:
				return
			default:
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			e.mu.Lock()
			e.heard = append(e.heard, bytes.Clone(buffer[:n]))
			e.mu.Unlock()
		}
	}()
	return e
}

// count returns how many heard frames match.
func (e *ear) count(match func([]byte) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, frame := range e.heard {
		if match(frame) {
			n++
		}
	}
	return n
}

// whoHas broadcasts an ARP request for ip from the given address.
func (e *ear) whoHas(t testing.TB, ip, from netip.Addr) {
	frame := append(bytes.Repeat([]byte{0xff}, 6), e.mac...)
	frame = append(frame, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(append(frame, e.mac...), from.AsSlice()...)
	frame = append(append(frame, 0, 0, 0, 0, 0, 0), ip.AsSlice()...)
	if err := unix.Sendto(e.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: e.index}); err != nil {
		t.Error(err)
	}
}

// arpFrom matches ARP packets of one operation that say they are from ip.
func arpFrom(ip netip.Addr, op byte) func([]byte) bool {
	return func(f []byte) bool { return len(f) >= 42 && f[21] == op && bytes.Equal(f[28:32], ip.AsSlice()) }
}

// advertOf matches neighbour advertisements of ip.
func advertOf(ip netip.Addr) func([]byte) bool {
	return func(f []byte) bool {
		return len(f) >= 86 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 136 && bytes.Equal(f[62:78], ip.AsSlice())
	}
}

// arpReplyTo matches ARP replies from ip to the asker at another address, which
// announcements are not.
func arpReplyTo(asker, ip netip.Addr) func([]byte) bool {
	reply := arpFrom(ip, 2)
	return func(f []byte) bool { return reply(f) && bytes.Equal(f[38:42], asker.AsSlice()) }
}

// advertTo matches neighbour advertisements of ip to the asker at another address.
func advertTo(asker, ip netip.Addr) func([]byte) bool {
	advert := advertOf(ip)
	return func(f []byte) bool { return advert(f) && bytes.Equal(f[38:54], asker.AsSlice()) }
}

// solicit multicasts a neighbour solicitation for ip from the given address.
func (e *ear) solicit(t testing.TB, ip, from netip.Addr) {
	target := ip.As16()
	group := append([]byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}, target[13:]...)
	icmp := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
	icmp = append(append(icmp, 1, 1), e.mac...)
	source := from.As16()
	sum := checksum(source[:], group, []byte{0, 0, 0, byte(len(icmp)), 0, 0, 0, unix.IPPROTO_ICMPV6}, icmp)
	icmp[2], icmp[3] = byte(sum>>8), byte(sum)
	frame := append([]byte{0x33, 0x33, 0xff}, target[13:]...)
	frame = append(append(frame, e.mac...), 0x86, 0xdd)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, 255)
	frame = append(append(append(frame, source[:]...), group...), icmp...)
	if err := unix.Sendto(e.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: e.index}); err != nil {
		t.Error(err)
	}
}

// hearsOwn reports whether the other host still answers ARP for its own address.
func (h *host) hearsOwn() bool {
	h.t.Helper()
	e := h.listen(unix.ETH_P_ARP)
	own := netip.MustParseAddr("10.9.8.1")
	for range 100 {
		e.whoHas(h.t, own, netip.MustParseAddr("10.9.8.2"))
		time.Sleep(10 * time.Millisecond)
		if e.count(arpFrom(own, 2)) > 0 {
			return true
		}
	}
	return false
}
