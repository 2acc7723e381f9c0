package api

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// tlsByte begins a TLS handshake, and no request of HTTP.
const tlsByte = 0x16

// conn is a connection with a place among the limits. Its first byte tells
// whether it speaks TLS. That is looked at, and the handshake made, by the
// first reader: net/http, under its time limit for a header. So a port serves
// both, and no member who connects and says nothing holds anybody else up.
type conn struct {
	net.Conn
	limited *limited
	host    netip.Addr
	waits   time.Time // for the next call, since when; limited.mu guards it
	// unclaimed: no handler has the next call yet, so what is written is net/http's own.
	// Only the goroutine that serves the connection uses it.
	unclaimed bool

	begin sync.Once
	head  []byte // read to tell what the connection is, not yet by its reader
	err   error  // why nothing will ever be read
	tls   atomic.Pointer[tls.Conn]
}

type connKey struct{}

// withConn hands a call its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a call.
func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.begin.Do(c.identify)
	if c.err != nil {
		return 0, c.err
	}
	if t := c.tls.Load(); t != nil {
		return t.Read(p)
	}
	return (*unread)(c).Read(p)
}

// identify reads the first byte and, if TLS begins with it, shakes hands. What
// fails is told to no one: to net/http it is a connection that has ended.
func (c *conn) identify() {
	c.head = make([]byte, 1)
	if _, err := io.ReadFull(c.Conn, c.head); err != nil {
		c.err = err
		return
	}
	if c.head[0] != tlsByte {
		return
	}
	s := c.limited.server
	if s.tls == nil {
		s.api.refused.count(tlsNotServed)
		c.err = io.EOF
		return
	}
	t := tls.Server((*unread)(c), s.tls)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(headerTimeout))
	if err := t.Handshake(); err != nil {
		s.api.refused.count(badHandshake)
		s.api.log.Debug("a TLS handshake failed", "from", c.RemoteAddr().String(), "error", printable(err.Error(), maxText))
		c.err = io.EOF
		return
	}
	_ = c.Conn.SetWriteDeadline(time.Time{})
	c.tls.Store(t)
}

// unread is the connection below TLS: what was read to identify it comes first.
type unread conn

// Read implements net.Conn.
func (c *unread) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head)
	c.head = c.head[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.unclaimed {
		if refusal := refusedByHTTP(p); refusal != nil {
			c.limited.server.api.refused.count(malformed)
			_, err := c.write(refusal)
			return len(p), err
		}
	}
	return c.write(p)
}

func (c *conn) write(p []byte) (int, error) {
	if t := c.tls.Load(); t != nil {
		return t.Write(p)
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.limited.give(c)
	if t := c.tls.Load(); t != nil {
		return t.Close() // which says good-bye first
	}
	return c.Conn.Close()
}

// cut ends a connection that has lost its place, at once.
func (c *conn) cut() { c.Conn.Close() }
