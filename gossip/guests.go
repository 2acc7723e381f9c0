package gossip

import "sync"

// guests are the connections that others have made to this member and that
// gossip has taken, and the memory that they hold. Beyond the room there is,
// the heaviest connection of the host that weighs most is closed, and of equal
// ones the oldest: so whoever fills the room, with many connections or with one,
// keeps nobody else out. What members want of each other takes milliseconds.
type guests struct {
	members func() int // how many others there are
	full    func()     // called when one is closed for want of room

	mu     sync.Mutex
	open   map[*conn]struct{}
	weight int // of all
	next   uint64
}

const (
	// guestWeight is what a connection weighs without what it sends: stacks and
	// buffers. What it sends weighs byteWeight a byte, for it is copied when it
	// is decrypted and decoded; what it is sent weighs one.
	guestWeight = 8 << 10
	byteWeight  = 3
	// guestRoom is what all may weigh together, and memberRoom how much more for
	// each member, whose state is part of every exchange.
	guestRoom  = 2 << 20
	memberRoom = 16 << 10
)

func newGuests(members func() int, full func()) *guests {
	return &guests{members: members, full: full, open: map[*conn]struct{}{}}
}

// enter takes a connection in.
func (g *guests) enter(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	c.guests, c.number, c.host = g, g.next, hostOf(c.RemoteAddr().String())
	g.open[c] = struct{}{}
	g.add(c, guestWeight)
}

// hold adds what a connection has come to hold.
func (g *guests) hold(c *conn, weight int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[c]; ok {
		g.add(c, weight)
	}
}

// leave takes a connection out.
func (g *guests) leave(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[c]; ok {
		delete(g.open, c)
		g.weight -= c.weight
	}
}

// add makes, with mu held, a connection heavier, and room if need be.
func (g *guests) add(c *conn, weight int) {
	c.weight += weight
	g.weight += weight
	room := guestRoom + g.members()*memberRoom
	for g.weight > room {
		heaviest := g.heaviest()
		delete(g.open, heaviest)
		g.weight -= heaviest.weight
		g.full()
		heaviest.Conn.Close() // whoever reads it sees that and ends
	}
}

// heaviest returns, with mu held, the connection to close.
func (g *guests) heaviest() *conn {
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
