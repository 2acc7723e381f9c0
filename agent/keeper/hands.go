package keeper

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"doyen/agent/clock"
	"doyen/agent/hook"
	"doyen/seniority"
)

// hands do the work of a keeper, in whichever process. One goroutine runs them
// and owns all their state. It looks at the word, the newest order and the
// clock, starts or kills one run of the hook, and sleeps until something
// happens or is due; it waits for nothing else.
type hands struct {
	cfg       Config
	word      *Word
	now       func() time.Duration
	alarm     clock.Alarm
	runner    *hook.Runner
	addresses *Addresses // nil: none
	deliver   func(will []byte, targets []string)
	wills     sync.WaitGroup // deliveries under way

	box  *mailbox
	out  *outbox
	done chan hook.Result
	lock io.Closer // the node-wide lock, once it is there

	order    Order
	orphaned bool // the agent is gone, or wants no more
	started  bool // the release at start is over
	tenure   *tenure
	release  *release
	run      *run
	told     leadership // what change has been run for
	answered uint64     // the term last reported as released
	willed   uint32     // the generation whose will was delivered last
}

// tenure is one leadership of this node, that is, one generation of the word,
// from the moment the keeper hears of it until its release has ended.
type tenure struct {
	gen      uint32
	term     uint64
	deadline time.Duration // the last one seen

	over  bool // it has ended, and is only to be released
	fired bool // it was the keeper that ended it
	held  bool // acquire has succeeded, and check not failed since

	failures  int // of acquire, in a row
	retryAt   time.Duration
	checkAt   time.Duration
	seen      uint64 // the Order.CheckNow and
	seenTerm  uint64 // the term that check has been run for
	renewAt   time.Duration
	will      []byte
	targets   []string
	endReason string // if the newest order is older than the end
}

// leadership is what change is about.
type leadership struct {
	leader, addr string
	term         uint64
}

// errNoAddresses is for programs that embed a keeper of their own.
var errNoAddresses = errors.New("floating-ip: this program has not been built with it")

// newHands returns hands whose word is to be shut until the release at start.
func newHands(cfg Config, tools Tools, word *Word, subreaper bool) (*hands, error) {
	now, alarm := cfg.bootClock()
	h := &hands{
		cfg: cfg, word: word, now: now, deliver: tools.Deliver,
		runner: &hook.Runner{Path: cfg.Hook, Subreaper: subreaper},
		box:    newMailbox(), out: newOutbox(), done: make(chan hook.Result, 1),
	}
	if len(cfg.Addresses) > 0 {
		if tools.Addresses == nil {
			return nil, errNoAddresses
		}
		var err error
		if h.addresses, err = tools.Addresses(cfg, func() bool { return word.Leads(now()) }); err != nil {
			return nil, err
		}
	}
	h.alarm = alarm()
	return h, nil
}

// loop runs until the agent is gone, which closes gone, and nothing is held any
// more.
func (h *hands) loop(gone <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	coast := h.coast(ctx)
	defer func() {
		cancel()
		if coast != nil {
			h.enter(<-coast)
		}
		h.finish()
	}()
	for {
		h.look()
		h.act()
		if h.orphaned && h.run == nil && h.tenure == nil {
			return
		}
		h.alarm.Set(h.due())
		select {
		case <-h.box.full:
			h.order = h.box.take()
			if h.order.Seq != 0 {
				h.out.add(Report{Seen: h.order.Seq})
			}
		case <-gone:
			gone, h.orphaned = nil, true
		case c := <-coast:
			coast = nil
			h.enter(c)
		case res := <-h.done:
			h.ended(res)
		case <-h.alarm.C():
		}
	}
}

// clearance says that nothing of a former keeper of this node runs any more.
type clearance struct {
	lock io.Closer // nil: there is none
	err  error     // what a person should know about it
}

// coast sends one clearance when the coast is clear, or when ctx ends.
func (h *hands) coast(ctx context.Context) <-chan clearance {
	coast := make(chan clearance, 1)
	if h.cfg.Hook == "" && h.addresses == nil {
		coast <- clearance{} // there is nothing to keep apart
		return coast
	}
	go func() {
		lock, err := lockNode(ctx, &h.cfg, func(why error) { h.out.add(Report{Note: errText(why)}) })
		if ctx.Err() == nil {
			err = errors.Join(err, hook.Sweep(h.cfg.Cluster, h.cfg.Node))
		}
		coast <- clearance{lock, err}
	}()
	return coast
}

// enter begins the release at start.
func (h *hands) enter(c clearance) {
	h.lock = c.lock
	h.release = h.newRelease()
	if !h.orphaned {
		h.note(c.err)
	}
}

// finish lets go of everything, once nothing runs.
func (h *hands) finish() {
	if h.order.Lead && h.order.Gen != h.willed {
		h.sendWill(h.order.Gen, h.order.Will, h.order.WillTargets)
	}
	h.alarm.Close()
	if h.addresses != nil {
		h.note(h.addresses.Close())
	}
	h.wills.Wait()
	if h.lock != nil {
		h.lock.Close()
	}
	h.out.close()
}

// look brings the tenure in line with the word, and fires what is due.
// Invariant: a tenure goes on only while the word, asked right now, carries
// its generation armed with a deadline ahead; whatever else there is ends it.
func (h *hands) look() {
	t := h.tenure
	if t == nil || t.over {
		return
	}
	c := h.word.fire(t.gen, h.orphaned)
	if c.gen == t.gen {
		t.term = h.word.term.Load()
	}
	if h.order.Gen == t.gen {
		t.will, t.targets = h.order.Will, h.order.WillTargets
	}
	switch {
	case c.gen == t.gen && c.state == armed:
		t.deadline = c.deadline
		return
	case c.gen == t.gen && c.state == fired:
		t.fired = true
		h.report(Report{Term: t.term, Fired: t.term})
	}
	t.endReason = seniority.LeaseLost.String()
	if h.orphaned {
		t.endReason = seniority.LeaderDied.String()
	}
	h.endTenure()
	if !t.fired && h.unheard() && !h.orphaned {
		h.release.retryAt = h.now() + orderWait
	}
}

// successor reports whether a leadership is armed and ordered of which h has
// no tenure yet.
func (h *hands) successor() bool {
	if !h.order.Lead || h.orphaned || h.tenure != nil && h.tenure.gen == h.order.Gen {
		return false
	}
	c := h.word.load()
	return c.state == armed && c.gen == h.order.Gen && h.now() < c.deadline
}

// act does the next thing there is to do. The order is that of urgency. That
// nothing is begun while a run is under way is what keeps runs apart.
func (h *hands) act() {
	switch {
	case h.run != nil:
		h.overtake()
	case h.releaseNext(), !h.started, h.orphaned:
	case h.leadNext():
	case h.told != h.leadership() && h.cfg.Hook != "":
		h.begin(hook.Change, hook.Env{Term: h.order.Term, Reason: h.order.Reason}, h.now()+h.cfg.HookTimeout, nil)
	}
	h.renew()
	h.answer()
}

// leadership is what change would be run for now.
func (h *hands) leadership() leadership {
	if h.order.Leader == "" {
		return leadership{}
	}
	return leadership{h.order.Leader, h.order.LeaderAddr, h.order.Term}
}

// due is when the hands must look again although nothing has happened, or 0.
func (h *hands) due() time.Duration {
	due := time.Duration(0)
	at := func(t time.Duration) {
		if t > 0 && (due == 0 || t < due) {
			due = t
		}
	}
	if h.run != nil && h.run.killed == nil {
		at(h.run.limit)
	}
	if t := h.tenure; t != nil && !t.over {
		at(t.deadline)
		at(t.renewAt)
		switch {
		case h.run == nil && t.held:
			at(t.checkAt)
		case !t.held && (h.run == nil || h.run.event == hook.Change && h.run.killed == nil):
			at(max(t.retryAt, 1))
		}
	}
	if r := h.release; r != nil && h.run == nil {
		at(max(min(r.retryAt, h.releaseLimit()), 1))
	}
	return due
}

// report adds what is held to a report, and posts it.
func (h *hands) report(r Report) {
	r.Held = h.tenure != nil && h.tenure.held
	h.out.add(r)
}

// note posts a sentence for the log, if there is an error.
func (h *hands) note(err error) {
	if err != nil {
		h.report(Report{Note: errText(err)})
	}
}

// errText is an error in one line.
func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
