package sim

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"doyen/seniority"
)

// checker holds what the world must not do. After every step:
//
//   - exclusion (quorum): never two hosts that say they lead;
//   - hooks (quorum): never two hosts that hold, from the start of acquire to
//     the end of release, while an agent or a keeper of each runs;
//   - terms: what a node calls its leader's term never falls; in quorum mode, while
//     wall clocks agree, a term has one leader, and terms rise from one leadership
//     to the next, across restarts too;
//   - history (quorum): while a leader is sought, no voter that may lead votes for a
//     claimant whose log is behind its own;
//   - confirmation: a winner has the confirms that the mode asks for, as
//     counted here from the messages delivered.
//
// Once calm has lasted for the stated bound:
//
//   - liveness: there is one leader, and every member follows it;
//   - preference: under a rule that preempts it is the rule's first;
//   - churn: it stays the same.
type checker struct {
	w        *World
	leaders  map[uint64]uint64 // term → run that won it
	topTerm  uint64
	shown    map[uint64]uint64 // run → the term of the leader last shown
	confirms map[vote]bool
	claimed  map[vote]time.Duration   // when a claim was first made, by that host's clock
	met      map[uint64]time.Duration // run → when it first had to do with another, global
	counted  map[uint64]time.Duration // run → from when on it says that its leadership counts
	atMost   map[uint64]time.Duration // run → the earliest that it has said of this leadership: a verdict may rest on that
	quiet    bool
	leader   string
}

// newChecker returns a checker that has seen nothing.
func newChecker(w *World) checker {
	return checker{
		w: w, leaders: map[uint64]uint64{}, shown: map[uint64]uint64{}, confirms: map[vote]bool{},
		claimed: map[vote]time.Duration{}, counted: map[uint64]time.Duration{}, atMost: map[uint64]time.Duration{}, met: map[uint64]time.Duration{},
	}
}

// vote is a confirm that was delivered: its claim and its voter.
type vote struct {
	run, term uint64
	by        string
}

// delivered takes note of a message that reaches its receiver.
func (c *checker) delivered(to *host, m *seniority.Message) {
	if m.Kind == seniority.Confirm && m.Incarnation == to.run {
		c.confirms[vote{to.run, m.Term, m.From}] = true
		if to.says() && to.word.term == m.Term {
			c.meets(to)
		}
	}
}

// notes looks at what a core says has happened.
func (c *checker) notes(h *host, in seniority.Input, out *seniority.Output) {
	w := c.w
	for _, n := range out.Notes {
		w.covered.note(n)
		switch {
		case n.Kind == seniority.Won:
			c.won(h, n, out)
		case n.Kind == seniority.Claimed:
			c.claimed[vote{run: h.run, term: n.Term}] = h.clock.boot(w.now)
			h.claims++
		case n.Kind == seniority.Lost && n.Reason == seniority.Merged:
			c.yielded(h)
		}
	}
	if out.Status.Leading {
		c.counted[h.run] = w.now - out.Status.Lasted
		c.atMost[h.run] = min(c.atMost[h.run], c.counted[h.run])
	}
	if out.Status.Leader != "" {
		if out.Status.Term < c.shown[h.run] {
			w.fail("%s shows term %d after %d", h.name, out.Status.Term, c.shown[h.run])
		}
		c.shown[h.run] = out.Status.Term
		if out.Status.Leader != h.name {
			c.meets(h)
		}
	}
}

func (c *checker) won(h *host, n seniority.Note, out *seniority.Output) {
	w := c.w
	w.won++
	if n.Reason != seniority.Merged {
		w.changes++
	}
	if other := c.leaders[n.Term]; other != 0 && w.opt.Quorum && !w.disagree {
		w.fail("term %d has two leaders: runs %d and %d", n.Term, other, h.run)
	}
	c.leaders[n.Term] = h.run
	if w.opt.Quorum && h.isGhost() {
		return // of confirms from before its clocks stopped
	}
	if w.opt.Quorum {
		if n.Term <= c.topTerm && w.opt.Drift == 0 && !w.disagree {
			w.fail("%s wins term %d after %d", h.name, n.Term, c.topTerm)
		}
		c.topTerm = n.Term
		votes := 1
		for _, v := range h.voters {
			if v != h.name && c.confirms[vote{h.run, n.Term, v}] {
				votes++
			}
		}
		if votes <= len(h.voters)/2 {
			w.fail("%s wins term %d with %d of %d votes", h.name, n.Term, votes, len(h.voters))
		}
		return
	}
	if n.Reason == seniority.Merged {
		return
	}
	c.counted[h.run], c.atMost[h.run] = w.now, w.now
	// All that this host sees must have confirmed, but for the leader before;
	// short of that time must have passed, more without a majority.
	asked, votes, missing := 1, 1, 0
	for _, m := range h.core.Order() {
		switch {
		case m.Name == h.name || !m.Votes():
		case c.confirms[vote{h.run, n.Term, m.Name}]:
			asked, votes = asked+1, votes+1
		default:
			asked, missing = asked+1, missing+1
		}
	}
	if votes > 1 {
		c.meets(h)
	}
	waited := h.clock.boot(w.now) - c.claimed[vote{run: h.run, term: n.Term}]
	switch {
	case missing <= 1 && c.met[h.run] != 0:
	case missing > 0 && waited < h.timing.Confirm:
		w.fail("%s wins term %d after %v with %d of %d votes", h.name, n.Term, waited, votes, asked)
	case 2*votes < asked-1 && waited < 3*h.timing.Confirm:
		w.fail("%s wins term %d after %v with a minority, %d of %d votes", h.name, n.Term, waited, votes, asked)
	}
}

// meets notes that a run has had to do with another.
func (c *checker) meets(h *host) {
	if c.met[h.run] == 0 {
		c.met[h.run] = c.w.now
	}
}

// led reports whether the host has long known another, who may be missing.
func (c *checker) led(h *host) bool {
	return c.met[h.run] != 0 && c.w.now-c.met[h.run] > c.w.timing.Lease
}

// yielded checks that of two leaderships that met the longer one stays, as far
// as the difference is larger than what messages and clocks blur.
func (c *checker) yielded(h *host) {
	w := c.w
	if w.rule.Preempts() || w.chaos || w.standsStill || !c.led(h) || w.now-c.counted[h.run] < 2*w.timing.Lease {
		return
	}
	// Each counts by its own clock.
	blur := w.timing.Lease + (w.now-c.counted[h.run])/seniority.Drift
	for _, o := range w.hosts {
		if o != h && o.says() && (!c.led(o) || c.atMost[o.run] < c.counted[h.run]+blur) {
			return
		}
	}
	w.fail("%s yields though no host has led for longer than its %v", h.name, w.now-c.counted[h.run])
}

// world looks at all hosts at this instant.
func (c *checker) world() {
	w := c.w
	if !w.opt.Quorum {
		return
	}
	var says, holds *host
	for _, h := range w.hosts {
		if h.says() && !h.isGhost() {
			if says != nil {
				w.fail("%s and %s both lead, terms %d and %d", says.name, h.name, says.word.term, h.word.term)
			}
			says = h
		}
		if h.keeper.holds && h.isGhost() {
			h.keeper.excused = true
		}
		if h.keeper.holds && !h.keeper.excused {
			if holds != nil {
				w.fail("%s and %s both hold, terms %d and %d", holds.name, h.name, holds.keeper.holdTerm, h.keeper.holdTerm)
			}
			holds = h
		}
	}
}

// calm says whether a settled group is expected to stay as it is.
func (c *checker) calm(on bool) { c.quiet = on }

// settled checks what must be so after calm has lasted long enough.
func (c *checker) settled() {
	w := c.w
	var leads []string
	able := false
	for _, h := range w.hosts {
		if h.gone {
			continue
		}
		if !h.running() {
			w.fail("%s does not run in calm", h.name)
		}
		if h.says() {
			leads = append(leads, h.name)
		}
		able = able || h.mayLead() && !(w.opt.Quorum && h.clock.wall == year2286)
	}
	if len(leads) == 0 && !able {
		c.none()
		return
	}
	if len(leads) != 1 {
		w.fail("%d leaders (%s) once settled: %s", len(leads), strings.Join(leads, ","), w.summary())
	}
	for _, h := range w.hosts {
		if !h.gone && h.status.Leader != leads[0] {
			w.fail("%s follows %q while %s leads: %s", h.name, h.status.Leader, leads[0], w.summary())
		}
	}
	if first := c.first(); !w.hookFailed && w.rule.Preempts() && first != leads[0] {
		w.fail("%s leads though the rule prefers %s: %s", leads[0], first, w.summary())
	}
	if c.quiet && c.leader != leads[0] {
		w.fail("the leader changed in calm from %s to %s", c.leader, leads[0])
	}
	c.leader = leads[0]
}

// none checks, where no host that is left may lead or makes terms (its clock is beyond all),
// that no host follows one either.
func (c *checker) none() {
	for _, h := range c.w.hosts {
		if !h.gone && h.status.Leader != "" {
			c.w.fail("%s follows %q, and no host leads: %s", h.name, h.status.Leader, c.w.summary())
		}
	}
	c.leader = ""
}

// first is the member that the bully rule prefers, found without the core. One that has
// found its own link bad in the chaos before stands aside.
func (c *checker) first() string {
	able := func(h *host) bool { return !h.gone && h.mayLead() && h.status.AsideUntil == 0 }
	best := slices.MaxFunc(c.w.hosts, func(a, b *host) int {
		return cmp.Or(cmp.Compare(boolInt(able(a)), boolInt(able(b))), cmp.Compare(a.rank, b.rank), cmp.Compare(b.name, a.name))
	})
	return best.name
}

func (h *host) mayLead() bool {
	return h.role == seniority.Candidate && (len(h.voters) == 0 || h.voter != "")
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// summary is the state of every host in a line.
func (w *World) summary() string {
	var b strings.Builder
	for _, h := range w.hosts {
		s := h.status
		b.WriteString("\n    " + h.name + ": ")
		b.WriteString(describe(&s, h.clock.boot(w.now)))
	}
	return b.String()
}
