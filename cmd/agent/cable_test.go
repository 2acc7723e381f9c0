package main

import (
	"slices"
	"testing"
	"time"
)

// A host whose network was away and is back looks for the others before it
// leads: the address that a healthy leader holds stays where it is, and no
// connection to it breaks. The switch forwards nothing for some seconds after
// the link is up, as a switch with a spanning tree does.
func TestCableThatComesBackBreaksNoConnection(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	l.serve()
	l.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", floating+"/24@eth0")
	leader, follower := l.hosts[0], l.hosts[2]
	l.checkLeader(leader.node, l.nodes...)
	for _, away := range []struct {
		what        string
		off, silent time.Duration // without carrier; with carrier, before the switch forwards
		host        *host
		gone, back  func(*host)
	}{
		{what: "cable of a follower", off: 8 * time.Second, host: follower},
		{what: "cable of a follower, to a slow switch", off: 5 * time.Second, silent: 8 * time.Second, host: follower},
		{what: "cable of a follower, to a slow switch", off: 11 * time.Second, silent: 3 * time.Second, host: follower},
		{what: "address of a follower", off: 9 * time.Second, host: follower,
			gone: func(h *host) { ip(t, "-n", h.ns, "addr", "flush", "dev", "eth0") },
			back: func(h *host) { ip(t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", "eth0") }},
		{what: "renamed interface of a follower", off: 9 * time.Second, host: follower,
			gone: func(h *host) { h.rename("eth0", "other0", false) },
			back: func(h *host) { h.rename("other0", "eth0", true) }},
		{what: "cable of the former leader", off: 8 * time.Second, host: leader},
	} {
		if away.gone == nil {
			away.gone = func(h *host) { h.cut(true) }
			away.back = func(h *host) { h.isolate(true); h.cut(false) }
		}
		away.gone(away.host)
		rest := make([]*node, 0, 2)
		for _, n := range l.nodes {
			if n != away.host.node {
				rest = append(rest, n)
			}
		}
		next := leader.node
		if away.host == leader {
			next = l.nodes[1]
		}
		l.eventually(func() error { return expectLeader(next, rest...) })
		c := l.connect()
		began := time.Now()
		time.Sleep(away.off)
		away.back(away.host)
		alone := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				if slices.Contains(l.holders(), away.host.name) {
					t.Errorf("%s, away for %v: the host has the address %v after it went", away.what, away.off, time.Since(began))
					return
				}
			}
		}
		alone(away.silent)
		away.host.isolate(false)
		alone(3 * time.Second)
		l.checkLeader(next, l.nodes...)
		if err := c.broken(); err != nil {
			t.Errorf("%s, away for %v: the connection broke: %v", away.what, away.off, err)
		}
		if h := l.holders(); len(h) != 1 || h[0] != next.name {
			t.Errorf("%s: want %s alone to hold the address, got %q", away.what, next.name, h)
		}
		t.Logf("%s, away for %v: healed %v after it went", away.what, away.off, time.Since(began).Round(time.Millisecond))
	}
}
