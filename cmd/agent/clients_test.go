package main

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// floating is the floating address of the hosts, and where a service of theirs
// answers on whichever host has the address.
const (
	floating = "10.88.0.100"
	service  = floating + ":7777"
)

// inside runs f on a thread that is in the network namespace ns and ends with f.
// Sockets that f opens stay there.
func inside(t *testing.T, ns string, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			h, err := netns.GetFromName(ns)
			if err != nil {
				return err
			}
			defer h.Close()
			if err := netns.Set(h); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

// serve answers on every host what is sent to the service, as long as the test
// runs.
func (l *lan) serve() {
	l.t.Helper()
	for _, h := range l.hosts {
		err := inside(l.t, h.ns, func() error {
			ln, err := net.Listen("tcp4", ":7777")
			if err != nil {
				return err
			}
			l.t.Cleanup(func() { ln.Close() })
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						_, _ = io.Copy(c, c)
					}()
				}
			}()
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

// tcpClient is a connection to the service from a host of its own. It sends a
// byte twenty times a second and reads what comes back, until it is stopped or
// the connection breaks.
type tcpClient struct {
	conn net.Conn
	end  chan error
}

// connect opens a connection to the service, from a host at 10.88.0.50.
func (l *lan) connect() *tcpClient {
	l.t.Helper()
	c := &tcpClient{end: make(chan error, 2)}
	l.eventually(func() error {
		return inside(l.t, l.client(), func() (err error) {
			c.conn, err = net.DialTimeout("tcp4", service, time.Second)
			return err
		})
	})
	go func() {
		for {
			if _, err := c.conn.Write([]byte{1}); err != nil {
				c.end <- err
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	go func() {
		_, err := io.Copy(io.Discard, c.conn)
		c.end <- err
	}()
	l.t.Cleanup(func() { c.conn.Close() })
	return c
}

// broken is why the connection is broken, or nil.
func (c *tcpClient) broken() error {
	select {
	case err := <-c.end:
		if err == nil {
			err = io.EOF
		}
		c.end <- err
		return err
	default:
		return nil
	}
}

// client makes the client's host, once, and returns its namespace.
func (l *lan) client() string {
	ns := l.name + "client"
	if _, err := os.Stat("/var/run/netns/" + ns); err == nil {
		return ns
	}
	addNamespace(l.t, ns)
	ip(l.t, "link", "add", "eth0", "netns", ns, "type", "veth", "peer", "name", "client", "netns", l.bridge)
	ip(l.t, "-n", l.bridge, "link", "set", "client", "master", "br0", "up")
	ip(l.t, "-n", ns, "addr", "add", "10.88.0.50/24", "dev", "eth0")
	ip(l.t, "-n", ns, "link", "set", "eth0", "up")
	return ns
}

// holders lists the hosts whose eth0 has the floating address.
func (l *lan) holders() []string {
	var all []string
	for _, h := range l.hosts {
		err := inside(l.t, h.ns, func() error {
			i, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			addrs, err := i.Addrs()
			for _, a := range addrs {
				if strings.HasPrefix(a.String(), floating+"/") {
					all = append(all, h.name)
				}
			}
			return err
		})
		if op := (*net.OpError)(nil); err != nil && !errors.As(err, &op) && !errors.Is(err, syscall.ENODEV) {
			l.t.Fatal(err)
		}
	}
	return all
}
