package keeper

import (
	"context"
	"errors"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/hook"
)

// run is what is done for an event, and is under way: the hook, and what the event
// does with the addresses before and after it.
type run struct {
	event  hook.Event
	term   uint64
	about  leader
	limit  time.Duration // boot time at which it is killed
	idle   bool          // no program runs
	cancel context.CancelCauseFunc
	killed error // what it was killed for, if it was
	// outdated: more is to be held than it takes; see takeAnew.
	outdated bool
	parting  bool  // it is the release of a hook that is no more
	after    error // of what was done with the addresses after the hook
}

// around is what an event does with the addresses: before the hook, which does not run
// if that fails, and after it. Each may be nil. They are called beside the executor,
// which must not wait for them.
type around struct{ before, after func() error }

// ending is the event of a run that kills what acquire has left running.
const ending hook.Event = ""

// beginEnding starts to kill what acquire has left running. It takes as long as the
// kernel needs, and is over when all of it is dead.
func (e *executor) beginEnding() {
	e.run = &run{event: ending, term: e.leadership.term, cancel: func(error) {}}
	runner := e.runner
	go func() {
		_, err := runner.EndLasting()
		e.done <- hook.Result{Err: err}
	}()
}

// What a run is killed for.
var (
	errLimit     = errors.New("killed at its limit")
	errOvertaken = errors.New("killed because newer events overtook it")
)

// begin starts a run: env has the term and the reason, the rest is filled in. Without a
// hook the run consists of what surrounds it; if err already says that the event has
// failed, of its end.
func (e *executor) begin(event hook.Event, env hook.Env, limit time.Duration, err error, with around) {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &run{event: event, term: env.Term, about: e.leader(), limit: limit, cancel: cancel}
	e.run = r
	r.idle = e.cfg.Hook == "" || err != nil
	if err != nil || r.idle && with.before == nil && with.after == nil {
		e.done <- hook.Result{Exit: -1, Err: err}
		return
	}
	env.Event = event
	env.Addr, env.API, env.Rule = e.node.cfg.Addr, e.node.cfg.API, e.cfg.Rule
	if e.orderIsStale() {
		env.Previous = e.node.cfg.Node
	} else {
		env.Leader, env.LeaderAddr, env.Previous = e.order.Leader, e.order.LeaderAddr, e.order.Previous
	}
	if !r.idle {
		e.report(Report{Event: string(event), Term: env.Term, Running: true})
	}
	runner, now := e.runner, e.now
	go func() {
		res := hook.Result{Exit: -1}
		if with.before != nil {
			res.Err = with.before()
		}
		if res.Err == nil && !r.idle {
			if res.Err = context.Cause(ctx); res.Err == nil {
				env.Limit = limit - now()
				res = runner.Run(ctx, env)
			}
		}
		if with.after != nil {
			r.after = with.after()
		}
		e.done <- res
	}()
}

// orderIsStale reports whether the leadership has ended and the newest order does
// not say so yet, because it is older.
func (e *executor) orderIsStale() bool {
	return e.leadership != nil && e.leadership.over && e.order.Gen == e.leadership.gen
}

// overtake kills the run under way if its time is over, or if something has
// come up that must not wait for it.
func (e *executor) overtake() {
	r, t, now := e.run, e.leadership, e.now()
	overtaken := false
	switch {
	case r.event == ending:
		return
	case r.parting:
		overtaken = t.over || e.parting == nil
	case r.event == hook.Release:
		r.limit = e.releaseLimit()
		overtaken = e.orphaned && !e.started || e.release.late && e.successor()
	case r.event == hook.Change:
		overtaken = e.orphaned || e.successor() || t != nil && (t.over || !t.held && now >= t.retryAt)
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
func (e *executor) ended(res hook.Result) {
	r := e.run
	e.run = nil
	r.cancel(nil)
	if r.event == ending {
		e.leadership.lasting = false
		e.note(res.Err)
		return
	}
	rep := Report{Term: r.term}
	if !r.idle || res.Err != nil {
		rep.Event, rep.Exit, rep.Err = string(r.event), res.Exit, errText(res.Err)
		rep.Duration, rep.Output, rep.Left = res.Duration, res.Output, res.Left
		// The addresses may see that the lead has gone before this loop does.
		rep.Overtaken = res.Err != nil && (r.killed == errOvertaken || errors.Is(res.Err, floatingip.ErrNotLeading))
	}
	switch r.event {
	case hook.Acquire:
		rep.AcquireFailures = e.acquired(res.Err)
	case hook.Check:
		e.checked(res.Err)
	case hook.Change:
		if res.Err == nil || r.killed != errOvertaken {
			e.told = r.about
		}
	}
	if t := e.leadership; r.outdated && t != nil {
		t.held = false
	}
	if !r.idle || res.Err != nil || r.event == hook.Acquire {
		e.report(rep)
	}
	switch {
	case r.parting:
		e.partTried(&res)
	case r.event == hook.Release:
		e.note(r.after)
		e.tried(errors.Join(res.Err, r.after), res.Unusable)
	}
}
