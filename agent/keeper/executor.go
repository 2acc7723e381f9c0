package keeper

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"doyen/agent/clock"
	"doyen/agent/hook"
	"doyen/seniority"
)

// executor does what a keeper does for one election. One goroutine runs it and
// owns all its state. It looks at the deadline, the newest order and the clock,
// starts or kills one run of the hook, and sleeps until something happens or is
// due; it waits for nothing else.
type executor struct {
	node      *node
	cfg       Election
	slot      int
	deadline  *Deadline
	now       func() time.Duration
	alarm     clock.Alarm
	runner    *hook.Runner
	addresses *Addresses // nil: none

	box      *mailbox[Order]
	changed  *mailbox[Election]
	done     chan hook.Result
	commands chan commandEnd
	cleared  <-chan clearance     // nil: it has come
	locks    map[string]io.Closer // of the addresses; nil: the first clearance has not come
	// What follows is for other addresses that a new configuration wants; see move.
	addressesWanted []string
	moving          bool // their locks are being taken
	moveUnfinished  bool // the last step has failed
	moveFailures    int  // of the present configuration, in a row
	moveErr         string
	moveAt          time.Duration // when to try again
	moves           chan moved
	ctx             context.Context // ends when the executor does
	// The node closes gone, to have the executor end once nothing is held any more.
	// It keeps in leaving that it has.
	gone    chan struct{}
	leaving bool

	armed  bool          // it has a part in the watchdog
	beatAt time.Duration // when it has to say again that it goes on

	order      Order
	orphaned   bool // gone is closed
	started    bool // the release at start is over, or none was owed
	leadership *leadership
	release    *release
	parting    *release // of a hook that the configuration has no more; see partNext
	run        *run
	told       leader // what change has been run for
	answered   uint64 // the term last reported as released
	willed     uint32 // the generation whose will was delivered last
}

// leadership is one leadership of this node, that is, one generation of the deadline,
// from the moment the keeper hears of it until its release has ended.
type leadership struct {
	gen      uint32
	term     uint64
	deadline time.Duration // the last one seen

	over  bool // it has ended, and is only to be released
	fired bool // it was the keeper that ended it
	held  bool // acquire has succeeded, and check not failed since
	// lasting: an acquire that succeeded may have left processes running.
	lasting bool
	command command

	failures  int // of acquire, in a row
	retryAt   time.Duration
	checkAt   time.Duration
	seen      uint64 // the Order.CheckNow and
	seenTerm  uint64 // the term that check has been run for
	announced uint64 // the Order.Announce that the neighbours have been told for
	renewAt   time.Duration
	will      []byte
	targets   []string
	endReason string // if the newest order is older than the end
}

// leader is what change is about.
type leader struct {
	leader, addr string
	leadership   uint64 // see Order
}

// errNoAddresses is for programs that embed a keeper of their own.
var errNoAddresses = errors.New("floating-ip: this program has not been built with it")

// newExecutor returns an executor whose deadline is to be shut until the release
// at start.
func newExecutor(n *node, p *place) (*executor, error) {
	e := &executor{
		node: n, cfg: p.Election, slot: p.Slot, deadline: p.deadline, now: n.now,
		box: newMailbox[Order](), changed: newMailbox[Election](), done: make(chan hook.Result, 1),
		commands: make(chan commandEnd, 2), moves: make(chan moved, 1), addressesWanted: p.Election.Addresses, gone: make(chan struct{}),
	}
	if p.order != nil {
		e.box.put(*p.order)
	}
	e.runner = e.newRunner()
	if len(e.cfg.Addresses) > 0 {
		var err error
		if e.addresses, err = e.newAddresses(e.cfg.Addresses); err != nil {
			return nil, err
		}
	}
	e.alarm = n.alarms.newAlarm()
	if n.guard.armed() { // a former keeper's, until the release at start has ended
		e.armed = n.guard.hold(e.cfg.Name, e.now()) == nil
	}
	return e, nil
}

// newRunner returns what runs the hook as it is configured now.
func (e *executor) newRunner() *hook.Runner {
	return &hook.Runner{Path: e.cfg.Hook, Owner: e.node.owner(&e.cfg, e.slot), Reaper: e.node.reaper}
}

// loop runs until gone is closed and nothing is held any more.
func (e *executor) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	e.ctx = ctx
	e.cleared = e.awaitLock(e.cfg.holds())
	e.turn()
	// Not deferred: what waits would keep a panic of turn from being seen.
	cancel()
	var late clearance
	if e.cleared != nil {
		late = <-e.cleared
	}
	for e.moving {
		e.moveNow(<-e.moves)
	}
	e.finish()
	unlock(late.locks)
}

// turn does what is due, again and again, until gone is closed and nothing is held
// any more.
func (e *executor) turn() {
	gone := e.gone
	for {
		e.look()
		e.act()
		e.beat()
		if e.orphaned && e.run == nil && e.leadership == nil {
			return
		}
		e.alarm.Set(e.due())
		select {
		case <-e.box.full:
			e.order = e.box.take()
			if e.order.Seq != 0 {
				e.node.out.add(Report{Election: e.cfg.Name, Seen: e.order.Seq})
			}
		case <-e.changed.full:
			e.reconfigure(e.changed.take())
		case <-gone:
			gone, e.orphaned = nil, true
		case c := <-e.cleared:
			e.cleared = nil
			e.enter(c)
		case res := <-e.done:
			e.ended(res)
		case m := <-e.moves:
			e.moveNow(m)
		case end := <-e.commands:
			e.commandTold(end)
		case <-e.alarm.C():
		}
	}
}

// clearance says that nothing of a former keeper of this node runs any more.
type clearance struct {
	locks map[string]io.Closer // of the addresses
	err   error                // what a person should know about it
	begun error                // of Addresses.Begin
}

// awaitLock sends one clearance when no former keeper of this node runs any more and the
// first addresses are guarded, or when the executor ends; at once if there is nothing to
// hold, and so to keep apart.
func (e *executor) awaitLock(holds bool) <-chan clearance {
	cleared := make(chan clearance, 1)
	if !holds {
		cleared <- clearance{}
		return cleared
	}
	ctx, cfg, first := e.ctx, e.cfg, e.addresses
	if e.locks != nil {
		first = nil // move begins those
	}
	go func() {
		var c clearance
		c.locks, c.err = e.node.enter(ctx, &cfg)
		if first != nil && ctx.Err() == nil {
			c.begun = first.Begin()
		}
		cleared <- c
	}()
	return cleared
}

// enter begins the release at start. A leadership that had nothing to hold so far goes
// on with acquire.
func (e *executor) enter(c clearance) {
	if e.locks == nil { // else move takes those that are wanted
		if e.locks = c.locks; e.locks == nil {
			e.locks = map[string]io.Closer{}
		}
	}
	if e.started = e.leadership != nil; !e.started {
		e.release = e.newRelease()
	}
	e.note(c.begun)
	if !e.orphaned {
		e.note(c.err)
	}
	e.move()
}

// finish lets go of everything, once nothing runs.
func (e *executor) finish() {
	// The newest order may have come together with the end.
	if o := e.box.take(); o.Lead && o.Gen != e.willed {
		e.sendWill(o.Gen, o.Will, o.WillTargets)
	}
	e.disarm()
	e.deadline.shut() // it is not watched any more
	e.alarm.Close()
	if e.addresses != nil {
		e.note(e.addresses.Close())
	}
	unlock(e.locks)
}

// look brings the leadership in line with the deadline, and fires what is due.
// Invariant: a leadership goes on only while the deadline, asked right now, carries
// its generation armed with a deadline ahead; anything else ends it.
func (e *executor) look() {
	t := e.leadership
	if t == nil || t.over {
		return
	}
	c := e.deadline.fire(t.gen, e.orphaned)
	if term, ok := e.deadline.term(t.gen); ok {
		t.term = term
	}
	if e.order.Gen == t.gen {
		t.will, t.targets = e.order.Will, e.order.WillTargets
	}
	switch {
	case c.gen == t.gen && c.state == armed:
		t.deadline = c.deadline
		return
	case c.gen == t.gen && c.state == fired:
		t.fired = true
		e.report(Report{Term: t.term, Fired: t.term, Late: max(e.now()-t.deadline, 0)})
	}
	t.endReason = seniority.LeaseLost.String()
	if e.orphaned {
		t.endReason = seniority.LeaderDied.String()
	}
	e.endLeadership()
	if !t.fired && e.orderIsStale() && !e.orphaned {
		e.release.retryAt = e.now() + orderWait
	}
}

// arm arms the watchdog before a hook or a command takes what the kernel cannot
// take back by itself.
func (e *executor) arm() error {
	if e.node.guard.path == "" || e.armed || !e.needsGuard() {
		return nil
	}
	err := e.node.guard.hold(e.cfg.Name, e.now())
	e.armed, e.beatAt = err == nil, 0
	return err
}

// needsGuard reports whether there is, or may be, what the kernel cannot take back.
func (e *executor) needsGuard() bool {
	return e.cfg.Hook != "" || len(e.cfg.Run) > 0 || e.commandRuns()
}

// beat tells the watchdog that this executor goes on.
func (e *executor) beat() {
	switch now := e.now(); {
	case !e.armed:
	case e.started && e.release == nil && !e.needsGuard():
		e.disarm()
	case now >= e.beatAt:
		e.node.guard.beat(e.cfg.Name, now)
		e.beatAt = now + e.node.guard.every()
	}
}

// disarm gives up the part in the watchdog, once nothing is held that needs one.
func (e *executor) disarm() {
	if e.armed {
		e.armed = false
		e.node.guard.drop(e.cfg.Name)
	}
}

// successor reports whether a leadership is armed and ordered of which e has
// no leadership yet. One whose deadline has passed meanwhile counts: it is fired, and
// its will delivered, like any other.
func (e *executor) successor() bool {
	if !e.order.Lead || e.orphaned || e.leadership != nil && e.leadership.gen == e.order.Gen {
		return false
	}
	c := e.deadline.load()
	return c.state == armed && c.gen == e.order.Gen
}

// act does the next thing there is to do. The order is that of urgency. That
// nothing is begun while a run is under way is what keeps runs apart.
func (e *executor) act() {
	e.tendCommand()
	e.move()
	switch {
	case e.run != nil:
		e.overtake()
	case e.releaseNext(), !e.started, e.cleared != nil, e.orphaned, e.partNext():
	case e.leadNext():
	case e.told != e.leader() && e.cfg.Hook != "":
		e.begin(hook.Change, hook.Env{Term: e.order.Term, Reason: e.order.Reason}, e.now()+e.cfg.HookTimeout, nil, around{})
	}
	e.renew()
	e.answer()
}

// leader is what change would be run for now.
func (e *executor) leader() leader {
	if e.order.Leader == "" {
		return leader{}
	}
	return leader{e.order.Leader, e.order.LeaderAddr, e.order.Leadership}
}

// due is when the executor must look again although nothing has happened, or 0.
func (e *executor) due() time.Duration {
	due := time.Duration(0)
	at := func(t time.Duration) {
		if t > 0 && (due == 0 || t < due) {
			due = t
		}
	}
	if e.run != nil && e.run.killed == nil {
		at(e.run.limit) // none while it ends what acquire has left
	}
	if t := e.leadership; t != nil && !t.over {
		at(t.deadline)
		at(t.renewAt)
		switch {
		case e.run == nil && e.parting != nil:
			at(max(min(e.parting.retryAt, e.parting.until), 1))
		case e.run == nil && t.held:
			at(t.checkAt)
		case !t.held && (e.run == nil || e.run.event == hook.Change && e.run.killed == nil):
			at(max(t.retryAt, 1))
		}
	}
	if e.leadership != nil {
		at(e.commandDue())
	}
	if e.armed {
		at(e.beatAt)
	}
	if !e.moving && !e.orphaned {
		at(e.moveAt)
	}
	switch r := e.release; {
	case r == nil || e.run != nil:
	case e.commandRuns():
		if e.hard() {
			at(max(e.releaseLimit(), 1))
		}
	default:
		at(max(min(r.retryAt, e.releaseLimit()), 1))
	}
	return due
}

// report adds what is held to a report, and posts it.
func (e *executor) report(r Report) {
	r.Election = e.cfg.Name
	r.Held = e.leadership != nil && e.leadership.held
	e.node.out.add(r)
}

// note posts a sentence for the log, if there is an error.
func (e *executor) note(err error) {
	if err != nil {
		e.report(Report{Note: errText(err)})
	}
}

// errText is an error in one line.
func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
