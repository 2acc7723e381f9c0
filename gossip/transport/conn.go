package transport

import (
	"errors"
	"net"
	"slices"
	"sync"
)

// conn is a connection whose first bytes have been read already: they are read
// again first. Its end is told once.
type conn struct {
	net.Conn
	head   []byte
	once   sync.Once
	closed func()
	// check, if any, looks at what arrives before it is first read.
	check func(source) error

	// limit is where a connection that another has made is counted; its own
	// part of the count is guarded by limit.mu.
	limit  *limit
	host   string
	number uint64
	weight int
}

// maxExchange is the longest message of a connection: the states of as many
// members as there may be.
const maxExchange = 8 << 20

// errTooLong is returned for longer ones.
var errTooLong = errors.New("longer than any exchange of states")

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if check := c.check; check != nil {
		c.check = nil
		at := len(c.head)
		if err := check(func(n int) ([]byte, error) { return c.next(&at, n) }); err != nil {
			return 0, err
		}
	}
	if len(c.head) == 0 {
		return c.receive(p)
	}
	n := copy(p, c.head)
	c.head = c.head[n:]
	return n, nil
}

// next returns n bytes of the head from a place on, reading more if need be.
func (c *conn) next(at *int, n int) ([]byte, error) {
	if n > maxExchange-*at {
		return nil, errTooLong
	}
	for len(c.head) < *at+n {
		c.head = slices.Grow(c.head, max(*at+n-len(c.head), 512))
		got, err := c.receive(c.head[len(c.head):cap(c.head)])
		c.head = c.head[:len(c.head)+got]
		if err != nil && len(c.head) < *at+n {
			return nil, err
		}
	}
	*at += n
	return c.head[*at-n : *at], nil
}

// receive reads what has not been read yet.
func (c *conn) receive(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.limit != nil {
		c.limit.hold(c, n*byteWeight)
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.limit != nil {
		c.limit.hold(c, len(p))
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		if c.limit != nil {
			c.limit.leave(c)
		}
		c.closed()
	})
	return c.Conn.Close()
}

// httpBacklog is how many HTTP connections may wait to be accepted.
const httpBacklog = 64

// httpListener accepts the connections of the port that speak HTTP.
type httpListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}

	mu     sync.Mutex
	wanted bool // somebody means to accept
	closed bool
}

func newHTTPListener(addr net.Addr) *httpListener {
	return &httpListener{addr: addr, conns: make(chan net.Conn, httpBacklog), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *httpListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The port stays open for gossip.
func (l *httpListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.conns:
			c.Close()
		default:
			return nil
		}
	}
}

// want lets connections in: without it they are closed at once, for nothing
// would ever answer.
func (l *httpListener) want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = true
}

// Addr implements net.Listener.
func (l *httpListener) Addr() net.Addr { return l.addr }

// offer hands a connection over if somebody may accept it.
func (l *httpListener) offer(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !l.wanted {
		return false
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}
