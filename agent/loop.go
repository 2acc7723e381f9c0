package agent

import (
	"context"
	"crypto/rand"
	"time"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
	"doyen/agent/health"
	"doyen/agent/keeper"
	"doyen/gossip"
	"doyen/seniority"
)

// beatInterval is how often the loop turns when nothing happens, so that Live
// can tell a quiet loop from one that hangs.
const beatInterval = time.Second

// lookPause is, for each member there, how long the loop lets pass between two
// looks at the whole membership. When hundreds join at once it takes in what has
// changed twenty times a second, not once for each; of three nobody waits.
const lookPause = 50 * time.Microsecond

// loop is the one goroutine that owns the core. Whatever happens becomes one
// input of the core at a time, and what the core says is carried out before
// the next. It waits for nothing but the disk, and that only for terms.
type loop struct {
	*Agent
	core  *seniority.Core
	hands hands
	word  *keeper.Word

	alarm clock.Alarm
	wake  time.Duration // when the core wants a Tick; 0: not before something happens
	// lookAt is when to look at the membership again (0: not before it
	// changes), looked when that was done last.
	lookAt, looked time.Duration
	last           seniority.Status

	view       gossip.View
	line       line
	told       told
	hook       *HookRun // the last run
	failed     string   // the event of the hook that failed last, until it works
	lapsed     bool     // the hook's last check failed
	findings   findings
	introduced seniority.Member  // what gossip was told last of this member
	greeted    seniority.Message // and of the leadership
	order      keeper.Order      // what the keeper was told last
	waiting    []request         // step-downs under way

	owed      promises // what must be on disk before anything is sent
	released  uint64   // a term whose release has ended, but not every Lead function
	releaseBy time.Duration

	unfit     bool              // what SetHealth said last
	monitor   *health.Monitor   // nil: no health check
	sick      bool              // what it said last; true until it has
	links     *floatingip.Links // nil: no floating addresses
	cut       bool              // an interface of a floating address cannot be used
	fit       bool              // what the core was told last
	departing bool
	departBy  time.Duration
	leavers   []request
}

// firstHealth is how long the first health check is waited for before this
// member joins, and may vote: one that takes longer, or hangs, must not keep it
// from that.
const firstHealth = 3 * time.Second

// startup waits for the startup release, so that what a crash has left behind is
// gone before this member can be elected, and for the first health check, so
// that it is known whether it may be; false if ctx ended first.
func (l *loop) startup(ctx context.Context) bool {
	released, checked := false, l.monitor == nil
	patience := time.NewTimer(firstHealth)
	defer patience.Stop()
	for !released || !checked {
		select {
		case <-ctx.Done():
			return false
		case <-patience.C:
			checked = true
		case r := <-l.hands.Reports():
			l.noteHook(l.cfg.now().Boot, &r)
			released = released || r.StartupDone
		case r := <-l.monitor.Reports():
			l.noteHealth(&r)
			checked = true
		}
	}
	return true
}

// join makes the core, whose waits count from now, and joins the group.
func (l *loop) join() error {
	var seed [32]byte
	rand.Read(seed[:])
	self := l.self
	self.Eligible = !l.sick
	l.fit = self.Eligible
	cfg := seniority.Config{
		Self: self, Rule: l.cfg.rule, Timing: l.cfg.timing,
		Preempt: l.cfg.preempt, PreemptDelay: l.cfg.PreemptDelay, LoneWait: l.cfg.loneWait,
		Voters: l.cfg.Voters, Seed: seed,
	}
	if l.state != nil {
		cfg.Highest, cfg.KeptLease = l.state.kept.HighestTerm, l.state.kept.LongestLease
	}
	var err error
	if l.core, err = seniority.New(cfg, l.cfg.now()); err != nil {
		return err
	}
	l.gossip.OnAsk(l.answer)
	return l.gossip.Start(self, gossip.Extra{
		HTTP: l.cfg.HTTP, Rule: l.cfg.rule.Name(), Mode: l.cfg.mode(), Voters: digest(l.cfg.Voters),
	})
}

// run turns the loop until this member has left the group.
func (l *loop) run(ctx context.Context) {
	ended := ctx.Done()
	l.linksChanged()
	l.restoreMaintenance()
	l.look()
	for !l.gone() {
		l.arm()
		select {
		case <-ended:
			ended = nil
			l.depart()
		case <-l.gossip.Changed():
			l.lookAt = max(l.cfg.now().Boot, l.looked+time.Duration(len(l.view.Members))*lookPause)
			l.lookWhenDue()
		case m := <-l.gossip.Messages():
			l.receive(&m)
		case g := <-l.gossip.Gone():
			l.receiveAll() // its last words may be among what waits
			l.line.bye(g.Name, g.Incarnation)
			l.step(seniority.Input{Kind: seniority.Gone, Name: g.Name, Incarnation: g.Incarnation})
		case r := <-l.hands.Reports():
			l.report(r)
		case r := <-l.requests:
			l.serve(r)
		case <-l.links.Changed():
			l.linksChanged()
		case r := <-l.monitor.Reports():
			l.noteHealth(&r)
			l.judgeFitness()
		case <-l.tenures.vacant:
			l.tenuresLeft(false)
		case <-l.alarm.C():
			l.tick()
		}
	}
	for _, r := range l.leavers {
		r.reply <- outcome{result: Result{OK: true, Note: "this member has left the group"}}
	}
}

// arm sets the alarm to whatever is due first.
func (l *loop) arm() {
	due := l.cfg.now().Boot + beatInterval
	for _, t := range []time.Duration{l.wake, l.lookAt, l.releaseBy, l.departBy} {
		if t != 0 {
			due = min(due, t)
		}
	}
	l.beat(due)
	l.alarm.Set(due)
}

// tick does what is due.
func (l *loop) tick() {
	l.lookWhenDue()
	if l.releaseBy != 0 && l.cfg.now().Boot >= l.releaseBy {
		l.tenuresLeft(true)
	}
	l.step(seniority.Input{Kind: seniority.Tick})
}

// lookWhenDue looks unless it has just done so.
func (l *loop) lookWhenDue() {
	if l.lookAt != 0 && l.cfg.now().Boot >= l.lookAt {
		l.look()
	}
}

// look feeds the whole membership as gossip believes it to be now.
func (l *loop) look() {
	l.lookAt, l.looked = 0, l.cfg.now().Boot
	l.view = l.gossip.View()
	members := make([]seniority.Member, len(l.view.Members))
	for i, p := range l.view.Members {
		members[i] = p.Member
	}
	l.line.stale = true
	l.judgeFitness()
	l.step(seniority.Input{Kind: seniority.View, Members: members, Settled: l.view.Settled})
}

// judgeFitness tells the core whether this member may be elected. One whose
// name is taken may not: it is no member until the clash is over.
func (l *loop) judgeFitness() {
	fit := !l.unfit && !l.sick && !l.departing && !l.view.Clash && !l.cut
	if fit != l.fit {
		l.fit = fit
		l.step(seniority.Input{Kind: seniority.Health, Eligible: fit})
	}
}

// receive feeds one message.
func (l *loop) receive(m *seniority.Message) {
	l.count("received", m.Kind)
	l.told.hear(m, l.cfg.now().Boot)
	l.step(seniority.Input{Kind: seniority.Receive, Message: *m})
}

// receiveAll feeds the messages that have come already.
func (l *loop) receiveAll() {
	for range len(l.gossip.Messages()) {
		select {
		case m := <-l.gossip.Messages():
			l.receive(&m)
		default: // gossip has made room for newer ones
			return
		}
	}
}

// step feeds the core and carries out what it says. The clock is read right
// before, so that after a pause of any length the core learns of it before
// anything else happens. It returns why the input was refused, if it was.
func (l *loop) step(in seniority.Input) seniority.Reason {
	now := l.cfg.now()
	out := l.core.Step(now, in)
	refused := out.Refused
	if !l.carryOut(now, out) {
		now = l.cfg.now()
		out = l.core.Step(now, seniority.Input{Kind: seniority.Fired, Term: out.Status.Term, Reason: seniority.KeeperFired})
		if !l.carryOut(now, out) {
			// It has won again at once, being alone, and must not yet. The
			// word says that it does not lead; a later step tries again.
			l.wake = now.Boot + l.cfg.timing.Renewal
		}
	}
	return refused
}

// depart begins to leave: a leader hands over first, and from now on nobody
// elects this member.
func (l *loop) depart() {
	if l.departing {
		return
	}
	l.departing = true
	close(l.leaving)
	l.departBy = l.cfg.now().Boot + l.cfg.HookTimeout + leaveTimeout
	l.log.Info("leaving the group")
	l.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Departed})
}

// gone reports whether this member may leave now: it neither leads nor has a
// release under way, or has waited for that long enough.
func (l *loop) gone() bool {
	if !l.departing {
		return false
	}
	if !l.last.Leading && l.last.Releasing == 0 {
		return true
	}
	if l.cfg.now().Boot < l.departBy {
		return false
	}
	l.log.Warn("leaving although release has not ended", "term", l.last.Releasing)
	return true
}
