package transport

import "sync"

// limit are the connections that others have made to this member and that
// gossip has taken, and the memory that they hold. Beyond the room there is,
// the heaviest connection of the host that weighs most is closed, and of equal
// ones the oldest: so a host that fills the room, with many connections or with one,
// keeps no other out. What members want of each other takes milliseconds.
type limit struct {
	members func() int // how many others there are
	full    func()     // called when one is closed for want of room

	mu     sync.Mutex
	open   map[*conn]struct{}
	weight int // of all
	next   uint64
}

const (
	// connWeight is what a connection weighs without what it sends: stacks and
	// buffers. What it sends weighs byteWeight a byte, for it is copied when it
	// is decrypted and decoded; what it is sent weighs one.
	connWeight = 8 << 10
	byteWeight = 3
	// connRoom is what all may weigh together, and memberRoom how much more for
	// each member, whose state is part of every exchange.
	connRoom   = 2 << 20
	memberRoom = 16 << 10
)

func newLimit(members func() int, full func()) *limit {
	return &limit{members: members, full: full, open: map[*conn]struct{}{}}
}

// enter takes a connection in.
func (g *limit) enter(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	c.limit, c.number, c.host = g, g.next, HostOf(c.RemoteAddr().String())
	g.open[c] = struct{}{}
	g.add(c, connWeight)
}

// hold adds what a connection has come to hold.
func (g *limit) hold(c *conn, weight int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[c]; ok {
		g.add(c, weight)
	}
}

// leave takes a connection out.
func (g *limit) leave(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[c]; ok {
		delete(g.open, c)
		g.weight -= c.weight
	}
}

// add makes, with mu held, a connection heavier, and room if need be.
func (g *limit) add(c *conn, weight int) {
	c.weight += weight
	g.weight += weight
	room := connRoom + g.members()*memberRoom
	for g.weight > room {
		heaviest := g.heaviest()
		delete(g.open, heaviest)
		g.weight -= heaviest.weight
		g.full()
		heaviest.Conn.Close() // its reader sees that and ends
	}
}

// heaviest returns, with mu held, the connection to close.
func (g *limit) heaviest() *conn {
	hosts := map[string]int{}
	for c := range g.open {
		hosts[c.host] += c.weight
	}
	var first *conn
	for c := range g.open {
		if first == nil || c.before(first, hosts) {
			first = c
		}
	}
	return first
}

// before reports whether c is to be closed rather than o.
func (c *conn) before(o *conn, hosts map[string]int) bool {
	switch {
	case hosts[c.host] != hosts[o.host]:
		return hosts[c.host] > hosts[o.host]
	case c.weight != o.weight:
		return c.weight > o.weight
	}
	return c.number < o.number
}
