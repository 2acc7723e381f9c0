package agenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"doyen/agent"
)

// Leadership is what most programs ask of an agent. *agent.Agent, *agent.Election and
// *Fake have these methods.
type Leadership interface {
	Lead(ctx context.Context, f func(context.Context) error) error
	StepDown(ctx context.Context) (agent.Result, error)
	Watch(ctx context.Context) <-chan agent.Status
	Status() agent.Status
	IsLeader() bool
}

var (
	_ Leadership = (*agent.Agent)(nil)
	_ Leadership = (*agent.Election)(nil)
	_ Leadership = (*Fake)(nil)
)

// Fake stands in for an agent in a test: it leads from Elect to Depose or StepDown. It is
// safe for concurrent use, and works in bubbles of testing/synctest.
type Fake struct {
	name string

	mu      sync.Mutex
	status  agent.Status
	present *leadership   // nil: it does not lead
	changed chan struct{} // closed when the status has changed
}

// leadership is one leadership of a Fake.
type leadership struct {
	ctx       context.Context // ends with it
	end       context.CancelCauseFunc
	functions sync.WaitGroup
}

// NewFake returns a Fake with the name of a member. It knows of no leader.
func NewFake(name string) *Fake { return &Fake{name: name, changed: make(chan struct{})} }

// Elect has the Fake lead under the next term, and returns that. A leadership before it
// ends as by Depose.
func (f *Fake) Elect() (term uint64) {
	f.Depose("")
	f.mu.Lock()
	defer f.mu.Unlock()
	l := new(leadership)
	l.ctx, l.end = context.WithCancelCause(context.Background())
	f.present = l
	f.set(agent.Status{Leader: f.name, Term: f.status.Term + 1, Since: time.Now(), IsLeader: true})
	return f.status.Term
}

// Depose has the Fake follow another leader under the next term; "": it knows of none. It
// returns when all functions that run under Lead have returned.
func (f *Fake) Depose(leader string) { f.depose(leader).Wait() }

// depose ends the leadership, and returns what runs under it.
func (f *Fake) depose(leader string) *sync.WaitGroup {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, s := f.present, agent.Status{Leader: leader, Term: f.status.Term}
	if leader != "" {
		s.Term, s.Since = s.Term+1, time.Now()
	}
	f.present = nil
	f.set(s)
	if l == nil {
		return new(sync.WaitGroup)
	}
	l.end(agent.ErrLeadershipOver)
	return &l.functions
}

// set changes the status, with mu held.
func (f *Fake) set(s agent.Status) {
	f.status = s
	close(f.changed)
	f.changed = make(chan struct{})
}

// current returns the status, the leadership if there is one, and what is closed when
// either is another.
func (f *Fake) current() (agent.Status, *leadership, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.present, f.changed
}

// Status is as that of an agent.
func (f *Fake) Status() agent.Status {
	s, _, _ := f.current()
	return s
}

// IsLeader is as that of an agent.
func (f *Fake) IsLeader() bool { return f.Status().IsLeader }

// Watch is as that of an agent.
func (f *Fake) Watch(ctx context.Context) <-chan agent.Status {
	c := make(chan agent.Status, 1)
	go func() {
		defer close(c)
		for {
			s, _, changed := f.current()
			select {
			case <-c: // not read, and old
			default:
			}
			c <- s
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return c
}

// Lead is as that of an agent. It ends with ctx.
func (f *Fake) Lead(ctx context.Context, work func(context.Context) error) error {
	if work == nil {
		return errors.New("the function given to Lead is nil")
	}
	for {
		_, l, changed := f.current()
		if l != nil {
			if over, err := f.serve(ctx, l, work); !over {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// serve runs work under a leadership; over says that this has ended it.
func (f *Fake) serve(ctx context.Context, l *leadership, work func(context.Context) error) (over bool, err error) {
	f.mu.Lock()
	if f.present != l {
		f.mu.Unlock()
		return true, nil
	}
	term := f.status.Term
	l.functions.Add(1)
	defer l.functions.Done() // also if work panics, or ends its goroutine as t.FailNow does
	f.mu.Unlock()
	leading, end := context.WithCancelCause(agent.WithTerm(ctx, term))
	stop := context.AfterFunc(l.ctx, func() { end(agent.ErrLeadershipOver) })
	err = work(leading)
	over = ctx.Err() == nil && l.ctx.Err() != nil
	stop()
	end(nil)
	switch {
	case over || ctx.Err() != nil:
		if err == nil {
			err = ctx.Err()
		}
	case err != nil:
		f.depose("") // it has failed at what the leader is for
	}
	return over, err
}

// StepDown is as that of an agent: it returns when all functions given to Lead have, or
// ctx ends, and refuses if the Fake does not lead.
func (f *Fake) StepDown(ctx context.Context) (agent.Result, error) {
	if s := f.Status(); !s.IsLeader {
		return agent.Result{Leader: s.Leader, Term: s.Term}, fmt.Errorf("%w: %s does not lead", agent.ErrRefused, f.name)
	}
	functions, ended := f.depose(""), make(chan struct{})
	go func() {
		functions.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return agent.Result{OK: true, Term: f.Status().Term}, nil
	case <-ctx.Done():
		return agent.Result{}, ctx.Err()
	}
}
