//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The clients that speak TCP: a new connection to the floating address at a
// steady pace, and a few that stay open and talk now and then.
const (
	tcpPort      = 7
	connectEvery = 20 * time.Millisecond
	connectLimit = time.Second // how long a connection may take to be made
	keepEvery    = 10          // one in so many connections stays open,
	keepMost     = 5           // at most so many to one host
	talkEvery    = 100 * time.Millisecond
)

// attempt is a new connection that a client tried to make.
type attempt struct {
	at, took time.Duration
	host     int   // which answered
	err      error // why there is no connection
}

// broken is an open connection that ended though no client closed it.
type broken struct {
	opened, at time.Duration
	host       int
	err        error
}

func (b broken) String() string {
	return fmt.Sprintf("connection to h%d, opened at %v, broken at %v: %v", b.host+1, b.opened, b.at, b.err)
}

// tcpClients are the service on all hosts and its clients.
type tcpClients struct {
	record *record
	client *node
	ctx    context.Context
	stop   context.CancelFunc
	ended  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]int // the connections that exist at either end, and to which host; -1: the service's own end
}

// speakTCP starts them. They run without real-time priority: they look for
// connections that break, not at milliseconds.
func speakTCP(n *network, r *record) (*tcpClients, error) {
	c := &tcpClients{record: r, client: n.client, open: make(map[net.Conn]int)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for _, h := range n.hosts {
		if err := c.serve(h); err != nil {
			c.close()
			return nil, fmt.Errorf("on %s: %w", h.name, err)
		}
	}
	c.ended.Go(func() {
		pace := time.NewTicker(connectEvery)
		defer pace.Stop()
		for number := 0; ; number++ {
			select {
			case <-c.ctx.Done():
				return
			case <-pace.C:
				c.ended.Go(func() { c.connect(number%keepEvery == 0) })
			}
		}
	})
	return c, nil
}

func (c *tcpClients) close() {
	c.stop()
	c.mu.Lock()
	for conn := range c.open {
		conn.Close()
	}
	c.mu.Unlock()
	c.ended.Wait()
}

// serve is a host's service: it says which host it is, and then what it is told.
func (c *tcpClients) serve(h *host) error {
	var l net.Listener
	err := h.do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", tcpPort))
		return err
	})
	if err != nil {
		return err
	}
	context.AfterFunc(c.ctx, func() { l.Close() })
	c.ended.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.ended.Go(func() {
				if c.own(conn, -1) {
					defer c.disown(conn)
					if _, err := conn.Write([]byte{byte(h.index)}); err == nil {
						io.Copy(conn, conn) // ends with the connection
					}
				}
			})
		}
	})
	return nil
}

// own notes that a connection exists; it reports false, and closes it, if the
// clients are closed, or the host has enough of them.
func (c *tcpClients) own(conn net.Conn, host int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := 0
	for _, h := range c.open {
		number += boolToInt(h == host)
	}
	if c.ctx.Err() != nil || host >= 0 && number >= keepMost {
		conn.Close()
		return false
	}
	c.open[conn] = host
	return true
}

func (c *tcpClients) disown(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	conn.Close()
}

// connect makes one connection and notes how that went.
func (c *tcpClients) connect(keep bool) {
	at := now()
	conn, host, err := c.dial()
	if c.ctx.Err() != nil {
		if conn != nil {
			conn.Close()
		}
		return
	}
	c.record.news <- seen{attempt: &attempt{at, now() - at, host, err}}
	switch {
	case err != nil:
	case keep && c.own(conn, host):
		c.talk(conn, host, at)
	default:
		conn.Close()
	}
}

// dial connects to the address and hears which host it is.
func (c *tcpClients) dial() (conn net.Conn, host int, err error) {
	err = c.client.do(func() error {
		d := net.Dialer{Timeout: connectLimit, KeepAlive: -1}
		conn, err = d.DialContext(c.ctx, "tcp4", netip.AddrPortFrom(floatIP, tcpPort).String())
		return err
	})
	if err != nil {
		return nil, -1, err
	}
	var first [1]byte
	conn.SetReadDeadline(time.Now().Add(connectLimit))
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		conn.Close()
		return nil, -1, err
	}
	conn.SetReadDeadline(time.Time{})
	return conn, int(first[0]), nil
}

// talk uses an open connection until it breaks.
func (c *tcpClients) talk(conn net.Conn, host int, opened time.Duration) {
	defer c.disown(conn)
	text := []byte("!")
	for sleep(c.ctx, talkEvery) == nil {
		_, err := conn.Write(text)
		if err == nil {
			_, err = io.ReadFull(conn, text)
		}
		if err != nil && c.ctx.Err() == nil {
			c.record.news <- seen{broken: &broken{opened, now(), host, err}}
		}
		if err != nil {
			return
		}
	}
}

// refused reports whether an attempt was answered by a refusal or a reset, and
// not by silence.
func (a attempt) refused() bool {
	return errors.Is(a.err, unix.ECONNREFUSED) || errors.Is(a.err, unix.ECONNRESET) || errors.Is(a.err, io.EOF)
}

// brokenTo returns the connections to a host, opened before they broke in a
// stretch of time.
func brokenTo(list []broken, host int, from, to time.Duration) (of []broken) {
	for _, b := range list {
		if b.host == host && b.at > from && b.at <= to {
			of = append(of, b)
		}
	}
	return of
}

// failedAttempts returns those of a stretch of time that made no connection.
func failedAttempts(list []attempt, from, to time.Duration) (failed []attempt) {
	for _, a := range list {
		if a.err != nil && a.at > from && a.at+a.took <= to {
			failed = append(failed, a)
		}
	}
	return failed
}

// tcpOutage is the longest time in which no new connection came about.
func tcpOutage(list []attempt, from, to time.Duration) time.Duration {
	var made []reply
	for _, a := range list {
		if a.err == nil {
			made = append(made, reply{a.at + a.took, a.host})
		}
	}
	return max(longestPause(made, from, to)-connectEvery, 0)
}

// slowestConnect is the longest that a new connection took which came about.
func slowestConnect(list []attempt, from, to time.Duration) (longest time.Duration) {
	for _, a := range list {
		if a.err == nil && a.at > from && a.at+a.took <= to {
			longest = max(longest, a.took)
		}
	}
	return longest
}

// refusals counts the attempts of a stretch of time that were refused.
func refusals(list []attempt, from, to time.Duration) (number int) {
	for _, a := range failedAttempts(list, from, to) {
		number += boolToInt(a.refused())
	}
	return number
}
