//go:build linux

package main

import (
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
}

// record is what the observers saw. It is safe for concurrent use. Observers put
// into a channel and never wait for a lock, which a thread without their
// priority might hold for long.
type record struct {
	news  chan seen
	ended chan struct{}

	mu      sync.Mutex
	replies []reply
	pings   []proof
	arps    []proof
	changes []change
	has     [hostCount]bool // the state after all changes
}

// newRecord starts a record. The channel holds what comes in about a minute.
func newRecord() *record {
	r := &record{news: make(chan seen, 1<<16), ended: make(chan struct{})}
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
}

func (r *record) view() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return view{slices.Clone(r.replies), slices.Clone(r.pings), slices.Clone(r.arps), slices.Clone(r.changes)}
}

// serving returns the only host that answered the client and the watcher in the
// last while, if there is one and it never paused for long.
func (r *record) serving(while time.Duration) (host int, ok bool) {
	v := r.view()
	end := now()
	from := end - while
	host = -1
	for _, x := range v.replies {
		if x.at >= from {
			if host >= 0 && x.host != host {
				return -1, false
			}
			host = x.host
		}
	}
	for _, x := range append(v.pings, v.arps...) {
		if x.sent >= from && x.host != host {
			return -1, false
		}
	}
	const pause = 100 * time.Millisecond
	return host, host >= 0 && outage(v.replies, from, end) < pause
}
