//go:build linux

package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"doyen/agent"

	"golang.org/x/sys/unix"
)

// TestHostsSuccessorStopped asks the leader to hand over while the one that would
// lead next hangs, and gossip has not noticed. No longer than one failover takes
// is there no leader: the lead goes past the one that hangs, or stays.
func TestHostsSuccessorStopped(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		for _, witness := range []int{0, 3} {
			name := mode(quorum) + "-candidates"
			if witness > 0 {
				name = mode(quorum) + "-witness"
			}
			t.Run(name, func(t *testing.T) {
				onFleet(t, shape{quorum: quorum, witness: witness}, func(f *fleet, number int) { f.handOverPast(number%2 == 1) })
			})
		}
	}
}

// handOverPast stops the successor's agent, or all its processes.
func (f *fleet) handOverPast(all bool) {
	leads := f.settled()
	var ready agent.Readiness
	if err := f.get(leads, "/ready", &ready, http.StatusOK); err != nil || ready.WouldLead == nil {
		f.errorf("no member would lead next: %v", err)
		return
	}
	var next *host
	for _, h := range f.net.hosts {
		if f.name(h) == *ready.WouldLead {
			next = h
		}
	}
	if next == nil || next == leads {
		f.errorf("%s would lead after %s", *ready.WouldLead, f.name(leads))
		return
	}
	end := f.poll()
	if all {
		next.signalAll(unix.SIGSTOP)
	} else {
		f.must(next.signal(unix.SIGSTOP))
	}
	time.Sleep(time.Duration(f.dice.Int64N(int64(2 * time.Second))))
	at := now()
	// That it cannot be done is an answer too.
	refused := f.post(leads, "/step-down")
	bound := time.Duration(ready.WorstFailoverMS) * time.Millisecond
	time.Sleep(max(0, at+2*bound+time.Second-now()))
	until := now() // the poll of the successor that hangs ends later
	f.atMost("without a leader when the successor hangs", leaderless(end(), at, until), bound)
	if f.shape.witness > 0 && refused == nil {
		f.t.Logf("the leader agreed to hand over, though the only other candidate hangs")
	}
	next.signalAll(unix.SIGCONT)
	f.must(f.post(leads, "/resume"))
	f.settled()
}

// TestHostsPartialCuts cuts links between five hosts at random, one way or both,
// and leaves them so. No topology that stands still makes the lead change again
// and again; in quorum mode there is a leader where a host reaches a majority
// both ways, and never are there two.
func TestHostsPartialCuts(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		for _, rule := range []string{"seniority", "bully"} {
			t.Run(mode(quorum)+"-"+rule, func(t *testing.T) {
				onFleet(t, shape{hosts: 5, quorum: quorum, rule: rule}, func(f *fleet, _ int) { f.cutSome() })
			})
		}
	}
}

func (f *fleet) cutSome() {
	f.settled()
	cut, list := f.someCuts()
	end := f.poll()
	from := now()
	f.must(f.net.cables.set(list...))
	stands := time.Minute
	if f.short {
		stands = 20 * time.Second
	}
	time.Sleep(stands)
	to := now()
	said := end()
	v := f.record.view()
	changes := failovers(v.changes, from, to)
	f.t.Logf("cut %v: a host got the address %d times", list, changes)
	if changes > 5 {
		f.errorf("with %v cut, a host got the address %d times within %v", list, changes, stands)
	}
	if f.shape.quorum {
		if d := overlap(held(said, 10*gentlePace, from, to)); d > 0 {
			f.errorf("two hosts say for %v that they lead", d)
		}
		if d := answerOverlap(v, from, to); d > 0 {
			f.errorf("two hosts answer for %v", d)
		}
		if f.possible(cut) {
			// The first half is for finding one.
			if d := leaderless(said, from+stands/2, to); d > 2*time.Second {
				f.errorf("with %v cut, no member leads for %v, and one could", list, d)
			}
		}
	}
	healed := now()
	f.must(f.net.cables.set())
	f.settled()
	f.total("from the heal to all settled", now()-healed)
}

// someCuts draws which directions between two hosts are cut.
func (f *fleet) someCuts() (cut [maxHosts][maxHosts]bool, list []spoil) {
	for i, p := range f.net.hosts {
		for j, q := range f.net.hosts[:i] {
			way := f.dice.IntN(10)
			cut[i][j] = way < 4 || way == 4
			cut[j][i] = way < 4 || way == 5
			if cut[i][j] {
				list = append(list, out(p.node, q.node)...)
			}
			if cut[j][i] {
				list = append(list, in(p.node, q.node)...)
			}
		}
	}
	return cut, list
}

// possible reports whether a host reaches a majority both ways.
func (f *fleet) possible(cut [maxHosts][maxHosts]bool) bool {
	for i := range f.net.hosts {
		reached := 0
		for j := range f.net.hosts {
			reached += boolToInt(!cut[i][j] && !cut[j][i])
		}
		if reached > len(f.net.hosts)/2 {
			return true
		}
	}
	return false
}

func (s spoil) String() string { return fmt.Sprintf("%s>%s", s.from, s.to) }
