package sim

import "doyen/seniority"

// retime changes the profile: every host goes by it from its next start on. Some
// restart one by one, others when a fault has ended them, and at times all that
// do not lead at once, with the leader cut off: what they promised it must hold.
func (w *World) retime() {
	before := w.timing
	for w.timing == before {
		w.timing, _ = seniority.Profile([]string{"fast", "lan", "wan"}[w.rng.IntN(3)])
	}
	w.trace("the profile changes, lease %v to %v", before.Lease, w.timing.Lease)
	lead := w.leader()
	if lead != nil && w.rng.IntN(2) == 0 {
		for i := range w.hosts {
			w.setCut(lead.id, i, true)
			w.setCut(i, lead.id, true)
		}
		w.trace("%s isolated", lead.name)
		w.topology()
		former := w.rng.IntN(2) == 0 // a version that kept no records
		for _, h := range w.hosts {
			if h != lead {
				if former && h.up {
					h.record = 0
				}
				w.restart(h)
			}
		}
		return
	}
	at := w.span(0, before.Lease)
	for _, id := range w.rng.Perm(len(w.hosts)) {
		h := w.hosts[id]
		w.after(at, func() {
			if h.timing != w.timing {
				w.restart(h)
			}
		})
		at += w.span(before.Lease/4, 2*before.Lease)
	}
}

// restart ends the agent of a host, or all of the host, and starts it again.
func (w *World) restart(h *host) {
	switch {
	case !h.up || h.frozen:
	case w.rng.IntN(2) == 0:
		w.killHost(h, w.span(0, w.timing.Confirm))
	default:
		h.dies()
		w.boot(h)
	}
}

// completeRetime brings every host to the profile that the group goes by now.
func (w *World) completeRetime() {
	for _, h := range w.hosts {
		if h.up && h.timing != w.timing {
			h.frozen = false
			w.killHost(h, 0)
		}
	}
}
