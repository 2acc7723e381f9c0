//go:build linux

package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// epoch is when the lab's clock was zero.
var epoch = time.Now()

// now reads the lab's clock.
func now() time.Duration { return time.Since(epoch) }

// reply is an answer that the client got.
type reply struct {
	at   time.Duration
	host int
}

// proof is an answer that the watcher got: the host held the address at some
// time between the question and the answer.
type proof struct {
	host      int
	sent, got time.Duration
}

// change is a kernel's word that the address came or went.
type change struct {
	host int
	at   time.Duration
	has  bool
}

// seen is what an observer notes: exactly one of its fields is set.
type seen struct {
	reply     *reply
	ping, arp *proof
	change    *change
	attempt   *attempt
	broken    *broken
	blind     *span // in which the watcher did not ask
}

// record is what the observers saw. It is safe for concurrent use. Observers put
// into a channel and never wait for a lock, which a thread without their
// priority might hold for long.
type record struct {
	news  chan seen
	ended chan struct{}
	every time.Duration // between two questions of the watcher

	mu      sync.Mutex
	replies []reply
	pings   []proof
	arps    []proof
	changes []change
	tried   []attempt
	broken  []broken
	blind   []span
	has     [maxHosts]bool // the state after all changes
}

// newRecord starts a record. The channel holds what comes in about a minute.
func newRecord(every time.Duration) *record {
	r := &record{every: every, news: make(chan seen, 1<<16), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for x := range r.news {
			r.keep(x)
		}
	}()
	return r
}

// close ends a record, after the observers have been stopped.
func (r *record) close() {
	close(r.news)
	<-r.ended
}

// keep takes one note in. A change that only repeats what is known, as the
// renewal of an address's lifetime does, is left out.
func (r *record) keep(x seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case x.reply != nil:
		r.replies = append(r.replies, *x.reply)
	case x.ping != nil:
		r.pings = append(r.pings, *x.ping)
	case x.arp != nil:
		r.arps = append(r.arps, *x.arp)
	case x.attempt != nil:
		r.tried = append(r.tried, *x.attempt)
	case x.broken != nil:
		r.broken = append(r.broken, *x.broken)
	case x.blind != nil:
		r.blind = append(r.blind, *x.blind)
	case r.has[x.change.host] != x.change.has:
		r.has[x.change.host] = x.change.has
		r.changes = append(r.changes, *x.change)
	}
}

// forget drops what is older than a moment and not needed to know who has the
// address.
func (r *record) forget(before time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replies = slices.DeleteFunc(r.replies, func(x reply) bool { return x.at < before })
	old := func(x proof) bool { return x.sent < before }
	r.pings, r.arps = slices.DeleteFunc(r.pings, old), slices.DeleteFunc(r.arps, old)
	r.tried = slices.DeleteFunc(r.tried, func(x attempt) bool { return x.at < before })
	r.broken = slices.DeleteFunc(r.broken, func(x broken) bool { return x.at < before })
	r.blind = slices.DeleteFunc(r.blind, func(x span) bool { return x.to < before })
	r.changes = slices.DeleteFunc(r.changes, func(x change) bool { return x.at < before })
	for host, has := range r.has {
		if has && !slices.ContainsFunc(r.changes, func(x change) bool { return x.host == host }) {
			r.changes = append([]change{{host, before, true}}, r.changes...)
		}
	}
}

// view is a copy of a record, for looking at.
type view struct {
	replies     []reply
	pings, arps []proof
	changes     []change
	tried       []attempt
	broken      []broken
	blind       []span
	every       time.Duration
}

func (r *record) view() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{slices.Clone(r.replies), slices.Clone(r.pings), slices.Clone(r.arps), slices.Clone(r.changes), slices.Clone(r.tried), slices.Clone(r.broken), slices.Clone(r.blind), r.every}
	// Connections are noted when they are made or have failed, and may overtake
	// each other.
	slices.SortFunc(v.tried, func(a, b attempt) int { return cmp.Compare(a.at+a.took, b.at+b.took) })
	return v
}

// serving returns the only host that answered the client and the watcher in the
// last while, if there is one and it never paused for long.
func (r *record) serving(while time.Duration) (host int, ok bool) {
	v := r.since(now() - while)
	end := now()
	host = -1
	for _, x := range v.replies {
		if host >= 0 && x.host != host {
			return -1, false
		}
		host = x.host
	}
	for _, x := range append(v.pings, v.arps...) {
		if x.sent >= end-while && x.host != host {
			return -1, false
		}
	}
	const pause = 100 * time.Millisecond
	return host, host >= 0 && outage(v.replies, end-while, end) < pause
}

// since is a copy of the answers that came after a moment. What waits for a state
// looks at it often, and a copy of everything would soon fill the memory.
func (r *record) since(from time.Duration) view {
	r.mu.Lock()
	defer r.mu.Unlock()
	reply, _ := slices.BinarySearchFunc(r.replies, from, func(x reply, at time.Duration) int { return cmp.Compare(x.at, at) })
	newer := func(list []proof) []proof {
		first := len(list)
		for first > 0 && list[first-1].got >= from {
			first--
		}
		return slices.Clone(list[first:])
	}
	return view{replies: slices.Clone(r.replies[reply:]), pings: newer(r.pings), arps: newer(r.arps), every: r.every}
}
