package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"doyen/agent/clock"
)

func TestLeadRunsOnOneMemberAtATime(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		time.Sleep(5 * time.Second)
		var running []string
		var mu sync.Mutex
		work := func(m *member) func(context.Context) error {
			return func(ctx context.Context) error {
				mu.Lock()
				running = append(running, m.Name())
				if len(running) > 1 {
					t.Errorf("running at once: %v", running)
				}
				mu.Unlock()
				if term, ok := Term(ctx); !ok || term == 0 {
					t.Errorf("no term in the context at %s", m.Name())
				}
				<-ctx.Done()
				if context.Cause(ctx) != ErrLeadershipOver && m == a {
					t.Errorf("cause: want %v, got %v", ErrLeadershipOver, context.Cause(ctx))
				}
				time.Sleep(300 * time.Millisecond) // cleaning up
				mu.Lock()
				running = slices.DeleteFunc(running, func(n string) bool { return n == m.Name() })
				mu.Unlock()
				return nil
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var leads sync.WaitGroup
		for _, m := range g.members {
			leads.Go(func() {
				if err := m.Lead(ctx, work(m)); err != context.Canceled {
					t.Errorf("Lead at %s: want %v, got %v", m.Name(), context.Canceled, err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := a.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 300*time.Millisecond {
			t.Errorf("the hand-over took %v and did not wait for the function", took)
		}
		g.await(time.Second, "m1 leads", b.IsLeader)
		time.Sleep(time.Second)
		if want := []string{"m1"}; !slices.Equal(want, running) {
			t.Errorf("running: want %v, got %v", want, running)
		}
		cancel()
		leads.Wait()
	})
}

func TestLeadReturnsWhatTheFunctionReturns(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m := g.add(func(c *Config, _ *fakeHands) { c.LoneWait = new(time.Duration(0)) })
		enough := errors.New("enough")
		if err := m.Lead(t.Context(), func(context.Context) error { return enough }); err != enough {
			t.Errorf("want %v, got %v", enough, err)
		}
		if !m.IsLeader() {
			t.Error("the end of the function was the end of the leadership")
		}
		m.leave()
		if err := m.Lead(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil }); err != ErrLeadershipOver {
			t.Errorf("after Run: want %v, got %v", ErrLeadershipOver, err)
		}
	})
}

func TestAFunctionThatIgnoresTheEndIsNotWaitedForForEver(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(func(c *Config, _ *fakeHands) { c.HookTimeout = 3 * time.Second })
		let := make(chan struct{})
		var lead sync.WaitGroup
		lead.Go(func() {
			_ = a.Lead(t.Context(), func(context.Context) error { <-let; return errors.New("late") })
		})
		time.Sleep(5 * time.Second)
		began := time.Now()
		if _, err := a.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the hand-over took %v, want the hook-timeout of 3s", took)
		}
		g.await(time.Second, "m1 leads", b.IsLeader)
		a.leave()
		close(let)
		lead.Wait()
	})
}

func TestALeadershipEndsAtItsDeadlineThoughTheLoopHangs(t *testing.T) {
	until := clock.Boot() + 50*time.Millisecond
	a, _ := leading(t, until)
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	a.guard(ctx, 7, stop) // returns only then
	if now := clock.Boot(); now < until.Truncate(time.Millisecond) || context.Cause(ctx) != ErrLeadershipOver {
		t.Errorf("it ended %v before its deadline, because %v", until-now, context.Cause(ctx))
	}
}
