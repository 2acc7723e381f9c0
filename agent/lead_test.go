package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent/clock"
	"doyen/seniority"
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
		mu.Lock()
		if want := []string{"m1"}; !slices.Equal(want, running) {
			t.Errorf("running: want %v, got %v", want, running)
		}
		mu.Unlock()
		cancel()
		leads.Wait()
	})
}

func TestLeadReturnsWhatTheFunctionReturns(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m := g.add(func(c *Config, _ *fakeExecutor) { c.LoneWait = new(time.Duration(0)) })
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

// A nil function is refused before it could be run, and ends no leadership.
func TestLeadRefusesANilFunction(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m := g.add(func(c *Config, _ *fakeExecutor) { c.LoneWait = new(time.Duration(0)) })
		for _, lead := range []func(context.Context, func(context.Context) error) error{m.Lead, m.Hold} {
			if err := lead(t.Context(), nil); err != errNoFunction {
				t.Errorf("before it leads: want %v, got %v", errNoFunction, err)
			}
		}
		g.await(10*time.Second, "m0 leads", m.IsLeader)
		if err := m.Lead(t.Context(), nil); err != errNoFunction || !m.IsLeader() {
			t.Errorf("while it leads: want %v and no end of that, got %v", errNoFunction, err)
		}
	})
}

// The methods of an election that is not there say so, or know of no leader.
func TestNoElection(t *testing.T) {
	var e *Election
	ctx, f := t.Context(), func(context.Context) error { return nil }
	_, stepDown := e.StepDown(ctx)
	_, handOver := e.HandOver(ctx, "a", 0)
	_, standAside := e.StandAside(ctx, time.Hour)
	_, resume := e.Resume(ctx)
	_, elect := e.Elect(ctx)
	for _, err := range []error{e.Lead(ctx, f), e.Hold(ctx, f), e.SetHealth(ctx, true), e.Joined(), stepDown, handOver, standAside, resume, elect} {
		if err != ErrNoElection {
			t.Errorf("want %v, got %v", ErrNoElection, err)
		}
	}
	_, led := e.Leader()
	if _, open := <-e.Watch(ctx); led || open || e.IsLeader() || e.Status() != (Status{}) {
		t.Error("it knows of a leader")
	}
}

func TestAFunctionThatIgnoresTheEndIsNotWaitedForForEver(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(func(c *Config, _ *fakeExecutor) { c.HookTimeout = 3 * time.Second })
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
	until := clock.Boot() + time.Second
	a, _ := leading(t, until)
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	a.group.guard(ctx, 7, stop) // returns only then
	if now := clock.Boot(); now < until.Truncate(time.Millisecond) || context.Cause(ctx) != ErrLeadershipOver {
		t.Errorf("it ended %v before its deadline, because %v", until-now, context.Cause(ctx))
	}
}

// In quorum mode, too, the next member leads only after the function has returned,
// for up to HookTimeout and however often the lease is renewed meanwhile.
func TestQuorumHandOverWaitsForLeadFunctions(t *testing.T) {
	const limit = 10 * time.Second
	for name, cleaning := range map[string]time.Duration{"in time": 4 * time.Second, "too late": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				a, b, _ := g.three(func(c *Config, _ *fakeExecutor) { c.Voters, c.HookTimeout = []string{VotersSeeds}, limit })
				var inA atomic.Bool
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var leads sync.WaitGroup
				leads.Go(func() {
					_ = a.Lead(ctx, func(c context.Context) error {
						inA.Store(true)
						<-c.Done()
						time.Sleep(cleaning)
						inA.Store(false)
						return nil
					})
				})
				g.await(30*time.Second, "m0's function runs", inA.Load)
				began := time.Now()
				go a.StepDown(t.Context())
				g.await(30*time.Second, "m1 leads", b.IsLeader)
				late := cleaning > limit
				if inA.Load() != late {
					t.Errorf("m1 leads after %v, m0's function still runs: %v", time.Since(began), inA.Load())
				}
				if want, got := min(cleaning, limit), time.Since(began); got < want || got > want+2*time.Second {
					t.Errorf("want m1 to lead after %v, got %v", want, got)
				}
				if got := slices.ContainsFunc(a.State().Findings, func(f Finding) bool { return f.What == "lead-function-late" }); got != late {
					t.Errorf("finding about a late function: got %v, want %v", got, late)
				}
				cancel()
				leads.Wait()
			})
		})
	}
}

// After a pause the lease is over before the function has been told: it is late only if it
// then goes on.
func TestFunctionsAfterAPause(t *testing.T) {
	for _, test := range []struct {
		name     string
		outside  bool
		cleaning time.Duration
		evidence string // "": no finding
	}{
		{"a function that returns", false, 100 * time.Millisecond, ""},
		{"a command that ends", true, 100 * time.Millisecond, ""},
		{"a function that goes on", false, 5 * time.Second, "a function given to Lead goes on"},
		{"a command that goes on", true, 5 * time.Second, "agent exec has not said that its command has ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				var jump atomic.Int64
				a, b, _ := g.three(func(c *Config, _ *fakeExecutor) {
					if c.Voters = []string{VotersSeeds}; c.Name == "m0" {
						c.seams.now = func() seniority.Now {
							n := g.now()
							n.Boot += time.Duration(jump.Load())
							return n
						}
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				run := a.Lead
				if test.outside {
					run = a.Hold
				}
				var lead sync.WaitGroup
				lead.Go(func() {
					_ = run(ctx, func(ctx context.Context) error {
						<-ctx.Done()
						time.Sleep(test.cleaning)
						return nil
					})
				})
				time.Sleep(3 * time.Second)
				jump.Store(int64(10 * time.Second))
				paused := time.Now()
				var f []Finding
				g.await(10*time.Second, "m1 leads, and m0 has run for two seconds", func() bool {
					if len(f) == 0 {
						f = a.findingsOf(functionLate)
					}
					return b.IsLeader() && time.Since(paused) > 2*time.Second
				})
				if len(f) > 0 != (test.evidence != "") || len(f) > 0 && !strings.HasPrefix(f[0].Evidence, test.evidence) {
					t.Errorf("want %q, got %+v", test.evidence, f)
				}
				time.Sleep(10 * time.Second)
				if f := a.findingsOf(functionLate); len(f) > 0 {
					t.Errorf("it stands although all has ended: %+v", f)
				}
				cancel()
				lead.Wait()
			})
		})
	}
}

// A function that fails has failed at what the leader is for: another takes over.
func TestLeadHandsOverWhenTheFunctionFails(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		time.Sleep(5 * time.Second)
		broken := errors.New("broken")
		if err := a.Lead(t.Context(), func(context.Context) error { return broken }); err != broken {
			t.Errorf("want %v, got %v", broken, err)
		}
		g.await(time.Second, "m1 leads", b.IsLeader)
		if err := b.Lead(t.Context(), func(context.Context) error { return nil }); err != nil || !b.IsLeader() {
			t.Errorf("a function that succeeds ends no leadership: %v, leads %v", err, b.IsLeader())
		}
	})
}
