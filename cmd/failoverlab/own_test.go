//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostsOwnAddresses lets the hosts' own addresses come and go in all orders:
// the floating address is never primary beside one of the host's own, and never
// the source of its traffic, nothing else is removed, and in the end there is one
// leader and one holder.
func TestHostsOwnAddresses(t *testing.T) {
	besideOthers(t)
	for _, back := range []bool{false, true} {
		for _, quorum := range []bool{false, true} {
			name := mode(quorum)
			if back {
				name += "-back" // the agents reach each other no matter what happens to eth0
			}
			t.Run(name, func(t *testing.T) {
				var list []*ledger
				onFleet(t, shape{quorum: quorum, back: back}, func(f *fleet, number int) {
					f.settled()
					if list == nil {
						list = f.ledgers()
					}
					f.shuffleAddresses(list, number)
				})
			})
		}
	}
}

func (f *fleet) shuffleAddresses(list []*ledger, number int) {
	leads := list[f.settled().index]
	history := []string{"flush, and back after 6 s"}
	leads.flush()
	time.Sleep(6 * time.Second)
	leads.add(own(leads.h, 0))
	f.report(list)
	if f.shape.back {
		f.lateAddress(list[(leads.h.index+1)%len(list)])
		f.report(list)
	}
	steps := 10
	if f.short {
		steps = 3
	}
	for range steps {
		l := list[f.dice.IntN(len(list))]
		if have := f.holders(); len(have) > 0 && f.dice.IntN(3) > 0 {
			l = list[have[0]]
		}
		history = append(history, l.h.name+" "+f.step(l))
		time.Sleep(time.Duration(f.dice.Int64N(int64(1500 * time.Millisecond))))
	}
	for _, l := range list {
		l.setPromote(false)
		l.add(own(l.h, 0))
		l.add(own(l.h, 1))
	}
	restored := now()
	if !f.eventually("all settle", settleTime, func() error {
		f.revive()
		_, err := f.agree(f.net.hosts...)
		return err
	}) {
		f.t.FailNow()
	}
	f.total("from the last address to all settled", now()-restored)
	time.Sleep(2 * time.Second)
	f.report(list)
	if f.bad {
		f.t.Logf("what was done: %v", history)
	}
}

// revive starts agents that have ended, as a service manager does: one that is
// started on a host without an address may say so and end.
func (f *fleet) revive() {
	f.t.Helper()
	for _, h := range f.net.hosts {
		if !h.main.running() {
			f.start(h)
		}
	}
}

// step does something to a host at random, and says what.
func (f *fleet) step(l *ledger) string {
	f.t.Helper()
	a, b, c := own(l.h, 0), own(l.h, 1), netip.MustParsePrefix(fmt.Sprintf("192.168.9.%d/24", l.h.index+1))
	steps := []struct {
		name string
		do   func()
	}{
		{"first off", func() { l.remove(a) }},
		{"first on", func() { l.add(a) }},
		{"second off", func() { l.remove(b) }},
		{"second on", func() { l.add(b) }},
		{"third on or off", func() {
			if slices.Contains(l.own, c) {
				l.remove(c)
			} else {
				l.add(c)
			}
		}},
		{"flush", l.flush},
		{"promote", func() { l.setPromote(!l.promote) }},
		{"down and up", l.downUp},
		{"kill and start", func() { l.h.kill(); f.start(l.h) }},
		{"stop and start", func() {
			if l.h.main.running() {
				f.must(l.h.signal(unix.SIGTERM))
				<-l.h.main.ended
			}
			f.start(l.h)
		}},
		{"step down", func() {
			if f.post(l.h, "/step-down") == nil { // else it cannot, or does not lead
				f.post(l.h, "/resume")
			}
		}},
	}
	f.revive()
	s := steps[f.dice.IntN(len(steps))]
	s.do()
	return s.name
}

// lateAddress has a host lead whose interface has no address of its own yet, as
// with a slow DHCP server, and gives it one.
func (f *fleet) lateAddress(l *ledger) {
	f.t.Helper()
	f.must(l.h.signal(unix.SIGTERM))
	<-l.h.main.ended
	l.flush()
	f.start(l.h)
	f.handOverTo(l.h)
	time.Sleep(time.Second)
	l.add(own(l.h, 0))
	time.Sleep(time.Second)
	l.add(own(l.h, 1))
}

// TestHostsOthersAddress makes the floating address one that a host has already,
// as its own or put there by hand with another prefix: no matter what agents do, start,
// stop, are killed, start again, it stays, and its routes with it.
func TestHostsOthersAddress(t *testing.T) {
	besideOthers(t)
	t.Run("own", func(t *testing.T) {
		onFleet(t, shape{float: "10.77.0.1/32"}, func(f *fleet, _ int) {
			l := &ledger{f: f, h: f.net.hosts[0], own: []netip.Prefix{own(f.net.hosts[0], 0)}, wrong: make(map[string]string)}
			f.everyWay(l)
		})
	})
	t.Run("by-hand", func(t *testing.T) {
		onFleet(t, shape{}, func(f *fleet, _ int) {
			h := f.others(f.settled())[0]
			l := &ledger{f: f, h: h, own: []netip.Prefix{own(h, 0)}, wrong: make(map[string]string)}
			l.add(netip.PrefixFrom(floatIP, 16))
			f.everyWay(l)
		})
	})
}

// everyWay starts, stops and kills the agent of a host in every way.
func (f *fleet) everyWay(l *ledger) {
	look := func(when string) {
		f.t.Helper()
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			l.look()
		}
		if len(l.wrong) > 0 {
			f.errorf("%s: %v", when, l.wrong)
			clear(l.wrong)
		}
	}
	look("while the agents run")
	if l.h.main.running() {
		f.must(l.h.signal(unix.SIGTERM))
		<-l.h.main.ended
	}
	look("after a stop")
	f.start(l.h)
	look("after a start")
	l.h.kill()
	look("after agent and keeper were killed")
	f.start(l.h)
	look("after the next start")
	for _, h := range f.others(l.h) {
		f.post(h, "/step-down") // where it leads; the host may be next
		f.post(h, "/resume")
	}
	look("after a hand-over")
}
