package simnet

import (
	"bytes"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Tap is a transport that keeps a copy of all that its host sends, as somebody
// on the wire would.
type Tap struct {
	*Host
	mu               sync.Mutex
	packets, streams [][]byte
}

// Tap returns the host's transport with a tap on it.
func (h *Host) Tap() *Tap { return &Tap{Host: h} }

// Packets returns the packets sent so far, oldest first.
func (t *Tap) Packets() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.packets[:len(t.packets):len(t.packets)]
}

// Streams returns what was sent over each connection dialled that has ended.
func (t *Tap) Streams() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams[:len(t.streams):len(t.streams)]
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *Tap) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	t.mu.Lock()
	t.packets = append(t.packets, bytes.Clone(b))
	t.mu.Unlock()
	return t.Host.WriteToAddress(b, a)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *Tap) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	c, err := t.Host.DialAddressTimeout(a, d)
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: c, tap: t}, nil
}

// tapped is a connection whose writes are kept when it ends.
type tapped struct {
	net.Conn
	tap  *Tap
	sent []byte
}

// Write implements net.Conn.
func (c *tapped) Write(b []byte) (int, error) {
	c.sent = append(c.sent, b...)
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *tapped) Close() error {
	c.tap.mu.Lock()
	if len(c.sent) > 0 {
		c.tap.streams = append(c.tap.streams, c.sent)
		c.sent = nil
	}
	c.tap.mu.Unlock()
	return c.Conn.Close()
}
