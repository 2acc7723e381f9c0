//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mischief is one thing that the nemesis does.
type mischief struct {
	name   string
	hurt   []*host // on which agents cannot be counted on
	spoils []spoil // what it does to cables
	starts bool    // its end starts the agents of those that are hurt
	about  []*host // those it is done to
	until  time.Duration
	hit    func() error
	undo   func() error
}

func (m *mischief) String() string {
	text := m.name
	for _, h := range m.about {
		text += " " + h.name
	}
	return text
}

// draw returns something to do, or nil if what came up would hurt too many: a
// majority is to be whole, except for one time in ten.
func (n *nemesis) draw() *mischief {
	const most = 4
	if len(n.active) >= most {
		return nil
	}
	hosts := n.l.net.hosts
	v := hosts[n.l.dice.IntN(len(hosts))]
	if host, ok := n.l.record.serving(50 * time.Millisecond); ok && n.l.dice.IntN(2) == 0 {
		v = hosts[host] // what is done to the leader matters most
	}
	makers := []func(*host) *mischief{n.killed, n.stopped, n.frozen, n.unplugged, n.isolated, n.oneWay, n.lossy, n.pair, n.addressOff, n.asked}
	m := makers[n.l.dice.IntN(len(makers))](v)
	// From 50 ms to 8 s, as many short ones as long ones.
	m.until = now() + time.Duration(float64(50*time.Millisecond)*math.Pow(160, n.l.dice.Float64()))
	hurt := make(map[*host]bool)
	for _, a := range append(slices.Clone(n.active), m) {
		for _, h := range append(slices.Clone(a.hurt), touched(a, hosts)...) {
			hurt[h] = true
		}
	}
	busy := slices.ContainsFunc(n.active, func(a *mischief) bool {
		return slices.ContainsFunc(a.about, func(h *host) bool { return slices.Contains(m.about, h) && a.spoils == nil && m.spoils == nil })
	})
	if busy || len(hurt) > (len(hosts)-1)/2 && n.l.dice.IntN(10) > 0 {
		return nil
	}
	return m
}

// touched is a host for each fault of cables, without which the rest is whole.
func touched(m *mischief, hosts []*host) []*host {
	if m.spoils == nil {
		return nil
	}
	return m.about[:1]
}

// again starts an agent after its process has ended.
func (n *nemesis) again(h *host) func() error {
	return func() error {
		if h.main.running() {
			const patience = 45 * time.Second
			select {
			case <-h.main.ended:
			case <-time.After(patience):
				return fmt.Errorf("%s does not end within %v", h.name, patience)
			}
		}
		return n.l.start(h)
	}
}

// killed kills an agent, or it and its keeper, or a whole host.
func (n *nemesis) killed(h *host) *mischief {
	m := &mischief{name: "kill", about: []*host{h}, hurt: []*host{h}, starts: true, undo: n.again(h)}
	switch n.l.dice.IntN(3) {
	case 0:
		m.name, m.hit = "kill the agent of", func() error { return h.signal(unix.SIGKILL) }
	case 1:
		m.name, m.hit = "kill all of", func() error { h.kill(); return nil }
	case 2:
		m.name, m.hit = "death of", func() error { return die(n.l, h) }
		m.undo = func() error { return errors.Join(h.clean(), n.l.net.plugIn(h.node), n.again(h)()) }
	}
	return m
}

// stopped asks an agent to end.
func (n *nemesis) stopped(h *host) *mischief {
	return &mischief{name: "stop", about: []*host{h}, hurt: []*host{h}, starts: true,
		hit: func() error { return h.signal(unix.SIGTERM) }, undo: n.again(h)}
}

// frozen stops an agent, its keeper, or both, and lets them go on.
func (n *nemesis) frozen(h *host) *mischief {
	m := &mischief{name: "freeze all of", about: []*host{h}, hurt: []*host{h}}
	which := func(int) bool { return true }
	switch n.l.dice.IntN(3) {
	case 0:
		m.name, which = "freeze the agent of", func(pid int) bool { return pid == h.main.pid }
	case 1:
		m.name, which = "freeze the keeper of", func(pid int) bool { return pid != h.main.pid }
	}
	m.hit = func() error {
		for _, pid := range h.pids() {
			if which(pid) {
				syscall.Kill(pid, unix.SIGSTOP) // it may have just ended
			}
		}
		return nil
	}
	m.undo = func() error { h.signalAll(unix.SIGCONT); return nil }
	return m
}

// unplugged takes the carrier off.
func (n *nemesis) unplugged(h *host) *mischief {
	return &mischief{name: "unplug", about: []*host{h}, hurt: []*host{h},
		hit: func() error { return unplug(n.l, h) }, undo: func() error { return plugIn(n.l, h) }}
}

func (n *nemesis) isolated(h *host) *mischief {
	m := &mischief{name: "isolate", about: []*host{h}, spoils: both(h.node, n.l.others(h)...)}
	if n.l.dice.IntN(2) == 0 {
		m.name, m.spoils = "isolate from the client, too,", append(m.spoils, both(h.node, n.l.net.client)...)
	}
	return m
}

func (n *nemesis) oneWay(h *host) *mischief {
	if n.l.dice.IntN(2) == 0 {
		return &mischief{name: "mute", about: []*host{h}, spoils: out(h.node, n.l.others(h)...)}
	}
	return &mischief{name: "deafen", about: []*host{h}, spoils: in(h.node, n.l.others(h)...)}
}

func (n *nemesis) lossy(h *host) *mischief {
	percent := 20 + uint32(n.l.dice.IntN(75))
	m := &mischief{name: fmt.Sprintf("%d %% loss at", percent), about: []*host{h}}
	for _, p := range n.l.others(h) {
		m.spoils = append(m.spoils, lossy(percent, h.node, p)...)
	}
	return m
}

// pair cuts two hosts from each other, both ways or one.
func (n *nemesis) pair(h *host) *mischief {
	hosts := n.l.net.hosts
	p := hosts[(h.index+1+n.l.dice.IntN(len(hosts)-1))%len(hosts)]
	m := &mischief{name: "black hole between", about: []*host{h, p}, spoils: both(h.node, p.node)}
	if n.l.dice.IntN(3) == 0 {
		m.name, m.spoils = "one-way hole from", out(h.node, p.node)
	}
	return m
}

// addressOff takes the address off, as an administrator may by mistake.
func (n *nemesis) addressOff(h *host) *mischief {
	return &mischief{name: "take the address off", about: []*host{h}, hit: func() error {
		return h.do(func() error {
			eth0, floats, err := floatsHere()
			for _, a := range floats {
				netlink.AddrDel(eth0, &a) // an agent may be faster
			}
			return err
		})
	}}
}

// asked asks the leader to hand over, and to stand aside for as long.
func (n *nemesis) asked(h *host) *mischief {
	post := func(path string) error {
		client := clientOn(h)
		client.Timeout = 5 * time.Second
		defer client.CloseIdleConnections()
		err := ask(client, http.MethodPost, onLoopback(agentPort), path, nil,
			http.StatusOK, http.StatusConflict, http.StatusServiceUnavailable)
		if os.IsTimeout(err) || errors.Is(err, unix.ECONNREFUSED) {
			return nil // a leader without a majority, or an agent that starts, cannot answer
		}
		return err
	}
	return &mischief{name: "step down", about: []*host{h},
		hit: func() error { return post("/step-down") }, undo: func() error { return post("/resume") }}
}
