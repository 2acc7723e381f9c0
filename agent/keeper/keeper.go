package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
)

// Keeper is the agent's side of a keeper: of a process (Start) or of one that
// lives in this process (Local). The orders of one election, and its deadline's
// Extend and Disarm, belong to one goroutine; the rest is safe for concurrent use.
type Keeper struct {
	log     *slog.Logger
	orders  *orders // for the keeper process
	node    *node   // with Local, else nil
	out     *outbox
	reports chan Report
	pid     atomic.Int64

	once    sync.Once
	closing chan struct{} // closed by Close: clean up and end
	abandon chan struct{} // closed when Close has waited long enough
	ended   chan struct{} // closed when nothing of the keeper runs in this process

	mu      sync.Mutex // for what follows
	cfg     Config
	wanted  map[string]*place
	changes []message // of wanted, that the keeper process was not told
	memory  *memory
}

func newKeeper(cfg Config, m *memory) *Keeper {
	return &Keeper{
		log: cfg.Logger, orders: newOrders(), reports: make(chan Report),
		closing: make(chan struct{}), abandon: make(chan struct{}), ended: make(chan struct{}),
		cfg: cfg, wanted: map[string]*place{}, memory: m,
	}
}

// Local starts a keeper in this process. What a crash of this process leaves
// behind stays until the next start, and its lease runs its time.
func Local(cfg Config, tools Tools) (*Keeper, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	k := newKeeper(cfg, newLocalMemory(cfg.Now))
	k.node = newNode(cfg, tools, nil)
	k.out = k.node.out
	for _, e := range cfg.Elections {
		p, err := k.place(e)
		if err == nil {
			err = k.node.add(p)
		}
		if err != nil {
			gone := make(chan struct{})
			close(gone)
			k.node.run(gone)
			return nil, err
		}
	}
	go k.node.run(k.closing)
	go func() {
		defer close(k.ended)
		k.pump()
	}()
	return k, nil
}

// place gives an election a deadline, which stays its own as long as the process
// lives: code that still asks it is never answered for another election. It is
// shut until the release at start. The caller holds mu, or is alone.
func (k *Keeper) place(e Election) (*place, error) {
	slot, d, err := k.memory.deadline(e.Name)
	if err != nil {
		return nil, err
	}
	if k.wanted[e.Name] == nil {
		d.shut()
	}
	p := &place{Election: e, Slot: slot, deadline: d}
	k.wanted[e.Name] = p
	return p, nil
}

// Configure has the keeper act for the elections of cfg from now on. It starts and
// ends only what has changed, and leaderships go on. An election that is not in cfg any
// more is released first, like one whose agent has ended. New addresses are taken, and
// old ones dropped, while those that stay are left alone. Another hook runs its acquire
// at once, without a release of the former one; a hook that is taken away releases. The
// rest of cfg must be as it was.
func (k *Keeper) Configure(cfg Config) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if cfg.Node != k.cfg.Node || cfg.Addr != k.cfg.Addr || cfg.Cluster != k.cfg.Cluster || cfg.Quorum != k.cfg.Quorum {
		return errors.New("the node's name, address, cluster and mode cannot change while it runs")
	}
	var changes []message
	keep := map[string]bool{}
	for _, e := range cfg.Elections {
		keep[e.Name] = true
		if old := k.wanted[e.Name]; old != nil && reflect.DeepEqual(old.Election, e) {
			continue
		}
		p, err := k.place(e)
		if err != nil {
			return err
		}
		changes = append(changes, message{Place: p})
	}
	for name := range k.wanted {
		if !keep[name] {
			delete(k.wanted, name)
			k.orders.forget(name)
			changes = append(changes, message{Drop: name})
		}
	}
	k.cfg.Elections = cfg.Elections
	if k.node == nil {
		k.changes = append(k.changes, changes...)
		k.orders.wake()
		return nil
	}
	for _, c := range changes {
		k.node.obey(c)
	}
	return nil
}

// Deadline returns the deadline of an election, "" meaning Group; nil: the keeper
// acts for no such election.
func (k *Keeper) Deadline(election string) *Deadline {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.wanted[cmp.Or(election, Group)]; p != nil {
		return p.deadline
	}
	return nil
}

// PID is the number of the keeper process; 0 if there is none at the moment.
func (k *Keeper) PID() int { return int(k.pid.Load()) }

// Order says what is wanted of one election from now on. It never blocks. An
// order for an election that the keeper does not act for is dropped.
func (k *Keeper) Order(o Order) {
	o.Election = cmp.Or(o.Election, Group)
	d := k.Deadline(o.Election)
	if d == nil {
		return
	}
	if o.Gen = 0; o.Lead {
		o.Gen = d.mine
	}
	if k.node != nil {
		k.node.take(o)
		return
	}
	k.orders.put(o)
}

// Reports is what has happened, in order. A slow reader delays nothing but
// loses reports of runs that say nothing else.
func (k *Keeper) Reports() <-chan Report { return k.reports }

// Close lets the keeper release what it holds, and waits for its end or that
// of ctx. After an error a keeper process still goes on with the release, by
// itself.
func (k *Keeper) Close(ctx context.Context) error {
	k.once.Do(func() { close(k.closing) })
	select {
	case <-k.ended:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-k.abandon:
	default:
		close(k.abandon)
	}
	return fmt.Errorf("the keeper is still releasing: %w", ctx.Err())
}

// pump hands the reports to the reader, until the box is closed. Once Close
// has been called no reader is needed any more.
func (k *Keeper) pump() {
	for {
		r, ok := k.out.take()
		if !ok {
			return
		}
		if r.Note != "" {
			k.log.Warn("keeper: "+r.Note, "election", r.Election)
			continue
		}
		select {
		case k.reports <- r:
		case <-k.closing:
		}
	}
}
