package gossip

import (
	"net/netip"
	"time"

	"doyen/gossip/findings"
)

// miss notes that a member has left the view.
func (k *known) miss(now time.Time) {
	k.missing, k.delay = now, 2*firstRetry
	k.due = now.Add(jitter(k.delay))
}

// misses reports whether a member is missing from the view.
func (r *members) misses() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.known {
		if !k.missing.IsZero() {
			return true
		}
	}
	return false
}

// nextMissing returns the missing member to dial now, or how long to wait
// until there may be one.
func (r *members) nextMissing(now time.Time) (string, netip.AddrPort, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first *known
	next := ""
	for name, k := range r.known {
		if name == r.self.Name && now.Sub(k.missing) > findings.TTL {
			// A namesake that is not heard of any more: its verdict is over.
			delete(r.known, name)
			r.clash = time.Time{}
			r.touch()
			continue
		}
		if !k.missing.IsZero() && (first == nil || k.due.Before(first.due)) {
			next, first = name, k
		}
	}
	if first == nil {
		return "", netip.AddrPort{}, time.Hour
	}
	if wait := first.due.Sub(now); wait > 0 {
		return "", netip.AddrPort{}, wait
	}
	first.delay = min(2*first.delay, retryLimit(len(r.members)))
	first.due = now.Add(jitter(first.delay))
	return next, first.addr, 0
}

// dialled notes how the dial of a missing member ended. A first exchange only
// tells a member that it was believed dead; it takes a second one, after the
// member has contradicted, to have it back, so that comes at once.
func (r *members) dialled(name string, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil || k.missing.IsZero() || o != joined {
		return
	}
	if k.dead {
		// This run lives, although its keeper has said that it died: another would have taken
		// its place here. memberlist has never missed it.
		k.dead, k.missing = false, time.Time{}
		r.members[name] = k.peer
		r.touch()
		return
	}
	if k.again {
		return
	}
	k.again = true
	k.due = time.Now().Add(jitter(firstRetry))
	poke(r.lost)
}

// hosts reports whether a member that is or was in the view is on this host.
func (r *members) hosts(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.known {
		if k.addr.Addr().String() == host {
			return true
		}
	}
	return false
}
