package keeper

import (
	"context"
	"errors"
	"time"

	"doyen/agent/hook"
)

// run is the run of the hook that is under way.
type run struct {
	event  hook.Event
	term   uint64
	about  leadership
	limit  time.Duration // boot time at which it is killed
	idle   bool          // no program runs
	cancel context.CancelCauseFunc
	killed error // what it was killed for, if it was
}

// What a run is killed for.
var (
	errLimit     = errors.New("killed at its limit")
	errOvertaken = errors.New("killed because newer events overtook it")
)

// begin starts a run of the hook: env has the term and the reason, the rest is
// filled in. Without a hook, or if err already says that the event has failed,
// the run consists of its end.
func (h *hands) begin(event hook.Event, env hook.Env, limit time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	h.run = &run{event: event, term: env.Term, about: h.leadership(), limit: limit, cancel: cancel}
	if h.cfg.Hook == "" || err != nil {
		h.run.idle = true
		h.done <- hook.Result{Exit: -1, Err: err}
		return
	}
	env.Event, env.Limit = event, limit-h.now()
	env.Node, env.Addr, env.Rule, env.Cluster = h.cfg.Node, h.cfg.Addr, h.cfg.Rule, h.cfg.Cluster
	if h.unheard() {
		env.Previous = h.cfg.Node
	} else {
		env.Leader, env.LeaderAddr, env.Previous = h.order.Leader, h.order.LeaderAddr, h.order.Previous
	}
	h.report(Report{Event: string(event), Term: env.Term, Running: true})
	go func() { h.done <- h.runner.Run(ctx, env) }()
}

// unheard reports whether the leadership has ended and the newest order, being
// older, does not say so.
func (h *hands) unheard() bool {
	return h.tenure != nil && h.tenure.over && h.order.Gen == h.tenure.gen
}

// overtake kills the run under way if its time is over, or if something has
// come up that must not wait for it.
func (h *hands) overtake() {
	r, t, now := h.run, h.tenure, h.now()
	overtaken := false
	switch r.event {
	case hook.Release:
		r.limit = h.releaseLimit()
		overtaken = h.orphaned && !h.started || h.release.late && h.successor()
	case hook.Change:
		overtaken = h.orphaned || h.successor() || t != nil && (t.over || !t.held && now >= t.retryAt)
	default:
		overtaken = t.over
	}
	switch {
	case r.killed != nil:
		return
	case overtaken:
		r.killed = errOvertaken
	case now >= r.limit:
		r.killed = errLimit
	default:
		return
	}
	r.cancel(r.killed)
}

// ended takes in how a run has ended.
func (h *hands) ended(res hook.Result) {
	r := h.run
	h.run = nil
	r.cancel(nil)
	rep := Report{Term: r.term}
	if !r.idle || res.Err != nil {
		rep.Event, rep.Exit, rep.Err = string(r.event), res.Exit, errText(res.Err)
		rep.Duration, rep.Output = res.Duration, res.Output
		rep.Overtaken = res.Err != nil && r.killed == errOvertaken
	}
	switch r.event {
	case hook.Acquire:
		rep.AcquireFailures = h.acquired(res.Err)
	case hook.Check:
		h.checked(res.Err)
	case hook.Change:
		if res.Err == nil || r.killed != errOvertaken {
			h.told = r.about
		}
	}
	if !r.idle || res.Err != nil || r.event == hook.Acquire {
		h.report(rep)
	}
	if r.event == hook.Release {
		h.tried(res.Err, res.Unusable)
	}
}
