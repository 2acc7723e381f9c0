package transport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// A connection whose peer takes nothing more, as one behind a cut, is ended by the
// kernel; by itself it would try for a quarter of an hour.
func TestStalledConnectionsEnd(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	s, err := Listen(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	c, err := s.DialTimeout(peer.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := peer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	c.SetWriteDeadline(time.Now().Add(time.Minute))
	for err == nil {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("want the kernel to end it (%v), got %v", syscall.ETIMEDOUT, err)
	}
}
