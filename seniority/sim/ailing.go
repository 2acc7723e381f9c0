package sim

import (
	"time"

	"doyen/seniority"
)

// ailment is what may be wrong with a host that otherwise runs: what its agent
// decides, its keeper cannot do.
type ailment uint8

const (
	sound       ailment = iota
	unarmable           // the deadline cannot be armed; the agent learns of it and says so
	failing             // every acquire fails
	hanging             // every run of the hook hangs until its limit
	numAilments         // of kinds
)

var ailmentNames = [numAilments]string{"sound", "cannot arm its deadline", "has an acquire that fails", "has a hook that hangs"}

// The limits that an agent has for its hook.
const (
	acquireLimit = 3 // failures before the leader hands over
	acquireAside = time.Minute
)

// hookLimit is when a run of the hook is killed.
func (w *World) hookLimit() time.Duration { return 3 * w.timing.Lease }

// ail makes something wrong with a host, or all right again. The agent notices
// a deadline that cannot be armed soon, but not at once.
func (w *World) ail(h *host, a ailment) {
	if h.ailment == a {
		return
	}
	w.trace("%s %s", h.name, ailmentNames[a])
	before := h.ailment
	h.ailment = a
	if before != unarmable && a != unarmable {
		return
	}
	if a == unarmable && h.word.state == leading && h.keeper.running() {
		h.keeper.dies() // it is this that makes it so; none comes back
	}
	w.after(w.span(0, 100*time.Millisecond), func() {
		h.feed(seniority.Input{Kind: seniority.Health, Eligible: h.ailment != unarmable, Reason: seniority.KeeperFired})
	})
}

// acquire runs the hook's acquire until it succeeds, or has failed too often.
func (k *keeper) acquire(gen uint64, failures int) {
	h, w := k.h, k.h.w
	took := w.hookTime()
	if h.ailment == hanging {
		took = w.hookLimit()
	}
	w.after(took, func() {
		k.whenRunning(func() {
			switch {
			case !k.alive || k.gen != gen:
			case h.ailment != failing && h.ailment != hanging:
				k.acquiring = false
			case failures+1 == acquireLimit:
				w.hookFailed = true
				k.inform(seniority.Input{Kind: seniority.StepDown, Reason: seniority.HookFailed, Aside: acquireAside})
			default:
				w.after(w.timing.Lease, func() {
					if k.alive && k.gen == gen {
						k.acquire(gen, failures+1)
					}
				})
			}
		})
	})
}

// ails draws what is wrong with each host while a topology stands: mostly nothing.
// Some hang altogether: neither agent nor keeper do anything, and gossip goes
// on showing them.
func (w *World) ails() {
	for _, h := range w.hosts {
		switch w.rng.IntN(24) {
		case 0:
			w.ail(h, unarmable)
		case 1:
			w.ail(h, failing)
		case 2:
			w.ail(h, hanging)
		case 3:
			w.hang(h)
		}
	}
}

// recover makes all hosts sound again.
func (w *World) recover() {
	for _, h := range w.hosts {
		w.ail(h, sound)
		w.aside(h, 0)
		w.wake(h)
	}
}

// hang stops agent and keeper of a host until it is woken.
func (w *World) hang(h *host) {
	w.stopAgent(h, 24*time.Hour)
	w.stopKeeper(h, 24*time.Hour)
}

// wake lets a host that hangs go on.
func (w *World) wake(h *host) {
	if h.up && h.stopped && h.keeper.stopped {
		w.trace("%s goes on", h.name)
		h.stopped, h.keeper.stopped = false, false
		h.resume()
		h.keeper.act()
	}
}

// handOverToHung has the leader asked to hand over when the member that would
// come next has just stopped doing anything.
func (w *World) handOverToHung() {
	leader := w.leader()
	if leader == nil {
		return
	}
	for _, m := range leader.core.Order() {
		if m.Name == leader.name || !m.MayLead() {
			continue
		}
		for _, h := range w.hosts {
			if h.name == m.Name {
				w.hang(h)
			}
		}
		break
	}
	w.after(w.span(0, 2*w.timing.Lease), func() {
		leader.feed(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: 3 * time.Second})
	})
}
