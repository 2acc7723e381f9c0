package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent/hook"
)

// patient is a health check whose result the test chooses.
type patient struct {
	sick  atomic.Bool
	takes atomic.Int64
}

func (p *patient) check(ctx context.Context, _ time.Duration) hook.Result {
	select {
	case <-time.After(time.Duration(p.takes.Load())):
	case <-ctx.Done():
		return hook.Result{Exit: -1, Err: context.Cause(ctx)}
	}
	if p.sick.Load() {
		return hook.Result{Exit: 3, Err: errors.New("exit status 3"), Output: "no disk"}
	}
	return hook.Result{Duration: time.Millisecond}
}

// ward starts three members with health checks: every 2 s, rise 2, fall 3. Those
// named are sick from the start.
func (g *group) ward(sick ...int) (members []*member, patients []*patient) {
	for i := range 3 {
		p := &patient{}
		p.sick.Store(slices.Contains(sick, i))
		patients = append(patients, p)
		members = append(members, g.add(func(c *Config, _ *fakeExecutor) {
			c.Health, c.seams.health = "/bin/check", p.check
		}))
		time.Sleep(time.Millisecond)
	}
	return members, patients
}

// allFollow reports whether all members follow one.
func (g *group) allFollow(name string) func() bool {
	return func() bool {
		return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.follows(name) })
	}
}

func TestASickLeaderHandsOver(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m, p := g.ward()
		events := m[0].Subscribe(t.Context())
		g.await(5*time.Second, "m0 leads", g.allFollow("m0"))
		time.Sleep(5*time.Second + 500*time.Millisecond)
		p[0].sick.Store(true)
		time.Sleep(4 * time.Second) // two failures
		if s := m[0].State(); !s.Eligible || !s.IsLeader || !s.Health.Healthy || s.Health.InARow != 2 || s.Health.Exit != 3 {
			t.Errorf("after two failures: %+v, health %+v", s, s.Health)
		}
		took := g.await(5*time.Second, "m1 leads", g.allFollow("m1"))
		if took > 2500*time.Millisecond {
			t.Errorf("m1 leads %v after the second failure", took)
		}
		if got, want := m[0].executor.done(), []string{"acquire", "release"}; !slices.Equal(want, got) {
			t.Errorf("hook of m0: want %v, got %v", want, got)
		}
		if h := m[0].History(); h[0].Leader != "m1" || h[0].Reason != "succeeded" || h[1].EndReason != "unhealthy" {
			t.Errorf("history of m0: %+v", h)
		}
		if f := m[0].finding(unhealthy); f == nil || !f.Degrades || f.Evidence != "its health check has failed 3 times in a row: exit status 3" {
			t.Errorf("finding: %+v", f)
		}
		if r := m[0].Ready(); !r.Ready || !slices.ContainsFunc(r.Reasons, func(s string) bool {
			return strings.HasPrefix(s, "note: this member is no candidate: its health check has failed")
		}) {
			t.Errorf("readiness of m0: %+v", r)
		}
		g.await(3*time.Second, "the others know", func() bool { return !m[1].inLine("m0").Eligible })

		p[0].sick.Store(false)
		time.Sleep(2*time.Second + time.Millisecond)
		if s := m[0].State(); s.Eligible || s.Health.Healthy || s.Health.Error != "" {
			t.Errorf("after one success: %+v, health %+v", s, s.Health)
		}
		if f := m[0].finding(unhealthy); f == nil {
			t.Error("the finding has gone too early")
		}
		g.await(2100*time.Millisecond, "m0 is a candidate again", func() bool { return m[0].State().Eligible })
		if f := m[0].finding(unhealthy); f != nil {
			t.Errorf("the finding stays: %+v", f)
		}
		if c := m[0].Counters().Health; c.Failed < 3 || c.OK < 4 || c.Seconds == 0 {
			t.Errorf("counters: %+v", c)
		}
		var verdicts []bool
		for len(events) > 0 {
			if e := <-events; e.Kind == "health" {
				verdicts = append(verdicts, e.Data.(Health).Healthy)
			}
		}
		if want := []bool{false, true}; !slices.Equal(want, verdicts) {
			t.Errorf("events: want %v, got %v", want, verdicts)
		}
	})
}

// No member is healthy: the leader stays, and says so.
func TestNobodyIsHealthy(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m, p := g.ward(2)
		g.await(5*time.Second, "m0 leads", g.allFollow("m0"))
		p[1].sick.Store(true)
		time.Sleep(10 * time.Second)
		p[0].sick.Store(true)
		for range 60 {
			time.Sleep(time.Second)
			if !m[0].IsLeader() {
				t.Fatal("m0 does not stay")
			}
		}
		if f := m[0].finding(unhealthy); f == nil || !strings.HasSuffix(f.Evidence, leadsAllTheSame) {
			t.Errorf("finding: %+v", f)
		}
		r := m[0].Ready()
		if r.Ready || r.WouldLead != nil || !slices.Contains(r.Reasons, "no other member may lead") ||
			!slices.Contains(r.Reasons, "note: this member leads although it should not, because no other may") ||
			!slices.Contains(r.Reasons, "note: no candidate now: m1, m2; diag says why") {
			t.Errorf("readiness of m0: %+v", r)
		}
		// One that is sick claims nothing, even if it is alone.
		g.crash(m[0])
		time.Sleep(time.Minute)
		if l, ok := m[1].Leader(); ok {
			t.Errorf("%s leads although it is sick", l.Leader)
		}
		p[2].sick.Store(false)
		g.await(5*time.Second, "m2 leads", func() bool { return m[1].follows("m2") && m[2].follows("m2") })
	})
}

func TestOneThatStartsSickDoesNotLead(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m, p := g.ward(0)
		g.await(5*time.Second, "m1 leads", g.allFollow("m1"))
		if s := m[0].State(); s.Eligible || s.Health == nil || s.Health.Healthy {
			t.Errorf("m0: %+v", s)
		}
		if got := m[0].executor.done(); len(got) != 0 {
			t.Errorf("m0 has led: %v", got)
		}
		p[0].sick.Store(false)
		g.await(5*time.Second, "m0 is a candidate", func() bool { return m[0].State().Eligible })
	})
}

// A first check that hangs delays neither the others nor for long this member's
// vote.
func TestAFirstCheckThatHangs(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		hanging := &patient{}
		hanging.takes.Store(int64(time.Hour))
		m := g.add(func(c *Config, _ *fakeExecutor) {
			c.Health, c.HealthTimeout, c.seams.health = "/bin/check", 10*time.Minute, hanging.check
		})
		g.add(nil)
		g.add(nil)
		g.await(5*time.Second, "m1 leads", g.allFollow("m1"))
		if s := m.State(); s.Eligible || s.Health != nil {
			t.Errorf("m0 before its first check has ended: %+v", s)
		}
		if r := m.Ready(); !slices.Contains(r.Reasons, "note: this member is no candidate before its first health check has ended") {
			t.Errorf("readiness: %+v", r)
		}
	})
}

// SetHealth and the check must both say that a member is fit.
func TestHealthOfTwoSources(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m, p := g.ward()
		g.await(5*time.Second, "m0 leads", g.allFollow("m0"))
		if err := m[1].SetHealth(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		p[1].sick.Store(true)
		time.Sleep(10 * time.Second)
		p[1].sick.Store(false)
		time.Sleep(10 * time.Second)
		if m[1].State().Eligible {
			t.Error("m1 is a candidate although the program says that it is not fit")
		}
		if err := m[1].SetHealth(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if !m[1].State().Eligible {
			t.Error("m1 is no candidate although both say that it is fit")
		}
	})
}
