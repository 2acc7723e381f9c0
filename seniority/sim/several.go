package sim

import (
	"fmt"
	"slices"
	"time"

	"doyen/seniority"
)

// Several elections over one group are several worlds over the same hosts: they
// share the queue, the random numbers, the links, and every fault that strikes a
// process or a host; each has its own cores, keepers, gossip and checkers. The
// doyen lays the further elections over the hosts, and has them moved, as package
// agent does.
//
// Besides what is checked in each election: once settled, the first preferred host
// that may lead an election leads it, and of the others no host leads two more than
// another that could have one of these; nothing moves then; no two elections are
// moved at the same time; and those of a host that dies go to the others evenly, at
// once.

// rebalanceDelay is how long a better placement must have lasted before an
// election is moved to it.
const rebalanceDelay = 3 * time.Second

// placeEvery is how often the doyen works the placement out.
const placeEvery = 100 * time.Millisecond

// laying is a placement as the doyen publishes it.
type laying struct {
	term    uint64
	at      time.Duration      // when it was worked out: of one term the newest counts
	choices []seniority.Choice // by further election
	move    int                // the one that is to be moved now; -1: none
}

// laid is the placement in a world of several elections.
type laid struct {
	known  []laying        // the newest that each host knows, by host
	since  []time.Duration // since when each election has been misplaced; 0: it is not
	moving time.Duration   // since when the move that was published last is under way
	doyen  uint64          // the run that since and moving belong to
	moves  int             // that were asked for
}

// own is the host in the world of the group's own election, which it shares its
// agent, its keeper and its clock with.
func (h *host) own() *host {
	if h.w.group == nil {
		return h
	}
	return h.w.group.hosts[h.id]
}

// further are the other elections of a host of the group's own world.
func (h *host) further() []*host {
	all := make([]*host, len(h.w.further))
	for i, f := range h.w.further {
		f.now = h.w.now
		all[i] = f.hosts[h.id]
	}
	return all
}

// buildFurther makes the worlds of the further elections.
func (w *World) buildFurther() {
	w.rule = seniority.Seniority{} // placement is checked; what bully prefers is checked elsewhere
	for e := range w.opt.Elections {
		f := &World{
			opt: w.opt, rng: w.rng, queue: w.queue, rule: w.rule, lists: w.lists, timing: w.timing, disagree: w.disagree,
			loneWait: w.loneWait, cut: w.cut, name: fmt.Sprintf("e%d ", e), group: w,
		}
		f.check = newChecker(f)
		for _, h := range w.hosts {
			x := &host{w: f, id: h.id, name: h.name, rank: h.rank, disk: h.disk, role: h.role, clock: h.clock, record: h.record}
			x.voters, x.voter = h.voters, h.voter
			if x.role == seniority.Candidate && x.id > 0 && w.rng.IntN(8) == 0 {
				x.role = seniority.Witness // its settings do not name the election
			}
			f.hosts = append(f.hosts, x)
		}
		if w.rng.IntN(4) == 0 {
			for _, i := range w.rng.Perm(len(w.hosts))[:min(1+w.rng.IntN(2), len(w.hosts))] {
				f.prefer = append(f.prefer, w.hosts[i].name)
			}
		}
		w.further = append(w.further, f)
	}
	w.laid = laid{known: make([]laying, len(w.hosts)), since: make([]time.Duration, len(w.further))}
}

// eachFurther does something in every further election.
func (w *World) eachFurther(do func(*World)) {
	for _, f := range w.further {
		f.now = w.now
		do(f)
	}
}

// playSeveral alternates between chaos and calm.
func (w *World) playSeveral() {
	w.calm()
	for _, h := range w.hosts {
		w.after(w.span(0, 3*time.Second), h.boots)
	}
	w.after(0, w.keepPlacing)
	w.settleSeveral()
	for range 1 + w.rng.IntN(2) {
		w.chaosSeveral()
		w.calm()
		w.eachFurther((*World).calmFurther)
		w.settleSeveral()
	}
	if len(w.hosts) > 2 {
		w.bury()
	}
}

// calmFurther ends the faults of one further election; links and processes are
// the group's.
func (w *World) calmFurther() {
	w.chaos = false
	w.loss, w.dup, w.slow = 0, 0, 0
	w.recover()
	for _, h := range w.hosts {
		h.feed(seniority.Input{Kind: seniority.Health, Eligible: true})
	}
}

// chaosSeveral lets faults strike for a while: those of processes, hosts and
// links all elections, the others one of them.
func (w *World) chaosSeveral() {
	w.chaos = true
	w.loss = []float64{0, 0.02, 0.2}[w.rng.IntN(3)]
	w.eachFurther(func(f *World) {
		f.chaos, f.loss = true, w.loss
		f.check.calm(false)
	})
	w.check.calm(false)
	end := w.now + w.span(time.Second, 10*time.Second)
	for w.now < end {
		w.runUntil(w.now + w.span(0, 4*w.timing.Lease))
		if w.rng.IntN(3) > 0 {
			w.strike()
		} else {
			f := w.further[w.rng.IntN(len(w.further))]
			f.now = w.now
			f.strikeOne()
		}
		for _, f := range w.further {
			for i, h := range f.hosts {
				h.clock = w.hosts[i].clock
				if !h.up && i > 0 && w.hosts[i].role == seniority.Candidate && w.rng.IntN(16) == 0 {
					h.changeRole()
				}
			}
		}
	}
}

// changeRole has a host that is down come back with settings that name the election,
// if they did not, or that no longer do.
func (h *host) changeRole() {
	if h.role == seniority.Candidate {
		h.role = seniority.Witness
	} else {
		h.role = seniority.Candidate
	}
	h.w.trace("%s is to be %v", h.name, h.role)
}

// strikeOne applies one fault to one election alone.
func (w *World) strikeOne() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch w.rng.IntN(4) {
	case 0:
		h.feed(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: w.span(0, 3*time.Second)})
	case 1:
		h.feed(seniority.Input{Kind: seniority.Health, Eligible: false})
		w.after(w.span(0, 3*time.Second), func() { h.feed(seniority.Input{Kind: seniority.Health, Eligible: true}) })
	case 2:
		h.feed(seniority.Input{Kind: seniority.StandAside, Aside: w.span(-time.Second, 3*time.Second)})
	case 3:
		h.feed(seniority.Input{Kind: seniority.Elect})
	}
}

// keepPlacing has the doyen place the elections, and leaders make the move that
// it asks for, again and again.
func (w *World) keepPlacing() {
	for _, h := range w.hosts {
		if h.running() && h.status.Leading && h.says() {
			w.place(h)
		}
		w.move(h)
	}
	w.after(placeEvery, w.keepPlacing)
}

// move hands the election over that is to be moved, if the host leads it: to the
// member that was chosen, which is refused while it does not answer.
func (w *World) move(h *host) {
	l := &w.laid.known[h.id]
	if l.term == 0 || l.move < 0 {
		return
	}
	f := h.further()[l.move]
	if to := l.choices[l.move].First; f.running() && f.status.Leading && to != h.name {
		f.w.trace("%s moves it to %s", h.name, to)
		f.feed(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Preempted, Name: to})
		w.oneMove()
	}
}

// place works the placement out on the doyen, by what that one knows, and
// publishes it.
func (w *World) place(doyen *host) {
	p := &w.laid
	if p.doyen != doyen.run {
		p.doyen, p.moving = doyen.run, 0
		clear(p.since)
	}
	placed := make([]seniority.Placed, len(w.further))
	for i, f := range w.further {
		placed[i] = f.placed(doyen)
		if known := w.laid.known[doyen.id].choices; known != nil {
			placed[i].Choice = known[i]
		}
	}
	next := laying{term: doyen.status.Term, at: w.now, choices: seniority.Place(seniority.Spread, doyen.name, placed), move: -1}
	w.needed(placed, next.choices)
	var due []int
	for i := range placed {
		switch {
		case seniority.Misplaced(placed[i:i+1], next.choices[i:i+1]) < 0:
			p.since[i] = 0
		case p.since[i] == 0:
			p.since[i] = w.now
		case w.now >= p.since[i]+rebalanceDelay:
			due = append(due, i)
		}
	}
	if old := w.laid.known[doyen.id]; old.term == next.term && old.move >= 0 && slices.Contains(due, old.move) && w.now < p.moving+10*w.timing.Lease {
		next.move = old.move
	} else if len(due) > 0 {
		next.move, p.moving = due[0], w.now
		p.moves++
	}
	w.publish(doyen, next)
}

// needed checks that nothing is placed anew where all is even already.
func (w *World) needed(placed []seniority.Placed, choices []seniority.Choice) {
	n := map[string]int{}
	for i := range placed {
		n[placed[i].Leader]++
	}
	for i := range placed {
		p := &placed[i]
		if first := slices.IndexFunc(p.Prefer, func(c string) bool { return slices.Contains(p.Candidates, c) }); first >= 0 {
			if p.Prefer[first] != p.Leader {
				return
			}
			continue // it stays, however much its leader leads
		}
		if !slices.Contains(p.Candidates, p.Leader) ||
			slices.ContainsFunc(p.Candidates, func(c string) bool { return n[p.Leader]-n[c] > 1 }) {
			return
		}
	}
	for i, c := range choices {
		if c.First != placed[i].Leader {
			w.fail("%s is to move from %s to %s without need: %v", placed[i].Name, placed[i].Leader, c.First, n)
		}
	}
}

// placed is a further election as a host knows it.
func (w *World) placed(at *host) seniority.Placed {
	x := w.hosts[at.id]
	p := seniority.Placed{Name: w.name, Leader: x.status.Leader, Prefer: w.prefer}
	for _, m := range at.core.Order() { // in the order of the group, which no placement changes
		i := slices.IndexFunc(x.core.Order(), func(o seniority.Member) bool { return o.Name == m.Name })
		if i >= 0 && x.core.Order()[i].MayLead() && (len(x.voters) == 0 || m.Voter != "") {
			p.Candidates = append(p.Candidates, m.Name)
		}
	}
	return p
}

// publish brings a placement to all that can be reached, some time soon, and again
// while they do not have it.
func (w *World) publish(doyen *host, l laying) {
	if old := &w.laid.known[doyen.id]; old.same(&l) {
		l.at = old.at
	} else {
		w.trace("%s places %v, moves %d", doyen.name, l.choices, l.move)
		w.learn(doyen, l)
	}
	for _, to := range w.hosts {
		if old := &w.laid.known[to.id]; to == doyen || old.same(&l) || w.chance(w.loss/4) {
			continue
		}
		w.after(w.span(5*time.Millisecond, metaTime), func() {
			comp := w.component()
			if to.up && comp[to.id] >= 0 && comp[to.id] == comp[doyen.id] {
				w.learn(to, l)
			}
		})
	}
}

// same reports whether two placements say the same.
func (l *laying) same(o *laying) bool {
	return l.term == o.term && l.move == o.move && slices.Equal(l.choices, o.choices)
}

// learn has a host go by a placement, unless it is older than the one it has.
func (w *World) learn(h *host, l laying) {
	led := h.status.Term
	if h.status.Leader == "" {
		led = 0
	}
	if old := &w.laid.known[h.id]; !seniority.Supersedes(l.term, old.term, led) || l.term == old.term && l.at < old.at {
		return
	}
	w.laid.known[h.id] = l
	for i, f := range h.further() {
		f.feed(seniority.Input{Kind: seniority.Choose, Choice: l.choices[i]})
	}
	w.move(h)
}

// oneMove checks that no two elections are moved at the same time, unless faults
// strike: there may be two doyens then.
func (w *World) oneMove() {
	var moved []string
	for _, f := range w.further {
		for _, h := range f.hosts {
			if h.up && h.status.Phase == seniority.Yielding && h.status.Reason == seniority.Preempted {
				moved = append(moved, f.name+"at "+h.name)
			}
		}
	}
	if !w.chaos && w.check.quiet && len(moved) > 1 {
		w.fail("two elections are moved at once: %q", moved)
	}
}

// settleSeveral runs until everything must have settled and every move has been
// made, then checks that it has and that it stays so.
func (w *World) settleSeveral() {
	w.runUntil(w.now + 6*time.Second + 3*w.timing.Lease)
	w.runUntil(w.now + w.settleBound())
	w.checkSettled()
	w.check.calm(true)
	w.runUntil(w.now + rebalanceDelay + time.Duration(len(w.further)+1)*(time.Second+4*w.timing.Lease))
	w.checkSettled()
	w.even()
	moves := w.laid.moves
	w.eachFurther(func(f *World) { f.check.calm(true) })
	w.runUntil(w.now + rebalanceDelay + 5*w.timing.Lease)
	w.checkSettled()
	w.even()
	if w.laid.moves != moves {
		w.fail("%d moves in a group that has settled", w.laid.moves-moves)
	}
	w.check.calm(false)
	w.eachFurther(func(f *World) { f.check.calm(false) })
}

func (w *World) checkSettled() {
	w.check.settled()
	w.eachFurther(func(f *World) { f.check.settled() })
}

// loads counts the further elections that each host leads.
func (w *World) loads() map[string]int {
	n := map[string]int{}
	for _, f := range w.further {
		if h := f.leader(); h != nil {
			n[h.name]++
		}
	}
	return n
}

// even checks that preferred hosts lead what they should, and that of the other
// elections no host leads two more than another that may lead one of them.
func (w *World) even() {
	if uneven := w.uneven(w.further); uneven != "" {
		w.fail("%s", uneven)
	}
}

// uneven says what is not even, of some of the elections; "": nothing.
func (w *World) uneven(elections []*World) string {
	n := w.loads()
	for _, f := range elections {
		leader, preferred := f.leader(), f.preferred()
		if preferred != nil && leader != preferred {
			return fmt.Sprintf("%s prefers %v and %s may lead it: %s", f.name, f.prefer, preferred.name, f.summary())
		}
		for _, h := range f.hosts {
			if preferred == nil && leader != nil && h.up && h.mayLead() && h.status.Eligible && n[leader.name]-n[h.name] > 1 {
				return fmt.Sprintf("%s leads %d, %s %d and may lead %s: %v", leader.name, n[leader.name], h.name, n[h.name], f.name, n)
			}
		}
	}
	return ""
}

// preferred is the first preferred host that may lead the election, or nil.
func (w *World) preferred() *host {
	for _, name := range w.prefer {
		for _, h := range w.hosts {
			if h.name == name && h.up && h.mayLead() && h.status.Eligible {
				return h
			}
		}
	}
	return nil
}

// What bury counts: failovers of several elections, and those after which they lay
// unevenly. That may come of a claim that was refused by a voter whose promise to the dead
// leader had a moment left, and asked again just after the next in line had claimed.
const (
	coverBuried = "failover of a host's elections"
	coverUneven = "failover of a host's elections, unevenly"
)

// bury ends a host for good, in calm. Its elections go to the others, nearly always evenly
// in the failover itself, before anything is moved; in the end always.
func (w *World) bury() {
	dead := w.hosts[w.rng.IntN(len(w.hosts))]
	n := w.loads()
	for _, h := range w.hosts {
		if n[h.name] > n[dead.name] {
			dead = h
		}
	}
	left := slices.DeleteFunc(slices.Clone(w.further), func(f *World) bool { return f.leader() == nil || f.leader().name != dead.name })
	w.lose(dead)
	w.runUntil(w.now + w.timing.FailoverBound(len(w.hosts)) + w.timing.Lease)
	for _, f := range left {
		f.now = w.now
		w.runUntil(w.now + f.vainWait(nil))
		if f.leader() == nil && slices.ContainsFunc(f.hosts, func(h *host) bool { return h.up && h.mayLead() }) {
			w.fail("%s is not led after its leader's host has died: %s", f.name, f.summary())
		}
	}
	w.covered.add(coverBuried)
	if w.uneven(left) != "" {
		w.covered.add(coverUneven)
	}
	w.runUntil(w.now + rebalanceDelay + time.Duration(len(w.further)+1)*(time.Second+4*w.timing.Lease))
	w.even()
	w.runUntil(w.now + w.settleBound())
	w.checkSettled()
}
