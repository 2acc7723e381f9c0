package sim

import (
	"slices"
	"time"

	"doyen/seniority"
)

// calm ends all faults.
func (w *World) calm() {
	w.chaos = false
	w.loss, w.dup, w.slow, w.late = 0, 0, 0, nil
	w.heal()
	w.completeChange()
	w.completeRetime()
	w.recover()
	for _, h := range w.hosts {
		h.feed(seniority.Input{Kind: seniority.Health, Eligible: true})
	}
}

// settleDown runs until everything must have settled, then checks that it has
// and that it stays so.
func (w *World) settleDown() {
	// Stopped hosts go on, dead ones come back, standing aside ends.
	w.runUntil(w.now + 6*time.Second + 3*w.timing.Lease)
	w.runUntil(w.now + w.settleBound())
	w.check.settled()
	w.check.calm(true)
	w.runUntil(w.now + 5*w.timing.Lease)
	w.check.settled()
	if len(w.hosts) > 2 && (w.opt.Quorum || !w.rule.Preempts()) {
		w.visit()
		w.check.settled()
	}
	w.check.calm(false)
	if w.rng.IntN(2) == 0 {
		w.relieve()
	}
	if w.rng.IntN(2) == 0 {
		w.handOverInCalm()
	}
}

// loseSome ends the run with a calm in which some hosts are gone for good: fewer than half,
// of all and of the voters. What holds in calm must hold for those that are left.
func (w *World) loseSome() {
	w.heal()
	w.runUntil(w.now + w.settleBound())
	w.check.settled()
	minority := func(n int) int { return (n - 1) / 2 }
	voters := minority(len(w.hosts[0].voters))
	lost := 0
	for _, id := range w.rng.Perm(len(w.hosts)) {
		h := w.hosts[id]
		if lost == minority(len(w.hosts)) || lost > 0 && w.rng.IntN(2) == 0 {
			break
		}
		if h.voter != "" {
			if voters == 0 {
				continue
			}
			voters--
		}
		w.lose(h)
		lost++
	}
	w.runUntil(w.now + w.settleBound())
	w.passWaits() // the only voter that is left may have led in vain before
	w.check.settled()
	w.check.calm(true)
	w.runUntil(w.now + 5*w.timing.Lease)
	w.check.settled()
	w.check.calm(false)
}

// lose ends a host for good.
func (w *World) lose(h *host) {
	w.killHost(h, forGood)
	h.gone = true
	for _, f := range h.further() {
		f.gone = true
	}
}

// forGood is longer than any run.
const forGood = 24 * time.Hour

// relieve puts the leader aside, which must cost it the lead if anybody else
// may have it. Then it puts all aside at once: one must lead all the
// same, and stay.
func (w *World) relieve() {
	bound := joinTime + 4*w.timing.Lease + w.timing.FailoverBound(len(w.hosts))
	before := w.leader()
	w.aside(before, time.Hour)
	w.runUntil(w.now + bound)
	others := slices.ContainsFunc(w.hosts, func(h *host) bool { return h != before && h.mayLead() })
	relieved := w.leader()
	if relieved == nil || (relieved != before) != others {
		w.fail("%s stands aside; others may lead: %v: %s", before.name, others, w.summary())
	}
	for _, h := range w.hosts {
		w.aside(h, time.Hour)
	}
	w.runUntil(w.now + bound)
	last := w.leader()
	w.runUntil(w.now + bound)
	if last == nil || w.leader() != last {
		w.fail("all stand aside, and no host leads for long: %s", w.summary())
	}
	for _, h := range w.hosts {
		w.aside(h, 0)
	}
	w.runUntil(w.now + w.settleBound())
	w.check.settled()
}

// aside has a host stand aside.
func (w *World) aside(h *host, d time.Duration) {
	h.feed(seniority.Input{Kind: seniority.StandAside, Aside: d})
}

// leader is the one host that leads, or nil.
func (w *World) leader() *host {
	i := slices.IndexFunc(w.hosts, (*host).says)
	if i < 0 {
		return nil
	}
	return w.hosts[i]
}

// visit cuts one that does not lead off for a while, one way or both, and lets
// it come back: that must not cost the leader its lead.
func (w *World) visit() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	if h.says() {
		return
	}
	w.trace("%s is away", h.name)
	before := w.led()
	ways := w.rng.IntN(3)
	for i := range w.hosts {
		w.setCut(h.id, i, ways != 1)
		w.setCut(i, h.id, ways != 2)
	}
	w.topology()
	w.runUntil(w.now + w.span(0, leaveTime+2*w.timing.Lease))
	w.heal()
	w.runUntil(w.now + w.settleBound())
	if after := w.led(); w.opt.Quorum && ways == 0 && after != before {
		w.fail("%s was away and is back, and term %d has become %d", h.name, before, after)
	}
}

// led is the term that is led now, or 0.
func (w *World) led() uint64 {
	if h := w.leader(); h != nil {
		return h.word.term
	}
	return 0
}

// settleBound is how long after the last fault a group may take to have its
// one leader: gossip must have noticed, late messages have arrived, a lone
// member have waited, and a failover and a merger have taken place.
func (w *World) settleBound() time.Duration {
	return leaveTime + joinTime + w.loneWait + 6*w.timing.Lease + w.timing.Settle + 2*w.timing.FailoverBound(len(w.hosts))
}
