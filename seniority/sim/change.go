package sim

import "fmt"

// A run of quorum mode may change its list of voters: one entry is appended,
// and the hosts restart with the new list one by one, while faults strike. A
// hasty operator starts the next new voter with the list after that already;
// as long as it is a single node, both majorities together must hold that too.

// drawLists draws the lists that the hosts will go by, one stage after another.
func (w *World) drawLists(n int) {
	grow := 0
	if n > 3 {
		grow = w.rng.IntN(3)
		grow = min(grow, n-3)
	}
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("n%d", i+1))
	}
	for i := n - grow; i <= n; i++ {
		w.lists = append(w.lists, all[:i:i])
	}
}

// last is the stage at which a change ends.
func (w *World) last() int { return len(w.lists) - 1 }

// enter makes a host go by the list of a stage from its next start on.
func (h *host) enter(stage int) {
	h.stage = stage
	h.voters = h.w.lists[stage]
	h.voter = ""
	if h.id < len(h.voters) {
		h.voter = h.name
	}
}

// change restarts the hosts with the next list, one by one; it goes on while
// other faults strike.
func (w *World) change() {
	if w.changed || w.last() == 0 {
		return
	}
	w.changed = true
	hosts := w.rng.Perm(len(w.hosts))
	hasty := w.last() == 2 && w.rng.IntN(2) == 0
	if hasty { // the newest first, the oldest last, and apart from the others
		for i := range hosts {
			hosts[i] = len(hosts) - 1 - i
		}
	}
	at := w.span(0, w.timing.Lease)
	for i, id := range hosts {
		if hasty && i == len(hosts)-2 {
			w.after(at, w.splitOldest)
			at += w.span(4*w.timing.Lease, 8*w.timing.Lease)
		}
		h, stage := w.hosts[id], 1
		if id == len(w.hosts)-1 {
			stage = w.last()
		}
		w.after(at, func() { w.restartWith(h, stage) })
		at += w.span(w.timing.Lease/2, 3*w.timing.Lease)
	}
}

// splitOldest cuts the first two hosts off from the others.
func (w *World) splitOldest() {
	if !w.chaos {
		return
	}
	w.trace("the oldest apart")
	for i := range w.hosts {
		for j := range w.hosts {
			w.setCut(i, j, (i < 2) != (j < 2))
		}
	}
	w.topology()
}

func (w *World) restartWith(h *host, stage int) {
	if h.stage >= stage || h.frozen {
		return
	}
	w.trace("%s goes by list %d", h.name, stage)
	if h.up && w.rng.IntN(2) == 0 {
		w.killHost(h, 0)
	} else if h.up {
		h.dies()
	}
	h.next = stage
	w.boot(h)
}

// completeChange brings every host to the last list. Hosts that are behind
// make it a restart of everything: more than two lists must not be about.
func (w *World) completeChange() {
	behind := false
	for _, h := range w.hosts {
		behind = behind || w.changed && h.stage < w.last()
	}
	if !behind {
		return
	}
	w.trace("all go by list %d", w.last())
	for _, h := range w.hosts {
		h.next = w.last()
		h.frozen = false
		w.killHost(h, 0)
		w.boot(h)
	}
}
