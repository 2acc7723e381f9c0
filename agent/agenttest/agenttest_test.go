package agenttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

func TestFakeRunsFunctionsWhileItLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake("a")
		var said []string
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- f.Lead(ctx, func(ctx context.Context) error {
				term, _ := agent.Term(ctx)
				said = append(said, fmt.Sprint("begin ", term))
				<-ctx.Done()
				time.Sleep(time.Second)
				said = append(said, fmt.Sprint("end ", term, " ", context.Cause(ctx)))
				return nil
			})
		}()
		synctest.Wait()
		if f.Elect() != 1 || !f.IsLeader() {
			t.Error("want it to lead under term 1")
		}
		synctest.Wait()
		f.Depose("b")
		if s := f.Status(); s.IsLeader || s.Leader != "b" || s.Term != 2 {
			t.Errorf("want b to lead under term 2, got %+v", s)
		}
		if f.Elect() != 3 {
			t.Error("want it to lead under term 3")
		}
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("want the end of ctx, got %v", err)
		}
		want := fmt.Sprintf("[begin 1 end 1 %v begin 3 end 3 %v]", agent.ErrLeadershipOver, context.Canceled)
		if got := fmt.Sprint(said); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	})
}

func TestFakeHandsOverWhenAFunctionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, failed := NewFake("a"), errors.New("no disk")
		if f.Lead(t.Context(), nil) == nil {
			t.Error("want a nil function refused")
		}
		f.Elect()
		if err := f.Lead(t.Context(), func(context.Context) error { return failed }); err != failed || f.IsLeader() {
			t.Errorf("want %v and no lead, got %v, %+v", failed, err, f.Status())
		}
		if _, err := f.StepDown(t.Context()); !errors.Is(err, agent.ErrRefused) {
			t.Errorf("want a refusal of one that does not lead, got %v", err)
		}
		f.Elect()
		if err := f.Lead(t.Context(), func(context.Context) error { return nil }); err != nil || !f.IsLeader() {
			t.Errorf("want it to lead on after a function that is done, got %v, %+v", err, f.Status())
		}
		if r, err := f.StepDown(t.Context()); err != nil || !r.OK || f.IsLeader() {
			t.Errorf("want it to step down, got %+v, %v", r, err)
		}
	})
}

// A function may itself ask to step down, which does not wait for it beyond its context.
func TestFakeStepsDownAtTheWishOfItsFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ended := NewFake("a"), make(chan error, 1)
		f.Elect()
		go func() {
			_ = f.Lead(t.Context(), func(ctx context.Context) error {
				_, err := f.StepDown(ctx)
				ended <- err
				return err
			})
		}()
		if err := <-ended; !errors.Is(err, context.Canceled) || f.IsLeader() {
			t.Errorf("want the end of its context, and no lead, got %v, %+v", err, f.Status())
		}
		f.Depose("b")
	})
}

// A function that panics, or ends its goroutine as a failed test does, has ended.
func TestFakeDoesNotWaitForAFunctionThatBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fail := range []func(){func() { panic("no disk") }, runtime.Goexit} {
			f := NewFake("a")
			f.Elect()
			go func() {
				defer func() { _ = recover() }()
				_ = f.Lead(t.Context(), func(context.Context) error { fail(); return nil })
			}()
			synctest.Wait()
			f.Depose("b")
		}
	})
}

func TestFakeIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake("a")
		ctx, cancel := context.WithCancel(t.Context())
		watch := f.Watch(ctx)
		if s := <-watch; s.Leader != "" {
			t.Errorf("want no leader at first, got %+v", s)
		}
		f.Elect()
		f.Depose("b")
		synctest.Wait()
		if s := <-watch; s.Leader != "b" {
			t.Errorf("want the newest status, got %+v", s)
		}
		cancel()
		if s, ok := <-watch; ok {
			t.Errorf("want the channel closed, got %+v", s)
		}
	})
}

// Three real agents in memory elect one; when it is cut off, another leads, and never do
// the functions of two run at once.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		ctx, leave := context.WithCancel(t.Context())
		running, served := 0, map[string]int{}
		var agents []*agent.Agent
		ended := make(chan error)
		for range 3 {
			a, err := agent.New(n.Member(agent.Config{Voters: []string{agent.VotersSeeds}, Logger: slog.New(slog.DiscardHandler)}))
			if err != nil {
				t.Fatal(err)
			}
			agents = append(agents, a)
			go a.Lead(ctx, func(ctx context.Context) error {
				if running++; running > 1 {
					t.Error("two members lead at once")
				}
				served[a.Name()]++
				<-ctx.Done()
				running--
				return nil
			})
			go func() { ended <- a.Run(ctx) }()
		}
		leader := func() *agent.Agent {
			t.Helper()
			time.Sleep(10 * time.Second)
			for _, a := range agents {
				if a.IsLeader() {
					return a
				}
			}
			t.Fatal("no member leads")
			return nil
		}
		first := leader()
		n.Isolate(first, true)
		second := leader()
		if second == first || served[second.Name()] != 1 {
			t.Errorf("want another than %s to lead, got %s, served %v", first.Name(), second.Name(), served)
		}
		n.Isolate(first, false)
		if leader() != second {
			t.Errorf("want %s to lead on", second.Name())
		}
		leave()
		for range agents {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // see Network
	})
}
