package sim

import (
	"time"

	"doyen/seniority"
)

// handOverInCalm has the leader asked to hand over when the next in the line of
// succession hangs, since just now or for some time; gossip goes on showing it.
// Somebody who does not hang leads within the time of one failover.
func (w *World) handOverInCalm() {
	lead := w.leader()
	var next *host
	for _, m := range lead.core.Order() {
		for _, h := range w.hosts {
			if next == nil && h != lead && h.name == m.Name && h.mayLead() && m.MayLead() {
				next = h
			}
		}
	}
	if next == nil {
		return
	}
	w.hang(next)
	w.runUntil(w.now + w.span(0, 2*w.timing.Lease))
	lead.feed(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: time.Minute})
	w.runUntil(w.now + w.timing.FailoverBound(len(w.hosts)))
	if w.leader() == nil {
		w.fail("%s hangs, %s was to hand over, and no host leads: %s", next.name, lead.name, w.summary())
	}
	w.wake(next)
	w.aside(lead, 0)
	w.runUntil(w.now + w.settleBound())
	w.check.settled()
}
