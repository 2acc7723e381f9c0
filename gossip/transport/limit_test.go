package transport

import (
	"net"
	"net/netip"
	"testing"
)

// stranger is a connection from an address that knows whether it was closed.
type stranger struct {
	net.Conn
	from   netip.AddrPort
	closed bool
}

func (s *stranger) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.from) }
func (s *stranger) Close() error         { s.closed = true; return nil }

// crowdOf is guests without members, and a way to let one in.
func crowdOf(members int) (g *limit, enter func(host string) (*conn, *stranger), closed *int) {
	closed = new(int)
	g = newLimit(func() int { return members }, func() { *closed++ })
	return g, func(host string) (*conn, *stranger) {
		s := &stranger{from: netip.MustParseAddrPort(host + ":1")}
		c := &conn{Conn: s, closed: func() {}}
		g.enter(c)
		return c, s
	}, closed
}

func TestGuestsMakeRoomForNewcomers(t *testing.T) {
	g, enter, closed := crowdOf(0)
	const most = connRoom / connWeight
	quiet, quietEnd := enter("10.0.0.1")
	oldest, oldestEnd := enter("10.0.0.2")
	for range most - 2 {
		enter("10.0.0.2")
	}
	if *closed != 0 {
		t.Errorf("want room for %d, got %d closed", most, *closed)
	}
	enter("10.0.0.3")
	if *closed != 1 || !oldestEnd.closed || quietEnd.closed {
		t.Errorf("want the oldest of the host with the most closed, got %d closed, %v and %v", *closed, oldestEnd.closed, quietEnd.closed)
	}
	big, bigEnd := enter("10.0.0.2")
	g.hold(big, connWeight)
	if !bigEnd.closed {
		t.Error("want the heaviest of that host closed before the others")
	}
	for _, c := range []*conn{oldest, big, quiet, quiet} {
		c.Close()
	}
	for c := range g.open {
		c.Close()
	}
	if g.weight != 0 || len(g.open) != 0 {
		t.Errorf("want nothing left, got %d open of weight %d", len(g.open), g.weight)
	}
}

// One connection may fill the room, and a greater group has more of it.
func TestGuestsAreBoundedByWhatTheyHold(t *testing.T) {
	for _, members := range []int{0, 100} {
		g, enter, _ := crowdOf(members)
		c, end := enter("10.0.0.1")
		other, otherEnd := enter("10.0.0.2")
		held := 0
		for ; !end.closed && held < 1<<30; held += 1 << 10 {
			g.hold(c, 1<<10)
		}
		want := connRoom + members*memberRoom - 2*connWeight
		if held < want || held > want+1<<10 || otherEnd.closed {
			t.Errorf("with %d members: want one closed after %d bytes, got %d, and the other closed: %v", members, want, held, otherEnd.closed)
		}
		other.Close()
	}
}
