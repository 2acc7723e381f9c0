package sim

import (
	"fmt"
	"time"

	"doyen/seniority"
)

// year2286 is a time that terms end before, in Unix milliseconds.
const year2286 = 10_000_000_000_000

// build draws the group from the seed.
func (w *World) build() {
	r := w.rng
	n := 1 + r.IntN(7)
	if w.opt.Quorum {
		n = 3 + r.IntN(4)
	}
	w.rule = seniority.Seniority{}
	if r.IntN(3) == 0 {
		w.rule = seniority.Bully{}
	}
	w.timing, _ = seniority.Profile([]string{"fast", "lan", "lan", "wan"}[r.IntN(4)])
	w.loneWait = w.span(0, 4*time.Second)
	if w.opt.Quorum {
		w.drawLists(n)
	}
	drift := w.opt.Drift
	if drift == 0 {
		drift = 1_000_000/seniority.Drift - 100
	}
	base := int64(1_770_000_000_000)
	farClocks := -1 // the host whose clock shows a time beyond all terms; n: of all hosts
	if r.IntN(6) == 0 {
		farClocks = r.IntN(n + 1)
	}
	for i := range n {
		h := &host{w: w, id: i, name: fmt.Sprintf("n%d", i+1), rank: uint64(r.IntN(4)), disk: r.IntN(3) == 0}
		h.clock = clock{rate: 1 + float64(r.IntN(drift+1))/1e6, off: w.span(time.Second, 1000*time.Second)}
		h.clock.wall = base + r.Int64N(100)
		if r.IntN(4) > 0 {
			h.record = w.timing.Lease
		}
		if !w.opt.Quorum && r.IntN(8) == 0 {
			h.clock.wall = []int64{0, base + 366*24*3600*1000}[r.IntN(2)]
		}
		if farClocks == i || farClocks == n && !w.opt.Quorum {
			h.clock.wall, w.disagree = year2286, true
		}
		if w.opt.Quorum {
			h.enter(0)
		}
		switch r.IntN(10) {
		case 0:
			if i > 1 {
				h.role = seniority.Witness
			}
		case 1:
			if i > 1 && !w.opt.Quorum {
				h.role = seniority.Observer
			}
		}
		w.hosts = append(w.hosts, h)
		w.cut = append(w.cut, make([]bool, n))
	}
}

// play alternates between chaos and calm.
func (w *World) play() {
	w.calm()
	for _, h := range w.hosts {
		w.after(w.span(0, 3*time.Second), h.boots)
	}
	rounds := w.opt.Rounds
	if rounds == 0 {
		rounds = 1 + w.rng.IntN(3)
	}
	if w.opt.Graphs {
		rounds = 0
		w.runUntil(w.now + 3*time.Second + w.settleBound())
	} else {
		w.settleDown()
	}
	for range rounds {
		w.unleash()
		w.calm()
		w.settleDown()
	}
	if !w.opt.Quorum && !w.opt.Graphs {
		w.halfCut()
		w.check.settled()
	}
	for range w.opt.Standing {
		w.standing()
		if w.rng.IntN(2) == 0 {
			w.heal()
			w.runUntil(w.now + w.settleBound())
			w.check.settled()
		}
	}
	if w.rng.IntN(2) == 0 {
		w.loseSome()
	}
}

// unleash lets faults strike for a while.
func (w *World) unleash() {
	w.chaos = true
	w.check.calm(false)
	w.loss = []float64{0, 0.02, 0.1, 0.4}[w.rng.IntN(4)]
	w.dup = []float64{0, 0.05, 0.3}[w.rng.IntN(3)]
	w.slow = []float64{0, 0.01, 0.1}[w.rng.IntN(3)]
	end := w.now + w.span(time.Second, 15*time.Second)
	if w.opt.Quorum && w.rng.IntN(2) == 0 {
		w.change()
	}
	if w.rng.IntN(3) == 0 {
		w.retime()
	}
	mean := w.span(w.timing.Lease/4, 3*w.timing.Lease)
	for w.now < end {
		w.runUntil(w.now + w.span(0, 2*mean))
		w.strike()
	}
}

// strike applies one fault.
func (w *World) strike() {
	r := w.rng
	h := w.hosts[r.IntN(len(w.hosts))]
	if r.IntN(2) == 0 { // leaders are where it hurts
		for _, o := range w.hosts {
			if o.says() {
				h = o
			}
		}
	}
	o := w.hosts[r.IntN(len(w.hosts))]
	switch r.IntN(20) {
	case 0: // isolate both ways
		for i := range w.hosts {
			w.setCut(h.id, i, true)
			w.setCut(i, h.id, true)
		}
		w.trace("%s isolated", h.name)
		w.topology()
	case 1: // one-way
		w.setCut(h.id, o.id, true)
		w.trace("%s cannot reach %s", h.name, o.name)
		w.topology()
	case 2: // deaf or mute
		for i := range w.hosts {
			if r.IntN(2) == 0 {
				w.setCut(h.id, i, true)
			} else {
				w.setCut(i, h.id, true)
			}
		}
		w.trace("%s half deaf", h.name)
		w.topology()
	case 3: // split
		side := r.Uint64()
		for i := range w.hosts {
			for j := range w.hosts {
				w.setCut(i, j, side>>i&1 != side>>j&1)
			}
		}
		w.trace("split %b", side&(1<<len(w.hosts)-1))
		w.topology()
	case 4, 5:
		w.heal()
	case 6: // kill -9 of the agent
		if h.up {
			h.dies()
			w.after(w.span(time.Millisecond, 3*time.Second), func() { w.boot(h) })
		}
	case 7: // the host dies
		w.killHost(h, w.span(time.Millisecond, 4*time.Second))
	case 8: // the keeper dies
		if h.keeper.alive {
			h.keeper.dies()
		}
	case 9:
		w.stopAgent(h, w.span(time.Millisecond, 3*w.timing.Lease))
	case 10:
		w.stopAgent(h, w.span(w.timing.Lease/2, 3*w.timing.Lease))
		w.stopKeeper(h, w.span(w.timing.Lease/2, 3*w.timing.Lease))
	case 11:
		w.stopKeeper(h, w.span(time.Millisecond, 2*w.timing.Lease))
	case 12:
		if r.IntN(2) == 0 {
			h.feed(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: w.span(0, 3*time.Second)})
		} else {
			h.feed(seniority.Input{Kind: seniority.Elect})
		}
	case 13:
		w.mistime(h)
	case 14:
		if r.IntN(4) == 0 { // everything restarts
			w.trace("full restart")
			for _, x := range w.hosts {
				w.killHost(x, w.span(time.Millisecond, 500*time.Millisecond))
			}
		}
	case 15:
		w.stall(h)
	case 16:
		h.feed(seniority.Input{Kind: seniority.Health, Eligible: false})
		w.after(w.span(0, 3*time.Second), func() { h.feed(seniority.Input{Kind: seniority.Health, Eligible: true}) })
	case 18, 19:
		if a := ailment(r.IntN(int(numAilments))); a != failing && a != hanging || !w.rule.Preempts() {
			w.ail(h, a)
		}
	case 17:
		h.feed(seniority.Input{Kind: seniority.StandAside, Aside: w.span(-time.Second, 3*time.Second)})
	}
}

// freeze stops the clocks of a host, as a hypervisor does.
func (w *World) freeze(h *host, d time.Duration) {
	if h.frozen || !h.up {
		return
	}
	w.trace("%s: clocks stop for %v", h.name, d)
	h.frozen = true
	run := h.run
	w.topology()
	w.after(d, func() {
		if h.run != run || !h.frozen {
			return
		}
		h.clock.stop(d)
		h.frozen = false
		left := h.word.deadline - h.clock.boot(w.now)
		w.trace("%s: clocks go on, %v of lease left", h.name, left)
		h.ghostTill = w.now + h.timing.Lease
		h.keeper.watching = false
		if h.word.state == leading {
			h.keeper.watch()
		}
		h.resume()
		h.keeper.act()
		w.topology()
	})
}

func (w *World) setCut(a, b int, cut bool) {
	if a != b {
		w.cut[a][b] = cut
	}
}

func (w *World) heal() {
	w.trace("heal")
	for i := range w.cut {
		clear(w.cut[i])
	}
	w.topology()
}

// boot starts a host once its former keeper has finished.
func (w *World) boot(h *host) {
	if h.up {
		return
	}
	h.boots()
	if !h.up {
		w.after(5*time.Millisecond, func() { w.boot(h) })
	}
}

// killHost ends agent and keeper at once; what the host held is held no more. Its
// record of what it promised is lost, unless it is on a disk or in a container
// that goes on.
func (w *World) killHost(h *host, down time.Duration) {
	if !h.up {
		return
	}
	h.frozen = false
	w.trace("%s: host dies", h.name)
	elections := append([]*host{h}, h.further()...)
	for _, x := range elections {
		x.keeper.alive = false
		x.keeper.gen++
	}
	h.dies()
	lost := !h.disk && w.rng.IntN(2) == 0
	for _, x := range elections {
		if lost {
			x.record = 0
		}
		x.keeper = keeper{h: x}
		x.word = word{}
	}
	w.after(down, func() { w.boot(h) })
}

func (w *World) stopAgent(h *host, d time.Duration) {
	if g := h.own(); g != h {
		g.w.stopAgent(g, d)
		return
	}
	if !h.running() {
		return
	}
	w.trace("%s: agent stopped for %v", h.name, d)
	elections := append([]*host{h}, h.further()...)
	for _, x := range elections {
		x.stopped = true
		x.keeper.excused = x.keeper.excused || !x.keeper.running()
	}
	run := h.run
	w.after(d, func() {
		if h.up && h.run == run && h.stopped {
			w.trace("%s: agent continued", h.name)
			for _, x := range elections {
				x.stopped = false
			}
			for _, x := range elections {
				x.w.now = w.now
				x.resume()
			}
		}
	})
}

func (w *World) stopKeeper(h *host, d time.Duration) {
	if !h.keeper.running() {
		return
	}
	w.trace("%s: keeper stopped for %v", h.name, d)
	elections := append([]*host{h}, h.further()...)
	for _, x := range elections {
		x.keeper.stopped = true
		x.keeper.excused = x.keeper.excused || !x.running()
	}
	gen := h.run
	w.after(d, func() {
		if h.run == gen && h.keeper.stopped {
			w.trace("%s: keeper continued", h.name)
			for _, x := range elections {
				x.w.now, x.keeper.stopped = w.now, false
				x.keeper.act()
			}
		}
	})
}
