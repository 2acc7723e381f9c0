package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"doyen/seniority"
)

// logs models the replicated log of the group, whose entries the leader orders and
// a majority of the voters keeps. It draws from a source of its own.
type logs struct {
	rng    *rand.Rand             // nil: this run has no log
	terms  uint64                 // of the log begun so far
	orders uint64                 // the leadership that the newest of them belongs to
	asked  map[vote]seniority.Log // where each claimant's log ended
}

// keepLogs begins to write, in every other run of quorum mode.
func (w *World) keepLogs() {
	if !w.opt.Quorum || w.opt.Seed%2 == 0 {
		return
	}
	w.logs = logs{rng: rand.New(rand.NewPCG(w.opt.Seed, 0x106)), asked: map[vote]seniority.Log{}}
	w.appendLog()
}

// behind reports whether a log lacks entries of another.
func behind(l, other seniority.Log) bool {
	return cmp.Or(cmp.Compare(l.Term, other.Term), cmp.Compare(l.Index, other.Index)) < 0
}

// appendLog has the leader append an entry, which reaches some of the voters.
func (w *World) appendLog() {
	g := &w.logs
	w.after(time.Duration(1+g.rng.Int64N(int64(w.timing.Lease/2))), w.appendLog)
	h := w.leader()
	if h == nil || h.voter == "" {
		return
	}
	newest, near := h.log, []*host{}
	for _, o := range w.hosts {
		if o != h && o.voter != "" && o.running() && w.connected(h, o) && w.connected(o, h) {
			near = append(near, o)
			if behind(newest, o.log) {
				newest = o.log
			}
		}
	}
	if len(near)+1 <= len(h.voters)/2 {
		return
	}
	if g.orders != h.word.term { // it takes over what a majority has
		g.orders = h.word.term
		g.terms++
		h.log = seniority.Log{Term: g.terms, Index: newest.Index}
	}
	h.log.Index++
	for _, o := range near {
		if g.rng.IntN(3) > 0 {
			o.log = h.log
		}
	}
}

// logged looks at a message that a host sends: no voter that may lead votes for a
// claimant that lacks entries of its own while no leader is known for short.
func (w *World) logged(h *host, m *seniority.Message) {
	g := &w.logs
	if g.rng == nil {
		return
	}
	switch m.Kind {
	case seniority.Claim:
		key := vote{run: m.Incarnation, term: m.Term}
		if m.Stand == seniority.Asking {
			g.asked[key] = m.Log
		} else {
			delete(g.asked, key)
		}
	case seniority.Release:
		if m.Leader != "" {
			h.named = append(h.named, m.Leader)
		}
	case seniority.Confirm:
		log, asks := g.asked[vote{run: m.Incarnation, term: m.Term}]
		mayLead := h.mayLead() && h.status.Eligible
		if asks && mayLead && !slices.Contains(h.named, m.To) && behind(log, h.log) && w.now < h.vacant+2*h.timing.Lease*98/100 {
			w.fail("%s votes for %s, whose log ends at %v, and its own at %v", h.name, m.To, log, h.log)
		}
	}
}
