package sim

import (
	"time"

	"doyen/seniority"
)

// views is what gossip tells one host of the others. It follows the truth
// after a while, differently on every host.
type views struct {
	h       *host
	sees    []bool // by host id
	known   []seniority.Member
	settled bool
	gen     uint64
}

// How long gossip takes to notice that a host can, or cannot, be reached.
const (
	joinTime  = 2 * time.Second
	leaveTime = 8 * time.Second
	metaTime  = 400 * time.Millisecond
)

// reset begins a run's view: the host alone.
func (v *views) reset(h *host) {
	v.h = h
	v.gen++
	v.sees = make([]bool, len(h.w.hosts))
	v.known = make([]seniority.Member, len(h.w.hosts))
	v.settled = false
	gen := v.gen
	h.w.after(h.w.span(time.Millisecond, 300*time.Millisecond), func() {
		if h.up && v.gen == gen {
			v.settled = true
			v.tell()
		}
	})
	h.w.topology()
}

// tell gives the agent its view.
func (v *views) tell() {
	members := []seniority.Member{v.h.member()}
	for id, s := range v.sees {
		if s {
			members = append(members, v.known[id])
		}
	}
	v.h.feed(seniority.Input{Kind: seniority.View, Members: members, Settled: v.settled})
}

// component returns, by host id, which hosts can talk to each other, directly
// or over others.
func (w *World) component() []int {
	comp := make([]int, len(w.hosts))
	for i := range comp {
		comp[i] = -1
	}
	for i, h := range w.hosts {
		if comp[i] >= 0 || !h.up || h.frozen {
			continue
		}
		stack := []int{i}
		comp[i] = i
		for len(stack) > 0 {
			a := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for b, o := range w.hosts {
				if comp[b] < 0 && o.up && !o.frozen && !w.cut[a][b] && !w.cut[b][a] {
					comp[b] = i
					stack = append(stack, b)
				}
			}
		}
	}
	return comp
}

// topology lets every view follow what can be reached now.
func (w *World) topology() {
	for _, f := range w.further {
		f.now = w.now
		f.topology()
	}
	comp := w.component()
	for _, h := range w.hosts {
		for _, o := range w.hosts {
			if h == o || !h.up || h.view.sees == nil {
				continue
			}
			reach := comp[h.id] >= 0 && comp[h.id] == comp[o.id]
			if reach == h.view.sees[o.id] && (!reach || h.view.known[o.id].Incarnation == o.run) {
				continue
			}
			d := w.span(5*time.Millisecond, joinTime)
			if !reach {
				d = w.span(time.Second, leaveTime)
			}
			if reach && !w.chaos && w.chance(0.5) {
				d = w.span(5*time.Millisecond, 50*time.Millisecond)
			}
			h, o, gen := h, o, h.view.gen
			w.after(d, func() { w.notice(h, o, gen, reach) })
		}
	}
}

// notice changes one view, if what it rests on still holds.
func (w *World) notice(h, o *host, gen uint64, reach bool) {
	comp := w.component()
	if !h.up || h.view.gen != gen || reach != (comp[h.id] >= 0 && comp[h.id] == comp[o.id]) {
		return
	}
	if h.view.sees[o.id] == reach && (!reach || h.view.known[o.id].Incarnation == o.run) {
		return
	}
	h.view.sees[o.id] = reach
	if reach {
		h.view.known[o.id] = o.member()
		w.greet(o, h)
	}
	h.view.tell()
}

// greet passes on what o knows of the leadership, in the group's own election alone.
func (w *World) greet(o, h *host) {
	if w.group != nil {
		return
	}
	if m, ok := o.core.Greeting(); ok {
		m = w.overWire(m)
		m.Gossiped = true
		h.feed(seniority.Input{Kind: seniority.Receive, Message: m})
	}
}

// gossip spreads a message to all that can be reached, some time soon.
func (w *World) gossip(from *host, m seniority.Message) {
	m.Gossiped = true
	for _, to := range w.hosts {
		if to == from || w.chance(w.loss/4) {
			continue
		}
		w.after(w.span(5*time.Millisecond, 600*time.Millisecond), func() {
			comp := w.component()
			if to.up && comp[to.id] >= 0 && (comp[to.id] == comp[from.id] || w.connected(from, to)) {
				to.feed(seniority.Input{Kind: seniority.Receive, Message: m})
			}
		})
	}
}

// gossipMeta spreads what a host tells of itself.
func (w *World) gossipMeta(from *host) {
	m, run := from.member(), from.run
	for _, to := range w.hosts {
		if to == from || !to.up || to.view.sees == nil {
			continue
		}
		gen := to.view.gen
		w.after(w.span(5*time.Millisecond, metaTime), func() {
			if to.up && to.view.gen == gen && to.view.sees[from.id] && from.run == run && to.view.known[from.id].Incarnation == run {
				to.view.known[from.id] = m
				if from.up {
					to.view.known[from.id] = from.member()
				}
				to.view.tell()
			}
		})
	}
}
