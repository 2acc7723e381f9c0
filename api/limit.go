package api

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxRemote limits connections from other hosts together.
	maxRemote = 256
	// maxFromHost limits connections from one address, of which event streams may
	// hold maxStreamsFromHost.
	maxFromHost = 64
	// maxLoopback limits connections from loopback. Beside all event streams and holds
	// that there may be it leaves as many places as one host has for short calls.
	maxLoopback = maxStreams + maxHolds + maxFromHost
)

// limited is a listener that keeps the number of connections within the
// limits. It never leaves one waiting: the port is shared with gossip, and a
// queue that is not emptied would end there. Beyond a limit the newcomer takes
// the place of the connection that has waited longest for its next call, of the
// host that has the most: so a host that fills all places, from however many
// addresses, keeps out no client that has something to ask.
type limited struct {
	net.Listener
	server *Server

	mu     sync.Mutex
	remote int
	from   map[netip.Addr]int
	open   map[*conn]struct{}
}

func newLimited(ln net.Listener, s *Server) *limited {
	return &limited{Listener: ln, server: s, from: map[netip.Addr]int{}, open: map[*conn]struct{}{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, limited: l, host: origin(raw.RemoteAddr().String()), waits: time.Now()}
		evicted, why, ok := l.take(c)
		if evicted != nil {
			evicted.cut()
		}
		if !ok || evicted != nil {
			l.server.api.refused.count(why)
		}
		if ok {
			return c, nil
		}
		raw.Close()
	}
}

// take gives a connection a place, perhaps another's, or says why there
// is none. Loopback is left out of the sum, so that a flood from outside cannot
// lock it out.
func (l *limited) take(c *conn) (evicted *conn, why refusal, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.from[c.host] >= maxFrom(c.host):
		why = tooManyFromHost
		evicted = l.longestWaiting(func(o *conn) bool { return o.host == c.host })
	case !c.host.IsLoopback() && l.remote >= maxRemote:
		why = tooManyConnections
		evicted = l.longestWaiting(func(o *conn) bool { return !o.host.IsLoopback() })
	default:
		l.add(c, 1)
		return nil, 0, true
	}
	if evicted == nil {
		return nil, why, false
	}
	l.add(evicted, -1)
	l.add(c, 1)
	return evicted, why, true
}

// maxFrom is how many connections a host may have.
func maxFrom(host netip.Addr) int {
	if host.IsLoopback() {
		return maxLoopback
	}
	return maxFromHost
}

// longestWaiting returns, with mu held, the connection to take a place from, nil if every
// connection is being answered.
func (l *limited) longestWaiting(among func(*conn) bool) *conn {
	var first *conn
	for c := range l.open {
		if c.waits.IsZero() || !among(c) {
			continue
		}
		if first == nil || l.from[c.host] > l.from[first.host] ||
			l.from[c.host] == l.from[first.host] && c.waits.Before(first.waits) {
			first = c
		}
	}
	return first
}

// add counts, with mu held, a connection in or out.
func (l *limited) add(c *conn, n int) {
	if n > 0 {
		l.open[c] = struct{}{}
	} else {
		delete(l.open, c)
	}
	if l.from[c.host] += n; l.from[c.host] == 0 {
		delete(l.from, c.host)
	}
	if !c.host.IsLoopback() {
		l.remote += n
	}
}

// give takes a connection's place back, unless another has it already.
func (l *limited) give(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; ok {
		l.add(c, -1)
	}
}

// note keeps since when a connection waits for its next call; the zero time
// while one is being answered.
func (l *limited) note(c *conn, waits time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.waits = waits
}

// origin is the host that a connection counts for: an IPv4 address, or the /64 of an
// IPv6 address, of which one host can use any. All of loopback is one, and so
// are addresses that are no IP.
func origin(addr string) netip.Addr {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Addr{}
	}
	host := ap.Addr().Unmap().WithZone("")
	if host.IsLoopback() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if host.Is6() {
		prefix, _ := host.Prefix(64)
		return prefix.Addr()
	}
	return host
}
