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

// record is what the observers saw. It is safe for concurrent use.
type record struct {
	mu      sync.Mutex
	replies []reply
	pings   []proof
	arps    []proof
	changes []change
	has     [hostCount]bool // the state after all changes
}

func (r *record) reply(x reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replies = append(r.replies, x)
}

func (r *record) ping(x proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pings = append(r.pings, x)
}

func (r *record) arp(x proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arps = append(r.arps, x)
}

// change notes an event unless it only repeats what is known, as the renewal of
// an address's lifetime does.
func (r *record) change(x change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has[x.host] != x.has {
		r.has[x.host] = x.has
		r.changes = append(r.changes, x)
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
