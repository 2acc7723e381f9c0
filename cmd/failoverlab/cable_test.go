//go:build linux

package main

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestHostsCable pulls the cable of a host and puts it back: from when another
// has the address, or of a follower from the beginning, no connection to it breaks.
func TestHostsCable(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		for _, r := range []role{follower, leader} {
			for _, lasts := range cableTimes {
				who := map[role]string{follower: "follower", leader: "leader"}[r]
				t.Run(fmt.Sprintf("%s-%s-%.0fs", mode(quorum), who, lasts.Seconds()), func(t *testing.T) {
					if short := lasts == 8*time.Second; !short && *hostRounds == 0 {
						t.Skip("-hosts.rounds runs it")
					}
					onFleet(t, shape{quorum: quorum}, func(f *fleet, number int) { f.pullCable(r, lasts, number) })
				})
			}
		}
	}
}

func (f *fleet) pullCable(r role, lasts time.Duration, number int) {
	holder := f.settled()
	time.Sleep(time.Duration(f.dice.Int64N(int64(time.Second)))) // timers have phases
	victim := holder
	if r == follower {
		victim = f.others(holder)[number%2]
	}
	from := now()
	f.must(f.net.unplug(victim.node))
	if r == leader {
		if !f.eventually("another takes the address", lasts, func() error {
			host, ok := f.record.serving(200 * time.Millisecond)
			if !ok || host == victim.index {
				return errors.New("no host serves")
			}
			holder = f.net.hosts[host]
			return nil
		}) {
			f.must(f.net.plugIn(victim.node))
			return
		}
		f.total("from the pull to being served again", now()-from)
		from = now()
	}
	time.Sleep(lasts)
	back := now()
	f.must(f.net.plugIn(victim.node))
	f.settled()
	f.total("from the plug to all settled", now()-back)
	// What may still go wrong does within the first seconds.
	time.Sleep(max(0, back+4*time.Second-now()))
	f.unbroken(holder, from, now())
}
