package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHowLongToStandAside(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:             "-1s is not longer than zero",
		0:                        "0s is not longer than zero",
		1:                        "",
		MaxAside:                 "",
		MaxAside + 1:             "is longer than 30 days",
		time.Duration(1<<63 - 1): "is longer than 30 days",
	} {
		err := CheckAside(d)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q, got %v", d, want, err)
		}
	}
}

// A clock that was set wrong, or is, never makes it longer than it was.
func TestWhatIsLeftOfAMaintenance(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for what, test := range map[string]struct {
		planned plannedAside
		want    time.Duration
	}{
		"none":                      {plannedAside{}, 0},
		"under way":                 {plannedAside{now.Add(20 * time.Minute), time.Hour}, 20 * time.Minute},
		"over":                      {plannedAside{now.Add(-time.Second), time.Hour}, 0},
		"just over":                 {plannedAside{now, time.Hour}, 0},
		"the clock has been back":   {plannedAside{now.Add(300 * 24 * time.Hour), time.Hour}, time.Hour},
		"longer than can be asked":  {plannedAside{now.Add(300 * 24 * time.Hour), 300 * 24 * time.Hour}, MaxAside},
		"an end in the year 9999":   {plannedAside{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour}, time.Hour},
		"no length":                 {plannedAside{now.Add(time.Hour), 0}, 0},
		"a length that is negative": {plannedAside{now.Add(time.Hour), -time.Hour}, 0},
	} {
		if got := test.planned.left(now); got != test.want {
			t.Errorf("%s: want %v, got %v", what, test.want, got)
		}
	}
}

// finding returns the finding of that name at a member, or nil.
func (m *member) finding(what string) *Finding {
	fs := m.State().Findings
	if i := slices.IndexFunc(fs, func(f Finding) bool { return f.What == what }); i >= 0 {
		return &fs[i]
	}
	return nil
}

// inLine is how a member shows another in its line of succession.
func (m *member) inLine(name string) MemberInfo {
	line := m.Members()
	return line[slices.IndexFunc(line, func(i MemberInfo) bool { return i.Name == name })]
}

func (m *member) standAside(d time.Duration) Result {
	m.t.Helper()
	r, err := m.StandAside(m.t.Context(), d)
	if err != nil || !r.OK {
		m.t.Fatalf("%s stands aside for %v: %+v, %v", m.Name(), d, r, err)
	}
	return r
}

func (m *member) resume() Result {
	m.t.Helper()
	r, err := m.Resume(m.t.Context())
	if err != nil || !r.OK {
		m.t.Fatalf("%s resumes: %+v, %v", m.Name(), r, err)
	}
	return r
}

func TestStandAside(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(func(_ *Config, h *fakeExecutor) { h.takes = 50 * time.Millisecond })
		time.Sleep(5 * time.Second)

		events := c.Subscribe(t.Context())
		c.standAside(10 * time.Minute) // a follower just is no candidate
		g.await(3*time.Second, "the others know", func() bool { return !a.inLine("m2").Eligible && !b.inLine("m2").Eligible })
		if r := a.Ready(); !r.Ready || !slices.Contains(r.Reasons, "note: no candidate now: m2; diag says why") {
			t.Errorf("readiness of m0: %+v", r)
		}

		began := time.Now()
		r := a.standAside(3 * time.Minute)
		if took := time.Since(began); r.Leader != "m1" || took < 50*time.Millisecond {
			t.Errorf("the leader stands aside: want m1 to lead next, after the release, got %+v after %v", r, took)
		}
		end := began.Add(3 * time.Minute).Round(time.Second)
		if s := a.State(); s.Eligible || s.MaintenanceUntil == nil || !s.MaintenanceUntil.Equal(end) || r.Until == nil || !r.Until.Equal(end) {
			t.Errorf("state: want it aside until %v, got %v and %v, eligible %v", end, s.MaintenanceUntil, r.Until, s.Eligible)
		}
		g.await(time.Second, "m1 leads", func() bool { return a.follows("m1") && b.follows("m1") && c.follows("m1") })
		if f := a.finding(inMaintenance); f == nil || f.Degrades {
			t.Errorf("finding: want one that needs no hand, got %+v", f)
		}
		if r := a.Ready(); !slices.ContainsFunc(r.Reasons, func(s string) bool { return strings.HasPrefix(s, "note: this member stands aside until ") }) {
			t.Errorf("readiness of m0 does not tell: %+v", r)
		}

		time.Sleep(90 * time.Second) // longer than after a mere step-down
		if a.State().Eligible {
			t.Error("m0 is eligible before its time is over")
		}
		time.Sleep(time.Until(began.Add(3*time.Minute + time.Second)))
		if s := a.State(); !s.Eligible || s.MaintenanceUntil != nil || a.finding(inMaintenance) != nil {
			t.Errorf("m0 after its time: %+v", s)
		}
		if note := c.resume().Note; note != "this member stands aside no longer" {
			t.Errorf("resume: %q", note)
		}
		if note := c.resume().Note; note != "this member did not stand aside" {
			t.Errorf("resume again: %q", note)
		}
		var told []bool
		for len(events) > 0 {
			if e := <-events; e.Kind == "maintenance" {
				told = append(told, e.Data.(MaintenanceEvent).Until != nil)
			}
		}
		if want := []bool{true, false}; !slices.Equal(want, told) {
			t.Errorf("events: want %v, got %v", want, told)
		}
		if s := c.State(); !s.Eligible || s.MaintenanceUntil != nil || c.finding(inMaintenance) != nil {
			t.Errorf("m2 after it was resumed: %+v", s)
		}
	})
}

// A second request replaces the first, be it shorter.
func TestStandAsideAgain(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		_, b, _ := g.three(nil)
		b.standAside(time.Hour)
		b.standAside(10 * time.Second)
		time.Sleep(11 * time.Second)
		if s := b.State(); !s.Eligible || s.MaintenanceUntil != nil {
			t.Errorf("after the shorter time: %+v", s)
		}
	})
}

func TestResumeEndsTheMinuteAfterAStepDown(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, _, _ := g.three(nil)
		time.Sleep(5 * time.Second)
		if _, err := a.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := a.Ready(); a.State().Eligible || !slices.Contains(r.Reasons, "note: this member stands aside for another 1m0s") {
			t.Errorf("after a step-down: eligible %v, %+v", a.State().Eligible, r)
		}
		a.resume()
		if !a.State().Eligible {
			t.Error("m0 still stands aside")
		}
	})
}

func TestALeaderWithoutAnHeirDoesNotStandAside(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		time.Sleep(5 * time.Second)
		b.standAside(time.Hour)
		c.standAside(time.Hour)
		time.Sleep(3 * time.Second)
		if _, err := a.StandAside(t.Context(), time.Hour); !errors.Is(err, ErrRefused) {
			t.Errorf("want it refused, got %v", err)
		}
		if s := a.State(); !s.IsLeader || !s.Eligible || s.MaintenanceUntil != nil {
			t.Errorf("something has changed: %+v", s)
		}
		if r := a.Ready(); r.Ready || r.WouldLead != nil {
			t.Errorf("readiness: %+v", r)
		}
		// When it is gone, one of those aside leads, and says so.
		g.crash(a)
		g.await(5*time.Second, "m1 leads", func() bool { return b.follows("m1") && c.follows("m1") })
		if f := b.finding(inMaintenance); f == nil || !strings.HasSuffix(f.Evidence, "it leads all the same, because no other member may") {
			t.Errorf("finding: want it to say why it leads, got %+v", f)
		}
		if r := b.Ready(); !slices.Contains(r.Reasons, "note: this member leads although it should not, because no other may") {
			t.Errorf("readiness of m1: %+v", r)
		}
		c.resume()
		g.await(5*time.Second, "m2 leads", func() bool { return b.follows("m2") && c.follows("m2") })
	})
}

// All are asked at the same moment, as by a script: whether they are
// answered, somebody leads.
func TestAllStandAsideAtOnce(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		time.Sleep(5 * time.Second)
		var asked sync.WaitGroup
		for _, m := range g.members {
			asked.Go(func() {
				if _, err := m.StandAside(t.Context(), time.Hour); err != nil && !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v", m.Name(), err)
				}
			})
		}
		asked.Wait()
		time.Sleep(10 * time.Second)
		l, _ := a.Leader()
		if l.Leader == "" || !b.follows(l.Leader) || !c.follows(l.Leader) {
			t.Fatalf("want one leader, got %q and others", l.Leader)
		}
		time.Sleep(time.Minute)
		if !a.follows(l.Leader) {
			t.Errorf("%s did not stay", l.Leader)
		}
	})
}

func TestMaintenanceSurvivesARestartWithAStateDirectory(t *testing.T) {
	for what, test := range map[string]struct {
		state bool
		back  time.Duration // the clock is set back meanwhile
		want  bool
		left  time.Duration
	}{
		"kept":                 {state: true, want: true, left: 50 * time.Minute},
		"not kept":             {},
		"clock set back":       {state: true, back: 24 * time.Hour, want: true, left: time.Hour},
		"clock set ahead":      {state: true, back: -24 * time.Hour},
		"clock a little ahead": {state: true, back: -10 * time.Minute, want: true, left: 40 * time.Minute},
	} {
		t.Run(what, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				dir := t.TempDir()
				one := func(c *Config, _ *fakeExecutor) {
					c.Name = "m"
					if test.state {
						c.StateDir = dir
					}
				}
				first := g.add(one)
				first.standAside(time.Hour)
				time.Sleep(10 * time.Minute)
				first.leave()
				<-first.ended

				g.back.Store(int64(test.back))
				second := g.add(one)
				g.await(5*time.Second, "it has joined", func() bool { return second.group.snap.Load().deadline != nil })
				time.Sleep(time.Second)
				s := second.State()
				if s.Eligible == test.want || (s.MaintenanceUntil != nil) != test.want {
					t.Fatalf("want it aside: %v, got %v, eligible %v", test.want, s.MaintenanceUntil, s.Eligible)
				}
				if !test.want {
					return
				}
				left := s.MaintenanceUntil.Sub(time.UnixMilli(g.now().Wall))
				if left > test.left || left < test.left-10*time.Second {
					t.Errorf("want %v left, got %v", test.left, left)
				}
				second.resume()
				second.leave()
				<-second.ended
				third := g.add(one)
				time.Sleep(time.Second)
				if s := third.State(); !s.Eligible || s.MaintenanceUntil != nil {
					t.Errorf("after it was resumed and started again: %+v", s)
				}
			})
		})
	}
}

// A disk that fails does not keep a member from standing aside, but it says so.
func TestMaintenanceThatCannotBeStored(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		dir := t.TempDir()
		m := g.add(func(c *Config, _ *fakeExecutor) { c.StateDir = dir })
		time.Sleep(time.Second)
		inTheWay := filepath.Join(dir, maintenanceFile+".new", "in the way")
		if err := os.MkdirAll(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := m.StandAside(context.Background(), time.Hour)
		if err == nil || errors.Is(err, ErrRefused) || !errors.Is(err, ErrNotStored) || !strings.Contains(err.Error(), "a restart would forget it") {
			t.Errorf("want an error that says so, got %v", err)
		}
		if m.State().MaintenanceUntil == nil {
			t.Error("it does not stand aside")
		}
		if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
			t.Fatal(err)
		}
		g.await(2*saveInterval, "it is stored later", func() bool {
			text, err := os.ReadFile(filepath.Join(dir, maintenanceFile))
			return err == nil && strings.Contains(string(text), `"until"`)
		})
	})
}
