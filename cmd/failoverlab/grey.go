//go:build linux

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A grey fault is one of which a host is neither dead nor well: it hears for a
// while and then does not, loses most packets, lacks one peer, or stops for some
// time again and again. A leader that suffers from none is to stay; one that
// does is to be replaced once, and the lead is not to come back to it and go
// away again.

const (
	deafFor   = 20 * time.Second // and hears for as long
	greyLoss  = 80               // percent
	leastStop = 100 * time.Millisecond
	mostStop  = 32 * time.Second
)

func greyScenarios() (list []*scenario) {
	for _, s := range []scenario{
		{name: "deaf", about: "hears nothing for 20 s, then everything for 20 s", inject: deafByTurns, heal: endGrey},
		{name: "loss", about: "80 % of the packets to and from the other hosts are lost", inject: loseAt(greyLoss), heal: mend},
		{name: "pair", about: "nothing passes to and from one of the other hosts", inject: blackHole, heal: mend},
		{name: "stops", about: "all processes are stopped for 0.1 to 32 s, again and again", inject: stopByTurns, heal: endGrey},
	} {
		s.grey, s.steady = true, true
		atLeader, atFollower := s, s
		atLeader.name, atLeader.about = "grey-"+s.name+"-leader", "the host that leads first: "+s.about
		atFollower.name, atFollower.about, atFollower.victim = "grey-"+s.name+"-follower", "a follower: "+s.about, follower
		list = append(list, &atLeader, &atFollower)
	}
	return list
}

// byTurns runs f beside the run until the fault is undone.
func (l *lab) byTurns(f func(ctx context.Context)) {
	l.greyError = nil
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { f(ctx) })
	l.endGrey = func() {
		stop()
		ended.Wait()
	}
}

func endGrey(l *lab, v *host) error {
	if l.endGrey != nil {
		l.endGrey()
		l.endGrey = nil
	}
	v.signalAll(unix.SIGCONT)
	return errors.Join(l.greyError, mend(l, v))
}

func deafByTurns(l *lab, v *host) error {
	if err := deafen(l, v); err != nil {
		return err
	}
	l.byTurns(func(ctx context.Context) {
		for {
			for _, turn := range []func(*lab, *host) error{mend, deafen} {
				if sleep(ctx, deafFor) != nil {
					return
				}
				if err := turn(l, v); err != nil {
					l.greyError = err
					return
				}
			}
		}
	})
	return nil
}

func loseAt(percent uint32) func(*lab, *host) error {
	return func(l *lab, v *host) error {
		var list []spoil
		for _, p := range l.others(v) {
			list = append(list, lossy(percent, v.node, p)...)
		}
		return l.net.cables.set(list...)
	}
}

// blackHole cuts the victim from the next host, which follows.
func blackHole(l *lab, v *host) error {
	next := l.net.hosts[(v.index+1)%len(l.net.hosts)]
	if host, ok := l.record.serving(100 * time.Millisecond); ok && host == next.index {
		next = l.net.hosts[(v.index+2)%len(l.net.hosts)]
	}
	return l.net.cables.set(both(v.node, next.node)...)
}

func stopByTurns(l *lab, v *host) error {
	l.byTurns(func(ctx context.Context) {
		for {
			v.signalAll(unix.SIGSTOP)
			if sleep(ctx, leastStop+time.Duration(l.dice.Int64N(int64(mostStop-leastStop)))) != nil {
				return
			}
			v.signalAll(unix.SIGCONT)
			if sleep(ctx, leastStop+time.Duration(l.dice.Int64N(int64(mostStop-leastStop)))) != nil {
				return
			}
		}
	})
	return nil
}
