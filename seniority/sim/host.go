package sim

import (
	"slices"
	"time"

	"doyen/seniority"
)

// wordState is the state of a deadline word.
type wordState uint8

const (
	idle wordState = iota
	leading
	fired
)

// word is the deadline word that agent and keeper of a host share.
type word struct {
	state          wordState
	term           uint64
	deadline, hard time.Duration // boot time; hard: 0 in available mode
}

// host is one machine: its clocks, its agent with a core, its keeper.
type host struct {
	w      *World
	id     int
	name   string
	clock  clock
	voter  string
	voters []string
	role   seniority.Role
	rank   uint64

	// The agent.
	core    *seniority.Core
	run     uint64 // incarnation; 0: never started
	up      bool
	stopped bool // SIGSTOP
	gone    bool // for good, in a calm
	frozen  bool // the guest's clocks stand still, agent and keeper with them
	inbox   []seniority.Input
	pending *seniority.Output // decided but not carried out when the stop struck
	wakeGen uint64
	// stopsAtRenewal: the agent stops when it next extends its deadline (aimed.go).
	stopsAtRenewal bool
	status         seniority.Status
	told           bool // status is of this run
	start          time.Duration
	claims         int           // terms claimed
	since          time.Duration // global time of the start of this run

	timing    seniority.Timing // of this run
	log       seniority.Log    // where it ends
	vacant    time.Duration    // global time since when this run has known no leader
	named     []string         // the next, as leaders of late have named them
	disk      bool             // with --state-dir
	highest   uint64           // kept there
	highestOf seniority.Holder
	record    time.Duration // the longest lease of the last run; 0: it is lost

	word  word
	stage int // of the lists of voters
	next  int // stage from the next start on
	// After its clocks had stopped a host believes in what is left of its
	// lease, and in confirms of claims from before: for a lease it may be wrong.
	ghostTill time.Duration
	keeper    keeper
	ailment   ailment
	view      views
}

// running reports whether the agent can do anything now.
func (h *host) running() bool { return h.up && !h.stopped && !h.frozen }

// boots starts the agent with an empty memory, but for the disk. It begins
// with the release of what a former run may have left behind.
func (h *host) boots() {
	if h.up || h.frozen || h.keeper.busy() || slices.ContainsFunc(h.further(), func(f *host) bool { return f.keeper.busy() }) {
		return
	}
	h.starts()
	for _, f := range h.further() {
		f.starts()
	}
	if len(h.w.further) > 0 {
		h.w.laid.known[h.id] = laying{} // what a run knew ends with it
	}
}

// starts starts one election of the agent.
func (h *host) starts() {
	w := h.w
	if h.next > h.stage {
		h.enter(h.next)
	}
	w.runs++
	h.run, h.up, h.stopped = w.runs, true, false
	if g := h.own(); g != h {
		h.run = g.run
	}
	h.inbox, h.pending, h.told = nil, nil, false
	h.start = w.now
	h.since, h.vacant, h.named = w.now, w.now, nil
	h.word = word{}
	h.keeper = keeper{h: h, alive: true}
	h.timing = w.timing
	cfg := seniority.Config{
		Self: h.member(), Rule: w.rule, Timing: h.timing, Preempt: w.rule.Preempts(),
		LoneWait: w.loneWait, Voters: h.voters, KeptLease: h.record,
		JoinsFromView: w.group != nil, RenewalGrid: len(w.further) > 0 || w.group != nil,
	}
	cfg.Seed[0], cfg.Seed[1], cfg.Seed[2], cfg.Seed[3] = byte(h.id), byte(h.run), byte(h.run>>8), byte(h.run>>16)
	if h.disk {
		cfg.Highest, cfg.HighestOf = h.highest, h.highestOf
	}
	core, err := seniority.New(cfg, h.clock.now(w.now))
	if err != nil {
		panic(err)
	}
	h.core = core
	h.status = seniority.Status{}
	w.trace("%s starts run %d", h.name, h.run)
	h.view.reset(h)
	h.feed(seniority.Input{Kind: seniority.Tick})
}

// member is what this host tells of itself by gossip.
func (h *host) member() seniority.Member {
	m := seniority.Member{
		Name: h.name, Incarnation: h.run, Start: int64(h.clock.now(h.start).Wall) * 1e6, ID: h.rank, Role: h.role,
		Eligible: true, Voter: h.voter,
	}
	if h.told {
		m.Join, m.Eligible = h.status.Join, h.status.Eligible
	}
	if g := h.own(); g != h && g.told {
		m.Join = g.status.Join
	}
	return m
}

// feed gives the agent an input; while it is stopped, inputs wait.
func (h *host) feed(in seniority.Input) {
	if !h.up {
		return
	}
	if !h.running() {
		if len(h.inbox) < 200 {
			h.inbox = append(h.inbox, in)
		}
		return
	}
	h.step(in)
}

// step runs the core and carries out what it says, unless a stop strikes
// between the two.
func (h *host) step(in seniority.Input) {
	w := h.w
	w.steps++
	in.Log = h.log
	if m := &in.Message; in.Kind == seniority.Receive && m.Kind == seniority.Release && m.Leader != "" {
		h.named = append(h.named, m.Leader)
	}
	out := h.core.Step(h.clock.now(w.now), in)
	w.traceStep(h, in, out)
	w.check.notes(h, in, out)
	if out.Status.Leader != "" { // now, though a stop may delay what follows from it
		h.vacant, h.named = w.now, nil
	}
	switch {
	case w.chaos && w.rng.IntN(2000) == 0:
		h.stopsWith(out, w.span(w.timing.Lease/4, w.timing.Lease*2))
	case w.chaos && h.stopsNow(out):
	default:
		h.carryOut(out)
	}
}

// carryOut obeys an output in the order of its fields.
func (h *host) carryOut(out *seniority.Output) {
	w := h.w
	if out.Persist != 0 {
		h.highest, h.highestOf, h.record = out.Persist, out.PersistOf, out.MaxLease
	}
	if !h.extendWord(&out.Status) {
		h.step(seniority.Input{Kind: seniority.Fired, Term: out.Status.Term, Reason: seniority.KeeperFired})
		return
	}
	before := h.status
	h.status, h.told = out.Status, true
	for i := range out.Messages {
		w.send(h, out.Messages[i])
	}
	if before.Join != h.status.Join || before.Eligible != h.status.Eligible {
		w.gossipMeta(h)
		for _, f := range h.further() {
			if f.up && f.run == h.run {
				f.view.tell()
				f.w.gossipMeta(f)
			}
		}
	}
	h.keeper.order(h.status)
	h.minds(&before)
	h.arm(out.Wake)
	w.check.world()
}

// minds makes sure that a keeper which does not act on the end of a leadership
// is killed, with the hook it runs, and replaced: at once if it stands still
// already, at the latest when the lease ends.
func (h *host) minds(before *seniority.Status) {
	ended := before.Leading && !h.status.Leading ||
		before.Phase == seniority.Yielding && h.status.Phase != seniority.Yielding
	if !ended || !h.keeper.alive {
		return
	}
	run, term := h.run, h.word.term
	replace := func() {
		if k := &h.keeper; h.run == run && h.running() && h.word.term == term && k.stopped && k.holds {
			k.dies()
		}
	}
	h.w.after(h.timing.ReleaseBudget/4, replace)
	if h.word.hard != 0 {
		h.w.at(max(h.w.now, h.clock.global(h.word.hard)), replace)
	}
}

// arm sets the agent's timer to a boot time.
func (h *host) arm(wake time.Duration) {
	h.wakeGen++
	if wake == 0 {
		return
	}
	gen, run := h.wakeGen, h.run
	at := max(h.clock.global(wake), h.w.now)
	if h.w.chaos {
		at += h.w.span(0, time.Millisecond)
	}
	h.w.at(at, func() {
		if h.up && h.run == run && h.wakeGen == gen {
			h.feed(seniority.Input{Kind: seniority.Tick})
		}
	})
}

// extendWord brings the word in line with the status by compare-and-swap;
// false if the keeper has fired for this term.
func (h *host) extendWord(s *seniority.Status) bool {
	wd := &h.word
	hard := time.Duration(0)
	if len(h.voters) > 0 {
		hard = s.LeaseEnd
	}
	switch {
	case s.Leading && wd.state == fired && wd.term == s.Term:
		return false
	case s.Leading && h.ailment == unarmable:
		return false
	case s.Leading:
		*wd = word{leading, s.Term, s.Deadline, hard}
		h.keeper.watch()
	case wd.state == leading && s.Phase == seniority.Yielding:
		wd.state, wd.hard = idle, hard
	case wd.state == leading:
		wd.state = idle
	case s.Phase == seniority.Yielding:
		wd.hard = hard
	}
	return true
}

// says reports whether anything on this host would say now that it leads.
func (h *host) says() bool {
	return h.up && !h.frozen && h.word.state == leading && h.clock.boot(h.w.now) < h.word.deadline
}

// isGhost reports whether what the host says or holds is what the stopping of
// its clocks excuses.
func (h *host) isGhost() bool {
	return h.frozen || h.ghostTill != 0 && h.w.now <= h.ghostTill
}

// resume goes on after a stop: what was decided before is carried out first,
// then what has waited.
func (h *host) resume() {
	if out := h.pending; out != nil && h.running() {
		h.pending = nil
		h.carryOut(out)
	}
	for len(h.inbox) > 0 && h.running() {
		in := h.inbox[0]
		h.inbox = h.inbox[1:]
		h.step(in)
	}
	if h.running() {
		h.step(seniority.Input{Kind: seniority.Tick})
	}
}

// dies ends the agent; its pipe closes.
func (h *host) dies() {
	h.w.trace("%s: agent dies", h.name)
	h.up, h.stopped = false, false
	h.inbox, h.pending = nil, nil
	h.keeper.pipeClosed()
	h.w.topology()
	for _, f := range h.further() {
		f.dies()
	}
}
