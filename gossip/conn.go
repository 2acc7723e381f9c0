package gossip

import (
	"net"
	"sync"
)

// conn is a connection whose first bytes have been read already: they are read
// again first. Its end is told once.
type conn struct {
	net.Conn
	head   []byte
	once   sync.Once
	closed func()
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head)
	c.head = c.head[n:]
	return n, nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(c.closed)
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

// want lets connections in: without it they are closed at once, for nobody
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
