package sim

import (
	"slices"
	"time"

	"doyen/seniority"
)

// mistime sets the wall clock of a host in available mode, where terms may jump; in quorum
// mode it has the leader's answers come late.
func (w *World) mistime(h *host) {
	if w.opt.Quorum {
		w.confirmsLate()
		return
	}
	h.clock.wall += w.rng.Int64N(7200_000) - 3600_000
}

// stall stops the clocks of a host, where that is what the run is about; else, in quorum
// mode, the leader's agent at a renewal.
func (w *World) stall(h *host) {
	switch {
	case w.opt.Stops:
		w.freeze(h, w.span(w.timing.Lease/2, 4*w.timing.Lease))
	case w.opt.Quorum:
		w.stopAtRenewal()
	}
}

// The faults below strike a leader of quorum mode at the moments of a renewal that random
// faults hardly ever hit.

// confirmsLate has the answers to the leader take up to a lease, and soon cuts all ways
// from it: the last confirm reaches it when the promise has nearly run out.
func (w *World) confirmsLate() {
	h := w.leader()
	if h == nil {
		return
	}
	w.trace("answers to %s are late", h.name)
	w.late, w.lateTill = h, w.now+w.timing.Lease
	w.after(w.span(0, w.timing.Renewal), func() {
		if !w.chaos {
			return
		}
		w.trace("%s cannot reach the others", h.name)
		for i := range w.hosts {
			w.setCut(h.id, i, true)
		}
		w.topology()
	})
}

// stopAtRenewal has the leader's agent stop when it has decided to extend its deadline and
// has not yet done so, until a time between the old deadline and the new one.
func (w *World) stopAtRenewal() {
	if h := w.leader(); h != nil {
		h.stopsAtRenewal = true
	}
}

// stopsNow stops the agent if the output extends the deadline and stopAtRenewal has struck.
func (h *host) stopsNow(out *seniority.Output) bool {
	s, w := &out.Status, h.w
	if !h.stopsAtRenewal || !s.Leading || h.word.state != leading || h.word.term != s.Term || s.Deadline <= h.word.deadline {
		return false
	}
	h.stopsAtRenewal = false
	boot := h.clock.boot(w.now)
	h.stopsWith(out, w.span(h.word.deadline-boot, s.Deadline-boot))
	return true
}

// stopsWith stops the agent for a time, with an output that it carries out afterwards.
func (h *host) stopsWith(out *seniority.Output, d time.Duration) {
	kept := *out
	kept.Messages = slices.Clone(out.Messages)
	kept.Notes = slices.Clone(out.Notes)
	h.pending = &kept
	h.w.stopAgent(h, d)
}
