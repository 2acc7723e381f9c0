package transport

import (
	"container/list"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// sniffLimit is how long a connection may take to say what it is.
	sniffLimit = 5 * time.Second
	// maxUndecided bounds the connections that have not; beyond it the oldest
	// is closed, for those that mean something say so at once.
	maxUndecided = 128
	// maxHTTP bounds the connections of HTTP; package api has limits of its own
	// below this. Those of gossip are bounded by what they hold; see limit.
	maxHTTP = 512
)

// readStreams sorts the connections.
func (m *Port) readStreams() {
	defer m.wg.Done()
	for {
		select {
		case <-m.done:
			return
		case c := <-m.cfg.Inner.StreamCh():
			m.wg.Add(1)
			go m.stream(c)
		}
	}
}

// errRefused is returned for connections whose reason has been counted.
var errRefused = errors.New("refused")

// stream finds out what a connection is and hands it over.
func (m *Port) stream(c net.Conn) {
	defer m.wg.Done()
	entry, ok := m.enter(c)
	if !ok {
		c.Close()
		return
	}
	head, err := m.identify(c)
	m.mu.Lock()
	m.undecided.Remove(entry)
	m.mu.Unlock()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		if err != errRefused && !m.stopped() {
			m.cfg.Findings.Count("stream-undecided")
		}
		return
	}
	switch first := head[0]; {
	case first == LabelByte:
		m.gossip(c, head)
	case first == AskByte:
		m.question(c)
	case first == WillByte:
		m.testament(c, head)
	case first == StreamByte:
		m.talk(c)
	default:
		m.web(c, head)
	}
}

// enter takes a connection into the list of the undecided.
func (m *Port) enter(c net.Conn) (*list.Element, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped() {
		return nil, false
	}
	if m.undecided.Len() >= maxUndecided {
		// The goroutine of the oldest sees its connection closed and ends.
		m.undecided.Remove(m.undecided.Front()).(net.Conn).Close()
	}
	return m.undecided.PushBack(c), true
}

// identify reads no more than it takes to tell whose connection it is, and
// returns that.
func (m *Port) identify(c net.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(sniffLimit)); err != nil {
		return nil, err
	}
	head := make([]byte, 2, 2+len(m.cfg.Label))
	if _, err := io.ReadFull(c, head[:1]); err != nil {
		return nil, err
	}
	switch first := head[0]; {
	case first == WillByte, first == tlsByte, first >= 'A' && first <= 'Z':
		return head[:1], nil
	case first == LabelByte, first == AskByte, first == StreamByte:
	case first <= lastMemberlistByte:
		m.foreign(c.RemoteAddr(), "connection of a memberlist without a label")
		return nil, errRefused
	default:
		m.cfg.Findings.Count("stream-unknown")
		return nil, errRefused
	}
	if _, err := io.ReadFull(c, head[1:2]); err != nil {
		return nil, err
	}
	label := make([]byte, head[1])
	if _, err := io.ReadFull(c, label); err != nil {
		return nil, err
	}
	if string(label) != m.cfg.Label {
		m.otherLabel(string(label), c.RemoteAddr())
		return nil, errRefused
	}
	return append(head, label...), nil
}

// gossip hands a connection to memberlist, which closes it.
func (m *Port) gossip(c net.Conn, head []byte) {
	if !m.started.Load() {
		m.cfg.Findings.Count("stream-before-start")
		c.Close()
		return
	}
	wrapped, ok := m.limited(c, head)
	if !ok {
		return
	}
	wrapped.check = m.judge
	select {
	case m.streams <- wrapped:
	case <-m.done:
		wrapped.Close()
	}
}

// judge refuses what no member sends before memberlist sees it.
func (m *Port) judge(next source) error {
	check := checkStream
	if m.cfg.Sealed {
		check = checkSealedStream
	}
	err := check(next)
	switch err {
	case errShape:
		m.cfg.Findings.Count("stream-malformed")
	case errTooLong:
		m.cfg.Findings.Count("stream-too-long")
	}
	return err
}

// question answers the question on a connection.
func (m *Port) question(c net.Conn) {
	if wrapped, ok := m.limited(c, nil); ok {
		defer wrapped.Close()
		m.cfg.Ask(wrapped)
	}
}

// talk serves a stream of messages; it is bounded by package gossip, and not by what
// it has held.
func (m *Port) talk(c net.Conn) {
	wrapped, ok := m.track(c, nil)
	if !ok {
		return
	}
	defer wrapped.Close()
	if m.cfg.Talk == nil {
		m.cfg.Findings.Count("stream-refused")
		return
	}
	m.cfg.Talk(wrapped)
}

// testament reads a will; it ends with the connection.
func (m *Port) testament(c net.Conn, head []byte) {
	wrapped, ok := m.limited(c, head)
	if !ok {
		return
	}
	defer wrapped.Close()
	if wrapped.SetReadDeadline(time.Now().Add(sniffLimit)) != nil {
		return
	}
	packet, err := io.ReadAll(io.LimitReader(wrapped, MaxWill+1))
	if err != nil {
		m.cfg.Findings.Count("will-unread")
		return
	}
	m.cfg.Will(packet)
}

// web hands a connection to HTTP, which closes it.
func (m *Port) web(c net.Conn, head []byte) {
	if m.httpOpen.Add(1) > maxHTTP {
		m.httpOpen.Add(-1)
		m.cfg.Findings.Count("http-full")
		c.Close()
		return
	}
	wrapped := &conn{Conn: c, head: head, closed: func() { m.httpOpen.Add(-1) }}
	if !m.http.offer(wrapped) {
		m.cfg.Findings.Count("http-unanswered")
		wrapped.Close()
	}
}
