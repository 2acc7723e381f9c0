package agent

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLeadershipOver is the cause (context.Cause) with which the context of a
// function run by Lead ends when the leadership does.
var ErrLeadershipOver = errors.New("this member leads no more")

// errNoFunction is what Lead says of a function that is nil.
var errNoFunction = errors.New("the function given to Lead is nil")

// Lead runs f whenever this member leads. The context given to f carries the
// term (see Term) and ends with the leadership, checked against the deadline
// and not only told; f should then return at once, because on a planned
// hand-over the next leader waits for it, for up to HookTimeout.
//
// Lead returns what f returns if f returns while this member still leads. If that
// is an error, this member first hands over and stands aside for a minute, if
// another may lead, since it has failed at what the leader is for; if it is nil,
// or f panics and the caller recovers, this member goes on leading and nothing
// runs. Otherwise it waits for the next leadership. Before Run it waits for that.
// It returns the error of ctx when ctx ends, and ErrLeadershipOver when Run has
// returned. A nil f is an error at once.
func (e *Election) Lead(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return errNoFunction
	}
	err := e.lead(ctx, false, f)
	if err != nil && ctx.Err() == nil && err != ErrLeadershipOver && e != nil {
		if _, refused := e.StepDown(ctx); refused == nil {
			e.log.Warn("a function given to Lead failed, so this member has handed over", "error", err)
		}
	}
	return err
}

// Hold is Lead for what runs outside of this process, such as a command that
// another program runs and f waits for. If this process dies while f runs, the
// others are not told that its leadership is over: they wait for the end of the
// lease, before which the other program has to kill what it runs.
func (e *Election) Hold(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return errNoFunction
	}
	return e.lead(ctx, true, f)
}

func (e *Election) lead(ctx context.Context, outside bool, f func(context.Context) error) error {
	if e == nil {
		return ErrNoElection
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for s := range e.Watch(watching) {
		if !s.IsLeader {
			continue
		}
		if over, err := e.serveLeadership(ctx, s.Term, outside, f); !over {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrLeadershipOver
}

// serveLeadership runs f under one term; over says that the leadership, and not f,
// ended it.
func (e *Election) serveLeadership(ctx context.Context, term uint64, outside bool, f func(context.Context) error) (over bool, err error) {
	leading, end := context.WithCancelCause(WithTerm(ctx, term))
	defer end(nil)
	leave := e.functions.Enter(term, outside, end)
	defer leave()
	// No other function is let in before f has returned; so what
	// counts is whether this member leads now, not when Watch said so.
	if s := e.snap.Load(); s.status.Term != term || !s.leads(e.cfg().now().Boot) {
		return true, nil
	}
	var guard sync.WaitGroup
	guard.Go(func() { e.guard(leading, term, end) })
	err = f(leading)
	over = ctx.Err() == nil && leading.Err() != nil
	end(nil)
	guard.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return over, err
}

// guard ends the context of a leadership whose deadline passes while the loop
// hangs and cannot say so.
func (e *Election) guard(ctx context.Context, term uint64, end context.CancelCauseFunc) {
	for {
		s, now := e.snap.Load(), e.cfg().now().Boot
		if s.status.Term != term || !s.leads(now) {
			end(ErrLeadershipOver)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(s.status.Deadline-now, time.Millisecond)):
		}
	}
}

// Term returns the term of the leadership that ctx belongs to, the fencing
// token to hand to systems that must refuse a former leader; false if ctx is not
// from Lead.
func Term(ctx context.Context) (uint64, bool) {
	term, ok := ctx.Value(termKey{}).(uint64)
	return term, ok
}

// WithTerm returns a context that carries a term as that of a function given to Lead
// does, for tests of such a function.
func WithTerm(ctx context.Context, term uint64) context.Context {
	return context.WithValue(ctx, termKey{}, term)
}

type termKey struct{}
