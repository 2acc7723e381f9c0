package sim

import (
	"time"

	"doyen/seniority"
)

// keeper models the second process: it runs the hook, watches the word and the
// pipe, and delivers the will.
type keeper struct {
	h       *host
	alive   bool
	stopped bool

	ordered   seniority.Status // the newest state the agent told
	holds     bool             // from acquire started to release ended or killed
	holdTerm  uint64
	acquiring bool
	releasing bool
	releaseOf uint64
	gen       uint64 // of the hook run under way
	pipeShut  bool
	hasFired  bool
	fireTerm  uint64
	will      [32]byte
	watching  bool
	excused   bool // agent and keeper stood still together: what is held stays until release
}

func (k *keeper) running() bool { return k.alive && !k.stopped && !k.h.frozen }

// busy reports whether a keeper still cleans up after its agent; a successor
// waits for it.
func (k *keeper) busy() bool {
	return k.alive && !k.h.up && (k.holds || k.releasing || k.stopped || k.hasFired)
}

// order takes the agent's newest state.
func (k *keeper) order(s seniority.Status) {
	k.ordered = s
	if s.Leading {
		k.will = s.Will
	}
	if k.running() {
		k.act()
	}
}

// act brings the hook in line with the newest state: one run at a time, and
// release before anything else.
func (k *keeper) act() {
	h, w := k.h, k.h.w
	if !k.running() {
		return
	}
	lead := !k.pipeShut && k.ordered.Leading && h.word.state == leading && h.word.term == k.ordered.Term &&
		h.clock.boot(w.now) < h.word.deadline
	switch {
	case k.releasing:
	case k.holds && !lead:
		k.release()
	case k.holds:
		k.holdTerm = k.ordered.Term
	case lead && !k.holds:
		k.holds, k.acquiring, k.holdTerm = true, true, k.ordered.Term
		k.gen++
		k.acquire(k.gen, 0)
	case !k.holds && k.ordered.Releasing != 0 && !k.pipeShut:
		k.report(k.ordered.Releasing)
	}
	w.check.world()
}

// release kills an acquire under way and runs release until it has ended or,
// with a lease that ends, is killed.
func (k *keeper) release() {
	w := k.h.w
	k.acquiring, k.releasing, k.releaseOf = false, true, k.holdTerm
	k.gen++
	gen := k.gen
	done := func() {
		if k.alive && k.gen == gen && k.releasing {
			k.released()
		}
	}
	took := w.hookTime()
	if k.h.ailment == hanging {
		took = w.hookLimit()
	}
	w.after(took, func() { k.whenRunning(done) })
	k.killAtEnd(gen)
}

// killAtEnd ends a release that would outlast the lease.
func (k *keeper) killAtEnd(gen uint64) {
	h, w := k.h, k.h.w
	if h.word.hard == 0 {
		return
	}
	hard := h.word.hard
	w.at(max(h.clock.global(hard), w.now), func() {
		if !k.alive || k.gen != gen || !k.releasing {
			return
		}
		if h.word.hard > hard || h.clock.boot(w.now) < hard { // moved on meanwhile
			k.killAtEnd(gen)
			return
		}
		k.whenRunning(func() {
			if k.gen == gen && k.releasing {
				k.released()
			}
		})
	})
}

// whenRunning does it now, or when the keeper goes on. A stopped keeper's hook
// children may go on; that only helps, so it is not modelled.
func (k *keeper) whenRunning(do func()) {
	if k.running() {
		do()
		return
	}
	k.h.w.after(time.Millisecond, func() {
		if k.alive {
			k.whenRunning(do)
		}
	})
}

func (k *keeper) released() {
	k.holds, k.releasing, k.excused = false, false, false
	term := k.releaseOf
	k.h.w.trace("%s: release of %d has ended", k.h.name, term)
	if k.hasFired || k.pipeShut {
		k.deliverWill(term)
	}
	k.report(term)
	k.act()
}

// report tells the agent that the release of a term has ended.
func (k *keeper) report(term uint64) {
	h := k.h
	if k.pipeShut || !h.up {
		return
	}
	if k.hasFired && k.fireTerm == term {
		k.hasFired = false
		k.inform(seniority.Input{Kind: seniority.Fired, Term: term, Reason: seniority.KeeperFired})
	}
	k.inform(seniority.Input{Kind: seniority.Released, Term: term})
}

func (k *keeper) inform(in seniority.Input) {
	h, run := k.h, k.h.run
	h.w.after(50*time.Microsecond, func() {
		if h.up && h.run == run {
			h.feed(in)
		}
	})
}

// watch fires when the deadline passes without having been moved.
func (k *keeper) watch() {
	if k.watching || !k.alive {
		return
	}
	h, w := k.h, k.h.w
	k.watching = true
	w.at(max(h.clock.global(h.word.deadline), w.now), func() {
		k.watching = false
		if !k.alive || h.word.state != leading {
			return
		}
		if h.clock.boot(w.now) < h.word.deadline {
			k.watch()
			return
		}
		k.whenRunning(func() { k.fire() })
	})
}

// fire ends the term for good, if the deadline still stands.
func (k *keeper) fire() {
	h, w := k.h, k.h.w
	if h.word.state != leading || !k.pipeShut && h.clock.boot(w.now) < h.word.deadline {
		if h.word.state == leading {
			k.watch()
		}
		return
	}
	h.word.state = fired
	k.hasFired, k.fireTerm = true, h.word.term
	w.trace("%s: keeper fires for %d", h.name, h.word.term)
	if !k.holds {
		k.releaseOf = h.word.term
		k.released()
		return
	}
	k.act()
}

// pipeClosed: the agent is gone.
func (k *keeper) pipeClosed() {
	if !k.alive {
		return
	}
	k.pipeShut = true
	k.excused = k.excused || k.stopped
	k.whenRunning(func() {
		if k.h.word.state == leading {
			k.fire()
		} else {
			k.hasFired = k.hasFired && (k.holds || k.releasing)
			k.act()
		}
	})
}

// deliverWill tells the voters on the leader's behalf that the term is over.
func (k *keeper) deliverWill(term uint64) {
	h, w := k.h, k.h.w
	w.trace("%s: will of %d", h.name, term)
	for _, o := range w.hosts {
		if o != h {
			w.send(h, seniority.Message{
				Kind: seniority.Release, From: h.name, To: o.name, Incarnation: h.run, Term: term,
				Voter: h.voter, Voters: h.voters, Reason: seniority.KeeperFired, Will: k.will,
			})
		}
	}
	k.hasFired = k.hasFired && h.up
}

// dies ends the keeper. Its agent, if it runs, kills the hook and steps down;
// a new keeper begins with a release.
func (k *keeper) dies() {
	if g := k.h.own(); g != k.h && g.keeper.alive {
		g.keeper.dies() // one process keeps all elections of a host
		return
	}
	for _, f := range k.h.further() {
		if f.keeper.alive {
			f.keeper.ends()
		}
	}
	k.ends()
}

// ends is dies for one election.
func (k *keeper) ends() {
	h := k.h
	h.w.trace("%s: keeper dies", h.name)
	k.alive = false
	k.gen++
	if !h.up {
		k.excused = true
		return
	}
	held := k.holds
	h.keeper = keeper{h: h, alive: true, holds: held, holdTerm: k.holdTerm, excused: k.excused, ordered: k.ordered, will: k.will}
	n := &h.keeper
	term := h.word.term
	if h.word.state == leading {
		// The agent's first act is to end the term in the word.
		if h.running() {
			h.word.state = fired
			n.inform(seniority.Input{Kind: seniority.Fired, Term: term, Reason: seniority.KeeperFired})
		} else {
			n.watch()
		}
	}
	n.act()
}
