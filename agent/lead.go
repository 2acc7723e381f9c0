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

// Lead runs f whenever this member leads. The context given to f carries the
// term (see Term) and ends with the leadership, checked against the deadline
// and not only told; f should then return at once, because on a planned
// hand-over the next leader waits for it, for up to HookTimeout.
//
// Lead returns what f returns if f returns while this member still leads;
// otherwise it waits for the next leadership. It returns the error of ctx when
// ctx ends, and ErrLeadershipOver when Run has returned.
func (a *Agent) Lead(ctx context.Context, f func(context.Context) error) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for s := range a.Watch(watching) {
		if !s.IsLeader {
			continue
		}
		if over, err := a.serveTenure(ctx, s.Term, f); !over {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrLeadershipOver
}

// serveTenure runs f under one term; over says that the leadership, and not f,
// ended it.
func (a *Agent) serveTenure(ctx context.Context, term uint64, f func(context.Context) error) (over bool, err error) {
	leading, end := context.WithCancelCause(context.WithValue(ctx, termKey{}, term))
	defer end(nil)
	leave := a.tenures.enter(term, end)
	defer leave()
	// Having entered, nobody else is let in before f has returned; so what
	// counts is whether this member leads now, not when Watch said so.
	if s := a.snap.Load(); s.status.Term != term || !s.leads(a.cfg.now().Boot) {
		return true, nil
	}
	var guard sync.WaitGroup
	guard.Go(func() { a.guard(leading, term, end) })
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
func (a *Agent) guard(ctx context.Context, term uint64, end context.CancelCauseFunc) {
	for {
		s, now := a.snap.Load(), a.cfg.now().Boot
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
// token to hand to whatever must refuse a former leader; false if ctx is not
// from Lead.
func Term(ctx context.Context) (uint64, bool) {
	term, ok := ctx.Value(termKey{}).(uint64)
	return term, ok
}

type termKey struct{}

// tenures are the functions that run under a leadership.
type tenures struct {
	mu     sync.Mutex
	next   int
	open   map[int]tenure
	vacant chan struct{} // capacity one: somebody has left
}

type tenure struct {
	term uint64
	end  context.CancelCauseFunc
}

func newTenures() tenures {
	return tenures{open: map[int]tenure{}, vacant: make(chan struct{}, 1)}
}

// enter adds a function that runs under term, to be told by end; the function
// it returns takes it out again.
func (t *tenures) enter(term uint64, end context.CancelCauseFunc) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.next
	t.next++
	t.open[id] = tenure{term: term, end: end}
	return func() {
		t.mu.Lock()
		delete(t.open, id)
		t.mu.Unlock()
		select {
		case t.vacant <- struct{}{}:
		default:
		}
	}
}

// end tells all functions that run under another term than the one led now
// that their leadership is over.
func (t *tenures) end(led uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.open {
		if o.term != led {
			o.end(ErrLeadershipOver)
		}
	}
}

// busy reports whether a function still runs under term.
func (t *tenures) busy(term uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.open {
		if o.term == term {
			return true
		}
	}
	return false
}
