package sim

import (
	"time"

	"doyen/seniority"
)

// halfCut cuts all ways to the leader for a while, or all ways from it. It may go on leading itself; the others
// must have elected one of themselves by the stated time, and follow it when
// every member has given the old one up.
func (w *World) halfCut() {
	var cut *host
	for _, h := range w.hosts {
		if h.says() {
			cut = h
		}
	}
	if !w.othersMayLead(cut) {
		return
	}
	deaf := w.rng.IntN(2) == 0
	w.trace("%s hears no other: %t, else no other hears it", cut.name, deaf)
	for i := range w.hosts {
		if deaf {
			w.setCut(i, cut.id, true)
		} else {
			w.setCut(cut.id, i, true)
		}
	}
	w.topology()
	w.runUntil(w.now + w.halfCutBound())
	w.passHandOver(cut)
	w.passWait(cut)
	w.check.deposed(cut)
	w.runUntil(w.now + tellAll*w.timing.Lease)
	w.passHandOver(cut)
	w.passNews(cut)
	w.check.followed(w.check.deposed(cut), cut)
	w.heal()
	w.runUntil(w.now + w.settleBound())
}

// tellAll is how many leases gossip has to tell all of a leader.
const tellAll = 5

// passNews lets gossip tell all of a leader to which another has just handed over.
func (w *World) passNews(cut *host) {
	l := w.check.deposed(cut)
	if end := l.status.Since + tellAll*w.timing.Lease; end > l.clock.boot(w.now) {
		w.runUntil(w.now + end - l.clock.boot(w.now))
	}
}

// passHandOver lets a hand-over among the others that is under way at this very
// time come to its end.
func (w *World) passHandOver(cut *host) {
	for _, h := range w.hosts {
		if h != cut && h.status.Phase == seniority.Yielding {
			w.runUntil(w.now + w.hookLimit() + w.timing.FailoverBound(len(w.hosts)))
			return
		}
	}
}

// passWait lets a host wait for an answer that has led in vain before.
func (w *World) passWait(cut *host) { w.runUntil(w.now + w.vainWait(cut)) }

// vainWait is how long an election may still take because a host that has led in vain
// before waits for an answer. Such a host knows of no other but the leader, since there is
// none, or gossip has not shown it yet, or it has no vote; where it knows more, the others
// answer, so it need not wait.
func (w *World) vainWait(leader *host) time.Duration {
	wait := time.Duration(0)
	for _, h := range w.hosts {
		switch {
		case h == leader || !h.running():
		case h.says():
			return 0
		default:
			wait = max(wait, h.status.AloneAt-h.clock.boot(w.now))
		}
	}
	if wait == 0 {
		return 0
	}
	return seniority.Drifted(min(wait, 8*w.timing.Lease)) + w.timing.FailoverBound(2)
}

// othersMayLead reports whether anybody else may lead.
func (w *World) othersMayLead(h *host) bool {
	for _, o := range w.hosts {
		if o != h && o.role == seniority.Candidate && o.status.Eligible {
			return true
		}
	}
	return false
}

// halfCutBound is how long a group may take to have another leader: the deaf
// one must have waited for answers and said so, promises to it that it could
// not end have run out, and an election has taken place. Another leader that is
// handing over may have a release that hangs.
func (w *World) halfCutBound() time.Duration {
	t := w.timing
	return seniority.Drifted(2*t.Lease) + t.Renewal + t.FailoverBound(len(w.hosts)) + w.hangingReleases()
}

// deposed checks that one of the others leads, and returns it.
func (c *checker) deposed(cut *host) *host {
	var leader *host
	for _, h := range c.w.hosts {
		switch {
		case h == cut || !h.says():
		case leader != nil:
			c.w.fail("%s and %s both lead while %s is half cut off: %s", leader.name, h.name, cut.name, c.w.summary())
		default:
			leader = h
		}
	}
	if leader == nil {
		c.w.fail("no host leads but %s, which is half cut off: %s", cut.name, c.w.summary())
	}
	return leader
}

// followed checks that all but the one that is cut off follow the leader.
func (c *checker) followed(leader, cut *host) {
	for _, h := range c.w.hosts {
		if h != cut && h.status.Leader != leader.name {
			c.w.fail("%s follows %q while %s leads and %s is half cut off: %s", h.name, h.status.Leader, leader.name, cut.name, c.w.summary())
		}
	}
}
