package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/hook"
)

// ReleaseNow runs the release of every hook once more from outside an agent, as a
// service manager does after the agent has ended (ExecStopPost), and takes the
// floating addresses off. It waits until no keeper of this node runs, and gives
// up after twice the longest HookTimeout, or at once if the keeper's agent runs.
// Its DOYEN_REASON is "stop".
func ReleaseNow(ctx context.Context, cfg Config, tools Tools) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	limit := time.Duration(0)
	for _, e := range cfg.Elections {
		limit = max(limit, 2*e.HookTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	lock, err := lockAll(ctx, stop, &cfg)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := hook.Sweep(hook.Owner{Cluster: cfg.Cluster, Node: cfg.Node}); err != nil {
		return err
	}
	errs := make([]error, len(cfg.Elections))
	var all sync.WaitGroup
	for i := range cfg.Elections {
		all.Go(func() { errs[i] = releaseElection(ctx, &cfg, &cfg.Elections[i], tools) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// lockAll takes the lock of the node and those of all addresses. It stops at once
// if a process that has one of them belongs to an agent that runs.
func lockAll(ctx context.Context, stop context.CancelCauseFunc, cfg *Config) (io.Closer, error) {
	var runs error
	say := func(said error) {
		if runs = running(said); runs != nil {
			stop(runs)
			return
		}
		cfg.Logger.Info(errText(said))
	}
	var all Election
	for i := range cfg.Elections {
		e := &cfg.Elections[i]
		all.Addresses = append(all.Addresses, e.Addresses...)
		all.HookTimeout = max(all.HookTimeout, e.HookTimeout)
	}
	var held closers
	node, err := lockNode(ctx, cfg, all.HookTimeout, say)
	if err == nil {
		held = append(held, node)
		var addresses map[string]io.Closer
		addresses, err = lockAddresses(ctx, all.Addresses, all.HookTimeout, say)
		held = slices.AppendSeq(held, maps.Values(addresses))
	}
	if err == nil && runs == nil {
		return held, nil
	}
	held.Close()
	if runs != nil {
		return nil, runs
	}
	return nil, fmt.Errorf("waiting for the keeper of %s to end: %w", cfg.Node, err)
}

// closers are closed the last one first.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}

// releaseElection gives up what an election holds.
func releaseElection(ctx context.Context, cfg *Config, e *Election, tools Tools) error {
	err := dropAddresses(cfg, e, tools)
	if e.Hook != "" {
		err = errors.Join(err, releaseUntilDone(ctx, cfg, e))
	}
	return err
}

// dropAddresses takes the floating addresses off, and the rules that cut them
// off with them.
func dropAddresses(cfg *Config, e *Election, tools Tools) error {
	if len(e.Addresses) == 0 {
		return nil
	}
	if tools.Addresses == nil {
		return errNoAddresses
	}
	never := func() bool { return false }
	a, err := tools.Addresses(*cfg, *e, never, func(e floatingip.Event) { e.Log(cfg.Logger) })
	if err != nil {
		return err
	}
	return errors.Join(a.Begin(), a.Drop(), a.Close())
}

// releaseUntilDone tries release until it succeeds or its time is over.
func releaseUntilDone(ctx context.Context, cfg *Config, e *Election) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.HookTimeout, errLimit)
	defer cancel()
	end := time.Now().Add(e.HookTimeout)
	runner := hook.Runner{Path: e.Hook, Owner: hook.Owner{Cluster: cfg.Cluster, Node: cfg.Node, Election: e.Name}}
	for failures := 1; ; failures++ {
		res := runner.Run(ctx, hook.Env{
			Event: hook.Release, Addr: cfg.Addr, Rule: e.Rule, Reason: reasonStop, Limit: time.Until(end),
		})
		if res.Output != "" {
			cfg.Logger.Info("hook", "event", string(hook.Release), "election", e.Name, "output", res.Output)
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
