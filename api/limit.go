package api

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxRemote limits connections from other hosts together.
	maxRemote = 256
	// maxFromHost limits connections from one address, loopback included.
	maxFromHost = 64
)

// limited is a listener that closes connections beyond the limits as soon as
// it has accepted them. It never leaves them waiting: the port is shared with
// gossip, and a queue that nobody empties would end there.
type limited struct {
	net.Listener
	refused *refusals

	mu     sync.Mutex
	remote int
	from   map[netip.Addr]int
}

func newLimited(ln net.Listener, refused *refusals) *limited {
	return &limited{Listener: ln, refused: refused, from: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := origin(c.RemoteAddr())
		if why, ok := l.take(host); !ok {
			l.refused.count(why)
			c.Close()
			continue
		}
		return &counted{Conn: c, give: sync.OnceFunc(func() { l.give(host) })}, nil
	}
}

// take counts a connection in, or says why it is one too many. Loopback is
// left out of the sum, so that a flood from outside cannot lock it out.
func (l *limited) take(host netip.Addr) (why refusal, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.from[host] >= maxFromHost:
		return tooManyFromHost, false
	case !host.IsLoopback() && l.remote >= maxRemote:
		return tooManyConnections, false
	}
	l.from[host]++
	if !host.IsLoopback() {
		l.remote++
	}
	return 0, true
}

func (l *limited) give(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[host]--; l.from[host] == 0 {
		delete(l.from, host)
	}
	if !host.IsLoopback() {
		l.remote--
	}
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	give func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.give()
	return c.Conn.Close()
}

// origin is whom a connection counts for: an IPv4 address, or the /64 of an
// IPv6 address, of which one host can use any. Addresses that are no IP count
// as one.
func origin(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	host := ap.Addr().WithZone("")
	if host.Is6() && !host.IsLoopback() {
		prefix, _ := host.Prefix(64)
		return prefix.Addr()
	}
	return host
}
