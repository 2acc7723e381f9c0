package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"doyen/agent/clock"
	"doyen/agent/hook"
)

const (
	// patience is the longest time that a keeper process may take to take an order
	// in: far longer than any scheduler delays it, unless it is stopped.
	patience = 2 * time.Second
	// keepAlive is the longest time between two orders: without news the last one
	// is sent again, so that a keeper that has stopped is noticed.
	keepAlive = 5 * time.Second
	// stallGrace is how much longer the keeper may take if this process was
	// stopped too.
	stallGrace = 100 * time.Millisecond
	// The pause before a keeper that died is replaced doubles with each failure,
	// and begins anew for one that has lived for longer than the longest.
	minRespawn, maxRespawn = 10 * time.Millisecond, 10 * time.Second
)

// Start starts a keeper process: this program once more, whose main must call
// Init. The deadlines are shut until the keeper's releases at start have ended.
func Start(cfg Config) (*Keeper, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	if os.Getenv(mark) != "" {
		return nil, errors.New("this process was itself started as a keeper, but its main does not call keeper.Init first")
	}
	file, err := newMemory()
	if err != nil {
		return nil, err
	}
	shared, err := mapMemory(int(file.Fd()))
	if err != nil {
		file.Close()
		return nil, err
	}
	k := newKeeper(cfg, &memory{shared: shared, slots: map[string]int{}})
	k.out = newOutbox()
	for _, e := range cfg.Elections {
		if _, err := k.place(e); err != nil {
			file.Close()
			return nil, err
		}
	}
	p, err := k.spawn(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	var parts sync.WaitGroup
	parts.Go(k.pump)
	parts.Go(func() {
		defer file.Close()
		defer k.out.close()
		k.tend(p, file)
	})
	go func() {
		parts.Wait()
		close(k.ended)
	}()
	return k, nil
}

// spawn starts a keeper process for the elections that are wanted now.
func (k *Keeper) spawn(file *os.File) (*process, error) {
	k.mu.Lock()
	cfg, places := k.cfg, slices.Collect(maps.Values(k.wanted))
	k.changes = nil
	k.mu.Unlock()
	return spawn(&cfg, places, file)
}

// shut fires every deadline, because nothing watches them any more.
func (k *Keeper) shut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.memory.known {
		d.shut()
	}
}

// holds reports whether this node may hold anything.
func (k *Keeper) holds() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.wanted {
		if p.Election.holds() {
			return true
		}
	}
	return false
}

// tend talks to the keeper process, and replaces it when it dies.
func (k *Keeper) tend(p *process, file *os.File) {
	pause := minRespawn
	for p != nil {
		began := time.Now()
		err := k.talk(p)
		k.pid.Store(0)
		k.shut() // without a keeper that watches, this node must not lead
		if isClosed(k.closing) {
			return
		}
		if k.holds() {
			err = errors.Join(err, hook.Sweep(hook.Owner{Cluster: k.cfg.Cluster, Node: k.cfg.Node}))
		}
		k.out.add(Report{KeeperDied: true, Err: errText(err)})
		if time.Since(began) > maxRespawn {
			pause = minRespawn
		}
		p, pause = k.respawn(file, pause)
	}
}

// respawn starts another keeper process, after a pause, and returns the pause
// before the next; no process if Close was called.
func (k *Keeper) respawn(file *os.File, pause time.Duration) (*process, time.Duration) {
	for {
		select {
		case <-k.closing:
			return nil, 0
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRespawn)
		p, err := k.spawn(file)
		if err == nil {
			return p, pause
		}
		k.out.add(Report{KeeperDied: true, Err: errText(err)})
	}
}

// talk hands orders to the keeper process and takes its reports until it has
// ended, and says how it has.
func (k *Keeper) talk(p *process) error {
	k.pid.Store(int64(p.Pid))
	ended := make(chan struct{})
	var parts sync.WaitGroup
	var overdue error
	parts.Go(func() { overdue = k.dictate(p, ended) })
	parts.Go(func() { k.partWith(p, ended) })
	k.hear(p)
	abandoned := isClosed(k.abandon)
	if !abandoned && !isClosed(k.closing) {
		p.Kill() // a keeper that has closed its end of the socket does nothing useful
	}
	close(ended)
	p.socket.Close()
	parts.Wait()
	if abandoned {
		return p.Release()
	}
	state, err := p.Wait()
	if err == nil {
		err = errors.New(state.String())
	}
	return errors.Join(overdue, err)
}

// hear takes reports until the other end is closed.
func (k *Keeper) hear(p *process) {
	buf := make([]byte, maxMessage)
	for {
		var r Report
		if p.read(buf, &r) != nil {
			return
		}
		p.note(&r)
		if r.Seen == 0 {
			k.out.add(r)
		}
	}
}

// dictate writes what is new: changed elections, and the newest order of each; and
// now and then an order again although there is nothing new. A process that does
// not take an order in, or has not released in time, is stopped or hangs: it is
// killed, because the one that replaces it can clean up. The error says so. Once
// Close is called nothing more is written: the socket is shut for writing, and the
// process cleans up and ends.
func (k *Keeper) dictate(p *process, ended <-chan struct{}) error {
	alarm := clock.NewAlarm()
	defer alarm.Close()
	d := dictation{p: p, given: map[string]*given{}}
	closing := (<-chan struct{})(k.closing)
	for fresh := k.orders.all(); ; {
		if !isClosed(k.closing) {
			err := d.write(k.takeChanges(), fresh)
			if errors.Is(err, syscall.EPIPE) {
				return nil // it has ended, or Close was called: the reader sees either
			}
			if err != nil {
				p.Kill() // which the reader notices
				return fmt.Errorf("giving it an order: %w", err)
			}
		}
		fresh = nil
		now, due := clock.Boot(), d.due()
		switch {
		case now < due:
		case now > due+stallGrace/2: // this process was itself stopped
			d.excusedUntil = now + stallGrace
			continue
		default:
			p.Kill()
			return errors.New(Unresponsive)
		}
		alarm.Set(min(due, d.sent+keepAlive))
		select {
		case <-closing:
			closing = nil
		case <-k.orders.full:
			fresh = k.orders.take()
		case <-p.told:
		case <-alarm.C():
			if clock.Boot() >= d.sent+keepAlive {
				fresh = d.again()
			}
		case <-ended:
			return nil
		}
	}
}

// takeChanges returns what has changed of the elections.
func (k *Keeper) takeChanges() []message {
	k.mu.Lock()
	defer k.mu.Unlock()
	changes := k.changes
	k.changes = nil
	return changes
}

// dictation is what a keeper process has been told.
type dictation struct {
	p            *process
	seq          uint64
	sent         time.Duration // when an order was written last
	given        map[string]*given
	turns        []string      // the elections in the order in which they are told again
	excusedUntil time.Duration // no order is late before
}

// given is the order given last for one election.
type given struct {
	order Order
	sent  time.Duration
	since time.Duration // since when an order has not been taken in; 0: all have
}

// write tells the process of changes and orders.
func (d *dictation) write(changes []message, orders []Order) error {
	for i := range changes {
		if name := changes[i].Drop; name != "" {
			delete(d.given, name)
		}
		if err := d.send(&changes[i]); err != nil {
			return err
		}
	}
	for i := range orders {
		o, now := &orders[i], clock.Boot()
		g := d.given[o.Election]
		if g == nil {
			g = &given{}
			d.given[o.Election] = g
		}
		d.seq++
		o.Seq, d.sent = d.seq, now
		g.order, g.sent, g.since = *o, now, cmp.Or(g.since, now)
		if err := d.send(&message{Order: o}); err != nil {
			return err
		}
	}
	return nil
}

func (d *dictation) send(m *message) error {
	d.p.socket.SetWriteDeadline(time.Now().Add(patience))
	return d.p.write(m)
}

// again returns the order to write although there is nothing new: that of each
// election in turn. Without one there is nothing to watch.
func (d *dictation) again() []Order {
	d.sent = clock.Boot()
	if len(d.turns) == 0 {
		d.turns = slices.Sorted(maps.Keys(d.given))
	}
	for len(d.turns) > 0 {
		g := d.given[d.turns[0]]
		d.turns = d.turns[1:]
		if g != nil {
			return []Order{g.order}
		}
	}
	return nil
}

// due is when the process must at the latest have taken in an order that waits
// or, which its own limit should have seen to, released.
func (d *dictation) due() time.Duration {
	due := time.Duration(math.MaxInt64)
	for name, g := range d.given {
		said := d.p.of(name)
		if said.seen >= g.order.Seq {
			g.since = 0
		}
		if g.since != 0 {
			due = min(due, g.since+patience)
		}
		end := g.order.ReleaseBy - killMargin/2
		if term := g.order.ReleaseTerm; term != 0 && term != said.released && g.sent < end {
			due = min(due, end)
		}
	}
	return max(due, d.excusedUntil)
}

// partWith lets the process clean up and end once Close is called.
func (k *Keeper) partWith(p *process, ended <-chan struct{}) {
	select {
	case <-k.closing:
		p.hangUp()
	case <-ended:
		return
	}
	select {
	case <-k.abandon:
		p.socket.Close()
	case <-ended:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
