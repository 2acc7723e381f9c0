package sim

import (
	"fmt"
	"time"
)

// A standing topology is a set of links, each way of a pair for itself, that
// stays as it is. Between two of them everything is healed or, half the time,
// the next one follows at once.

// standing lays a topology over the group and checks what must hold while it
// stands, then heals it.
func (w *World) standing() {
	if len(w.hosts) < 3 {
		return
	}
	w.standsStill = true
	name := w.drawTopology()
	w.trace("standing topology: %s%s", name, w.links())
	w.topology()
	w.ails()
	w.check.stands(name)
	w.recover()
	w.standsStill = false
}

// drawTopology draws the links and says of what kind they are.
func (w *World) drawTopology() string {
	n := len(w.hosts)
	order := w.rng.Perm(n)
	for i := range n {
		for j := range n {
			w.setCut(i, j, true)
		}
	}
	join := func(a, b int) { w.setCut(order[a], order[b], false); w.setCut(order[b], order[a], false) }
	kind := "random"
	switch w.rng.IntN(6) {
	case 0:
		kind = "star"
		for i := 1; i < n; i++ {
			join(0, i)
		}
	case 1:
		kind = "chain"
		for i := 1; i < n; i++ {
			join(i-1, i)
		}
	case 2:
		kind = "ring"
		for i := range n {
			join(i, (i+1)%n)
		}
	default:
		share := 0.2 + 0.75*w.rng.Float64()
		for i := range n {
			for j := range i {
				if w.chance(share) {
					join(i, j)
				}
			}
		}
	}
	if w.rng.IntN(2) == 0 { // some links pass one way only
		share := 0.3 * w.rng.Float64()
		for i := range n {
			for j := range n {
				if !w.cut[i][j] && w.chance(share) {
					w.setCut(i, j, true)
				}
			}
		}
		kind += ", one-way cuts"
	}
	return kind
}

// links names the ways that are open, for a transcript or a failure.
func (w *World) links() (s string) {
	for i, a := range w.hosts {
		for j, b := range w.hosts {
			switch {
			case i < j && !w.cut[i][j] && !w.cut[j][i]:
				s += fmt.Sprintf(" %s-%s", a.name, b.name)
			case i != j && !w.cut[i][j] && w.cut[j][i]:
				s += fmt.Sprintf(" %s>%s", a.name, b.name)
			}
		}
	}
	return s
}

// bothWays reports whether messages pass in both directions.
func (w *World) bothWays(a, b *host) bool { return a == b || w.connected(a, b) && w.connected(b, a) }

// fit reports whether the host could do the work of a leader now.
func (h *host) fit() bool {
	return h.running() && h.mayLead() && (h.status.Eligible || h.status.AsideUntil != 0) && h.keeper.running() && h.ailment != unarmable
}

// canLead returns a host that is fit and exchanges messages both ways with a
// majority of its voters, or nil; one that stands aside if there is no other.
func (w *World) canLead() (able *host) {
	for _, h := range w.hosts {
		n := 0
		for _, o := range w.hosts {
			if o.voter != "" && o.running() && w.bothWays(h, o) {
				n++
			}
		}
		switch {
		case !h.fit() || n <= len(h.voters)/2:
		case h.status.AsideUntil == 0:
			return h
		default:
			able = h
		}
	}
	return able
}

// standingBound is how long a group may take to have a leader in a topology
// that has just come to stand, if any host can lead there. A hand-over waits for
// a release that hangs until its limit; such a leader may be elected twice, the
// second time because it stands aside and others come before it.
func (w *World) standingBound() time.Duration {
	return w.timing.PartialBound(len(w.hosts)) + w.hangingReleases()
}

// hangingReleases is how long the releases that hang may keep a group without a
// leader.
func (w *World) hangingReleases() (d time.Duration) {
	for _, h := range w.hosts {
		if h.ailment == hanging {
			d += 2 * w.hookLimit()
		}
	}
	return d
}

// The limits of a topology that stands: the changes of its leader in a minute,
// the first included, and how many minutes it is watched. Each host whose hook
// fails may be elected and hand over besides.
const (
	mostChanges = 5
	watched     = 3
)

// stands watches a topology that stands still: at most so many changes of the
// leader a minute, and none in the last (one in available mode), which begins when no host
// waits any more. In quorum mode somebody leads from the
// stated time on if any host can, but for the time that changes take; no host
// claims without end.
func (c *checker) stands(kind string) {
	w := c.w
	fail := func(format string, args ...any) {
		w.fail("%s:%s: %s: %s", kind, w.links(), fmt.Sprintf(format, args...), w.summary())
	}
	missing := w.now
	for minute := range watched {
		began, changes, claims := w.now, w.changes, w.claims()
		if minute == 1 && w.rng.IntN(4) == 0 {
			w.handOverToHung()
		}
		for w.now < began+time.Minute {
			w.runUntil(w.now + 20*time.Millisecond)
			can := w.canLead()
			if !w.opt.Quorum || can == nil || w.leader() != nil {
				missing = w.now
			}
			w.longest = max(w.longest, float64(w.now-missing)/float64(w.standingBound()))
			if w.now-missing > w.standingBound() {
				fail("%s can lead, and no host does after %v", can.name, w.standingBound())
			}
		}
		if minute == watched-2 {
			w.passWaits()
		}
		n := w.changes - changes
		most := mostChanges + 2*w.failingHooks()
		if !w.opt.Quorum {
			most += len(w.hosts) // each may be left alone, and leads then
		}
		late := 0
		if !w.opt.Quorum {
			late = 1 // gossip that brings news of a leader out of reach may pause for longer than followers wait
		}
		if n > most || minute == watched-1 && n > late && !w.hookFailed {
			fail("the leader changed %d times in minute %d", n, minute+1)
		}
		for id, before := range claims {
			if n := w.hosts[id].claims - before; w.opt.Quorum && n > int(time.Minute/w.timing.Lease) {
				fail("%s claimed %d times in minute %d", w.hosts[id].name, n, minute+1)
			}
		}
	}
	if !w.opt.Quorum {
		c.covered()
	}
}

// mostWaits is how many waits of a host that has led in vain are let pass, each twice as
// long as the one before.
const mostWaits = 5

// passWaits lets the waits pass of hosts that have led in vain before. Such a host leads
// without an answer at the end, minutes after the topology has come to stand, and one
// that hears it without being heard follows it, finds it deaf, and leads as well.
func (w *World) passWaits() {
	for range mostWaits {
		wait := time.Duration(0)
		for _, h := range w.hosts {
			if h.running() {
				wait = max(wait, h.status.AloneAt-h.clock.boot(w.now))
			}
		}
		if wait == 0 {
			return
		}
		w.runUntil(w.now + wait + w.halfCutBound())
	}
}

// failingHooks is how many hosts have a hook that fails or hangs.
func (w *World) failingHooks() (n int) {
	for _, h := range w.hosts {
		if h.ailment == failing || h.ailment == hanging {
			n++
		}
	}
	return n
}

// claims is how often each host has claimed so far.
func (w *World) claims() []int {
	n := make([]int, len(w.hosts))
	for i, h := range w.hosts {
		n[i] = h.claims
	}
	return n
}

// covered checks, in available mode, that each group of hosts that can talk to
// each other, directly or over others, has a leader or follows one that it
// hears, if any of it may lead, and that no two leaders hear each other.
func (c *checker) covered() {
	w := c.w
	comp := w.component()
	leads, may := map[int]bool{}, map[int]bool{}
	for i, h := range w.hosts {
		// None may lead while the release of a hand-over hangs, up to its limit.
		hangs := h.ailment == hanging && h.status.Releasing != 0
		leads[comp[i]] = leads[comp[i]] || h.says() || h.status.Leader != "" || hangs
		// One that has led in vain may wait for an answer; the core's tests bound that.
		waits := h.status.AloneAt > h.clock.boot(w.now)
		may[comp[i]] = may[comp[i]] || h.fit() && !waits
		for _, o := range w.hosts[:i] {
			if h.says() && o.says() && w.bothWays(h, o) {
				w.fail("%s and %s lead and hear each other:%s: %s", o.name, h.name, w.links(), w.summary())
			}
		}
	}
	for i, h := range w.hosts {
		if may[comp[i]] && !leads[comp[i]] {
			w.fail("no host leads the group of %s:%s: %s", h.name, w.links(), w.summary())
		}
	}
}
