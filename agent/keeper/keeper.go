package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"doyen/agent/hook"
)

// Keeper is the agent's side of a keeper: of a process (Start) or of one that
// lives in this process (Local). Order, and the word's Extend and Disarm,
// belong to one goroutine; the rest is safe for concurrent use.
type Keeper struct {
	word    *Word
	log     *slog.Logger
	box     *mailbox
	out     *outbox
	reports chan Report
	pid     atomic.Int64

	once    sync.Once
	closing chan struct{} // closed by Close: clean up and end
	abandon chan struct{} // closed when Close has waited long enough
	ended   chan struct{} // closed when nothing of the keeper runs in this process
}

func newKeeper(cfg *Config, word *Word, box *mailbox, out *outbox) *Keeper {
	return &Keeper{
		word: word, log: cfg.Logger, box: box, out: out, reports: make(chan Report),
		closing: make(chan struct{}), abandon: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Local starts a keeper in this process. What a crash of this process leaves
// behind stays until the next start, and its lease runs its time.
func Local(cfg Config, tools Tools) (*Keeper, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	now, _ := cfg.bootClock()
	word := NewWord(now)
	h, err := newHands(cfg, tools, word, false)
	if err != nil {
		return nil, err
	}
	word.shut()
	k := newKeeper(&cfg, word, h.box, h.out)
	go h.loop(k.closing)
	go func() {
		defer close(k.ended)
		k.pump()
	}()
	return k, nil
}

// Word returns the deadline word.
func (k *Keeper) Word() *Word { return k.word }

// PID is the number of the keeper process; 0 if there is none at the moment.
func (k *Keeper) PID() int { return int(k.pid.Load()) }

// Order says what is wanted from now on. It never blocks.
func (k *Keeper) Order(o Order) {
	o.Gen = 0
	if o.Lead {
		o.Gen = k.word.mine
	}
	k.box.put(o)
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
// has been called nobody need read any more.
func (k *Keeper) pump() {
	for {
		r, ok := k.out.take()
		if !ok {
			return
		}
		if r.Note != "" {
			k.log.Warn("keeper: " + r.Note)
			continue
		}
		select {
		case k.reports <- r:
		case <-k.closing:
		}
	}
}

// ReleaseNow runs the hook's release once more from outside an agent, as a
// service manager does after the agent has ended (ExecStopPost), and takes the
// floating addresses off. It waits until no keeper of this node runs, and gives
// up after twice the HookTimeout. Its DOYEN_REASON is "stop".
func ReleaseNow(ctx context.Context, cfg Config, tools Tools) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*cfg.HookTimeout, errLimit)
	defer cancel()
	lock, err := lockNode(ctx, &cfg, func(err error) { cfg.Logger.Info(errText(err)) })
	if err != nil {
		return fmt.Errorf("waiting for the keeper of %s to end: %w", cfg.Node, err)
	}
	defer lock.Close()
	if err := hook.Sweep(cfg.Cluster, cfg.Node); err != nil {
		return err
	}
	err = dropAddresses(&cfg, tools)
	if cfg.Hook != "" {
		err = errors.Join(err, releaseUntilDone(ctx, &cfg))
	}
	return err
}

// dropAddresses takes the floating addresses off, and the rules that cut them
// off with them.
func dropAddresses(cfg *Config, tools Tools) error {
	if len(cfg.Addresses) == 0 {
		return nil
	}
	if tools.Addresses == nil {
		return errNoAddresses
	}
	a, err := tools.Addresses(*cfg, func() bool { return false })
	if err != nil {
		return err
	}
	return errors.Join(a.Drop(), a.Close())
}

// releaseUntilDone tries release until it succeeds or its time is over.
func releaseUntilDone(ctx context.Context, cfg *Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.HookTimeout, errLimit)
	defer cancel()
	end := time.Now().Add(cfg.HookTimeout)
	runner := hook.Runner{Path: cfg.Hook}
	for failures := 1; ; failures++ {
		res := runner.Run(ctx, hook.Env{
			Event: hook.Release, Node: cfg.Node, Addr: cfg.Addr, Rule: cfg.Rule, Cluster: cfg.Cluster,
			Reason: reasonStop, Limit: time.Until(end),
		})
		if res.Output != "" {
			cfg.Logger.Info("hook", "event", string(hook.Release), "output", res.Output)
		}
		if res.Err == nil {
			return nil
		}
		if res.Unusable {
			return res.Err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the hook's release has failed: %w", res.Err)
		case <-time.After(cfg.backoff(failures)):
		}
	}
}

const reasonStop = "stop"
