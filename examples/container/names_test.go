//go:build linux

package container

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"doyen/examples/internal/lan"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer knows only the name of the service, and answers with all its addresses.
type nameServer struct {
	mu    sync.Mutex
	addrs []netip.Addr
}

// serveNames answers at addr until the test ends.
func serveNames(t *testing.T, l *lan.LAN, addr string) *nameServer {
	t.Helper()
	s := &nameServer{}
	var conn net.PacketConn
	err := l.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", net.JoinHostPort(addr, "53"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n]); answer != nil {
				conn.WriteTo(answer, from) // if it fails, the client asks again
			}
		}
	}()
	return s
}

// set sets the addresses of the service.
func (s *nameServer) set(addrs []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = addrs
}

// answer returns the answer to a packet, or nil if the packet is not valid.
func (s *nameServer) answer(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	if strings.TrimSuffix(q.Name.String(), ".") != service {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, a := range s.addrs {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	b, _ := m.Pack() // it was unpacked, so it can be packed
	return b
}
