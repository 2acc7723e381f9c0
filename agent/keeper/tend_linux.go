package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"doyen/agent/clock"
	"doyen/agent/hook"
)

const (
	// patience is how long a keeper process may take to take an order in: far
	// longer than any scheduler delays it, unless it is stopped.
	patience = 2 * time.Second
	// prodding is how often it is told even if there is nothing new.
	prodding = 5 * time.Second
	// excuse is how much longer it may take if this process was stopped too.
	excuse = 100 * time.Millisecond
	// The pause before a keeper that died is replaced doubles with each failure,
	// and begins anew for one that has lived for longer than the longest.
	minRespawn, maxRespawn = 10 * time.Millisecond, 10 * time.Second
)

// Start starts a keeper process: this program once more, whose main must call
// Init. The word is shut until the keeper's release at start has ended.
func Start(cfg Config) (*Keeper, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	if os.Getenv(mark) != "" {
		return nil, errors.New("this process was itself started as a keeper, but its main does not call keeper.Init first")
	}
	memory, err := newMemory()
	if err != nil {
		return nil, err
	}
	word, err := mapWord(int(memory.Fd()))
	if err != nil {
		memory.Close()
		return nil, err
	}
	word.shut()
	p, err := spawn(&cfg, memory)
	if err != nil {
		memory.Close()
		return nil, err
	}
	k := newKeeper(&cfg, word, newMailbox(), newOutbox())
	var parts sync.WaitGroup
	parts.Go(k.pump)
	parts.Go(func() {
		defer memory.Close()
		defer k.out.close()
		k.tend(p, &cfg, memory)
	})
	go func() {
		parts.Wait()
		close(k.ended)
	}()
	return k, nil
}

// tend talks to the keeper process, and replaces it when it dies.
func (k *Keeper) tend(p *process, cfg *Config, memory *os.File) {
	pause := minRespawn
	for p != nil {
		began := time.Now()
		err := k.talk(p)
		k.pid.Store(0)
		// Nobody watches the deadline any more, so nobody may lead.
		k.word.shut()
		if isClosed(k.closing) {
			return
		}
		if cfg.Hook != "" {
			err = errors.Join(err, hook.Sweep(cfg.Cluster, cfg.Node))
		}
		k.out.add(Report{KeeperDied: true, Err: errText(err)})
		if time.Since(began) > maxRespawn {
			pause = minRespawn
		}
		p, pause = k.respawn(cfg, memory, pause)
	}
}

// respawn starts another keeper process, after a pause, and returns the pause
// before the next; no process if Close was called.
func (k *Keeper) respawn(cfg *Config, memory *os.File, pause time.Duration) (*process, time.Duration) {
	for {
		select {
		case <-k.closing:
			return nil, 0
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRespawn)
		p, err := spawn(cfg, memory)
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
		p.Kill() // whoever has closed its end of the socket does nothing useful
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

// dictate writes the newest order whenever there is one, and every now and then
// although there is none. A process that does not take it in, or has not
// released in time, is stopped or hangs: it is killed, because the one that
// replaces it can clean up. The error says so.
func (k *Keeper) dictate(p *process, ended <-chan struct{}) error {
	alarm := clock.NewAlarm()
	defer alarm.Close()
	var order Order
	var sent, since, excused time.Duration // since when an order has not been taken in
	for fresh := true; ; {
		now := clock.Boot()
		if fresh {
			seq := order.Seq + 1
			order, sent, fresh = k.box.take(), now, false
			order.Seq = seq
			since = cmp.Or(since, now)
			p.socket.SetWriteDeadline(time.Now().Add(patience))
			if err := p.write(&order); err != nil {
				p.Kill() // which the reader notices, as it does its death
				return fmt.Errorf("giving it an order: %w", err)
			}
		}
		if p.seen.Load() >= order.Seq {
			since = 0
		}
		due := max(p.due(&order, sent, since), excused)
		switch {
		case now < due:
		case now > due+excuse/2: // this process was itself stopped
			excused = now + excuse
			continue
		default:
			p.Kill()
			return errors.New("it did not do what it was told in time, and was killed")
		}
		alarm.Set(min(due, sent+prodding))
		select {
		case <-k.box.full:
			fresh = true
		case <-p.told:
		case <-alarm.C():
			fresh = clock.Boot() >= sent+prodding
		case <-ended:
			return nil
		}
	}
}

// due is when the process must at the latest have taken in an order that waits
// since then or, which its own limit should have seen to, released.
func (p *process) due(o *Order, sent, since time.Duration) time.Duration {
	due := time.Duration(math.MaxInt64)
	if since != 0 {
		due = since + patience
	}
	end := o.ReleaseBy - killMargin/2
	if o.ReleaseTerm != 0 && o.ReleaseTerm != p.released.Load() && sent < end {
		due = min(due, end)
	}
	return due
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
