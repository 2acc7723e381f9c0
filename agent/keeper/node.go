package keeper

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"doyen/agent/hook"
)

// node is what the executors of a keeper share: the node-wide lock, the look for
// what a former keeper has left running, the clock, the way back to the agent.
// Its methods are safe for concurrent use.
type node struct {
	cfg    Config
	tools  Tools
	reaper *hook.Reaper // nil: this process is none
	shared []byte       // the deadlines; nil: each place has its own
	now    func() time.Duration
	alarms *alarms
	out    *outbox
	output hook.Output // of the commands
	guard  guard
	wills  sync.WaitGroup // deliveries under way

	entering chan struct{} // holds a token while none takes the lock
	entered  bool
	lock     io.Closer

	mu           sync.Mutex // for what follows
	gone         bool       // the agent is gone, or wants no more
	executors    map[string]*executor
	next         map[string]*place // what follows an executor that is ending
	running      sync.WaitGroup
	healthRuns   map[string]bool // that executors have had
	death        []byte
	deathTargets []string
}

// outputLimit is how long a keeper waits at its end for what commands have printed
// last to be written.
const outputLimit = time.Second

// place is where an election's deadline is, and what the election wants.
type place struct {
	Election Election
	Slot     int
	deadline *Deadline
	order    *Order // the newest while another executor is ending; nil: none
}

// newNode returns a node without executors.
func newNode(cfg Config, tools Tools, reaper *hook.Reaper) *node {
	now, alarm := cfg.bootClock()
	n := &node{
		cfg: cfg, tools: tools, reaper: reaper, now: now, alarms: newAlarms(now, alarm), out: newOutbox(),
		output: hook.Output{Stdout: os.Stdout, Stderr: os.Stderr}, entering: make(chan struct{}, 1), executors: map[string]*executor{}, next: map[string]*place{}, healthRuns: map[string]bool{},
	}
	n.entering <- struct{}{}
	n.guard = guard{path: cfg.Watchdog, timeout: cfg.WatchdogTimeout, report: n.out.add, beats: map[string]time.Duration{}}
	n.guard.takeOver()
	return n
}

// add starts an executor.
func (n *node) add(p *place) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.start(p)
}

// start is add for a caller that holds mu.
func (n *node) start(p *place) error {
	if n.shared != nil {
		p.deadline = deadlineAt(n.shared, p.Slot)
	}
	e, err := newExecutor(n, p)
	if err != nil {
		return err
	}
	n.executors[p.Election.Name] = e
	if p.Election.HealthRun != "" {
		n.healthRuns[p.Election.HealthRun] = true
	}
	n.running.Go(func() {
		e.loop()
		n.ended(e)
	})
	return nil
}

// ended takes an executor away, and starts the one that follows.
func (n *node) ended(e *executor) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := e.cfg.Name
	delete(n.executors, name)
	if p := n.next[name]; p != nil {
		delete(n.next, name)
		n.startOrRefuse(p)
	}
}

// startOrRefuse starts an executor, or tells the agent why it cannot. The caller
// holds mu.
func (n *node) startOrRefuse(p *place) {
	if err := n.start(p); err != nil {
		n.out.add(Report{Election: p.Election.Name, Refused: errText(err)})
	}
}

// change starts an executor, or brings one in line with a new configuration.
func (n *node) change(p *place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.executors[p.Election.Name]
	switch {
	case n.gone:
	case e == nil:
		n.startOrRefuse(p)
	case e.leaving:
		n.next[p.Election.Name] = p
	default:
		e.changed.put(p.Election)
	}
}

// drop ends an executor, once it holds nothing any more.
func (n *node) drop(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.next, name)
	if e := n.executors[name]; e != nil {
		n.leave(e)
	}
}

// leave tells an executor to end. The caller holds mu.
func (n *node) leave(e *executor) {
	if !e.leaving {
		e.leaving = true
		close(e.gone)
	}
}

// take hands an order to its executor.
func (n *node) take(o Order) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o.Election == Group {
		n.death, n.deathTargets = o.Death, o.WillTargets
	}
	e, next := n.executors[o.Election], n.next[o.Election]
	if next != nil {
		next.order = &o
	}
	switch {
	case e != nil && !e.leaving:
		e.box.put(o)
	case o.Seq != 0: // there is none to say so
		n.out.add(Report{Election: o.Election, Seen: o.Seq})
	}
}

// message is what the agent writes to the keeper process: first the Config without
// its Elections, then as many places as it says, then one thing at a time.
type message struct {
	Config *Config `json:",omitempty"`
	Places int     `json:",omitempty"`
	Place  *place  `json:",omitempty"` // a new or changed election
	Drop   string  `json:",omitempty"` // an election that is no more
	Order  *Order  `json:",omitempty"`
}

// obey carries out a message that comes after the Config and its elections.
func (n *node) obey(m message) {
	switch {
	case m.Place != nil:
		n.change(m.Place)
	case m.Drop != "":
		n.drop(m.Drop)
	case m.Order != nil:
		n.take(*m.Order)
	}
}

// run serves until gone is closed and nothing is held any more.
func (n *node) run(gone <-chan struct{}) {
	<-gone
	n.mu.Lock()
	n.gone = true
	clear(n.next)
	for _, e := range n.executors {
		n.leave(e)
	}
	n.mu.Unlock()
	n.running.Wait()
	n.guard.end()
	// The others learn that the agent is dead once it holds nothing any more.
	n.deliver(n.death, n.deathTargets)
	n.wills.Wait()
	n.output.Wait(outputLimit)
	n.alarms.close()
	if n.lock != nil {
		n.lock.Close()
	}
	n.out.close()
}

// deliver hands a will to the others, as the agent cannot.
func (n *node) deliver(will []byte, targets []string) {
	if n.tools.Deliver != nil && len(will) > 0 {
		n.wills.Go(func() { n.tools.Deliver(will, targets) })
	}
}

// enter returns when no former keeper of this node runs any more, nothing that one
// has left behind runs, and none has the addresses of e. It returns the locks of the
// addresses; the error is what a person should know.
func (n *node) enter(ctx context.Context, e *Election) (locks map[string]io.Closer, err error) {
	say := func(why error) { n.out.add(Report{Election: e.Name, Note: errText(why)}) }
	select {
	case <-ctx.Done():
		return nil, nil
	case <-n.entering:
	}
	if !n.entered {
		n.lock, err = lockNode(ctx, &n.cfg, e.HookTimeout, say)
		if n.entered = ctx.Err() == nil; n.entered {
			err = errors.Join(err, hook.Sweep(hook.Owner{Cluster: n.cfg.Cluster, Node: n.cfg.Node}))
		}
	}
	n.entering <- struct{}{}
	locks, busy := lockAddresses(ctx, e.Addresses, e.HookTimeout, say)
	return locks, errors.Join(err, busy)
}

// owner is what the processes of an election are known by.
func (n *node) owner(e *Election, slot int) hook.Owner {
	return hook.Owner{Cluster: n.cfg.Cluster, Node: n.cfg.Node, Election: e.Name, Slot: slot}
}
