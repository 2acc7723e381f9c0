package agent

import (
	"testing"
	"time"

	"doyen/agent/clock"
	"doyen/agent/keeper"
	"doyen/gossip"
	"doyen/seniority"
)

// leading returns an agent that is not running and says that it leads, and
// the deadline that it says so by.
func leading(t testing.TB, until time.Duration) (*Agent, *keeper.Deadline) {
	cfg, err := Config{}.validate()
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{cfg: cfg, self: seniority.Member{Name: "a"}, done: make(chan struct{}), requests: make(chan request), gossip: new(gossip.Gossip)}
	a.group = newElection(a, GroupElection, cfg, cfg.Logger)
	a.group.introduce(a.self)
	deadline := keeper.NewDeadline(clock.Boot)
	if !deadline.Extend(7, until) {
		t.Fatal("the deadline cannot be extended")
	}
	a.beat(until)
	a.group.snap.Store(&snapshot{
		deadline: deadline, status: seniority.Status{Leader: "a", Term: 7, Leading: true, Deadline: until, LeaseEnd: until},
		leader: Leader{Leader: "a", Addr: "a:4000", Term: 7, Self: true},
	})
	return a, deadline
}

func TestLeadershipIsCheckedWhenItIsSaid(t *testing.T) {
	a, deadline := leading(t, clock.Boot()+time.Hour)
	if _, ok := a.Leader(); !ok || !a.IsLeader() || !a.State().IsLeader || !a.Status().IsLeader {
		t.Error("it leads and does not say so")
	}
	deadline.Disarm() // the loop has not published anything since
	if l, ok := a.Leader(); ok || a.IsLeader() || a.State().IsLeader || a.State().Leader != nil || a.Status().IsLeader {
		t.Errorf("it says that it leads against the deadline: %+v", l)
	}
}

func TestNothingIsVouchedForByALoopThatIsLate(t *testing.T) {
	now := clock.Boot()
	a, _ := leading(t, now+time.Hour)
	s := *a.group.snap.Load()
	s.status.Leading = false
	s.leader = Leader{Leader: "b", Term: 7}
	a.group.snap.Store(&s)
	a.beat(now)
	if _, ok := a.Leader(); !ok {
		t.Error("it vouches for no leader although its loop turns")
	}
	a.beat(now - a.cfg.timing.Lease - time.Second)
	if l, ok := a.Leader(); ok {
		t.Errorf("it vouches for %+v although its loop has not turned for longer than a lease", l)
	}
	if a.Live(time.Second) == nil {
		t.Error("the loop is said to be live")
	}
	if err := a.Live(time.Hour); err != nil {
		t.Error(err)
	}
}

func TestLeaderAllocatesNothing(t *testing.T) {
	a, _ := leading(t, clock.Boot()+time.Hour)
	if n := testing.AllocsPerRun(100, func() { a.Leader() }); n != 0 {
		t.Errorf("allocations: want none, got %v", n)
	}
}

func TestJoined(t *testing.T) {
	a, deadline := leading(t, clock.Boot()+time.Hour)
	deadline.Disarm()
	for name, test := range map[string]struct {
		s      snapshot
		joined bool
	}{
		"seeds are silent":     {snapshot{}, false},
		"stepping down":        {snapshot{settled: true, status: seniority.Status{Phase: seniority.Yielding}}, false},
		"an election is due":   {snapshot{settled: true, status: seniority.Status{Phase: seniority.Waiting}}, false},
		"an election is on":    {snapshot{settled: true, status: seniority.Status{Electing: true}}, false},
		"following no leader":  {snapshot{settled: true}, true},
		"following a leader":   {snapshot{leader: Leader{Leader: "b"}}, true},
		"leading, but no more": {snapshot{deadline: deadline, status: seniority.Status{Leading: true}, leader: Leader{Leader: "a", Self: true}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a.group.snap.Store(&test.s)
			if err := a.Joined(); (err == nil) != test.joined {
				t.Errorf("want joined %v, got %v", test.joined, err)
			}
		})
	}
}

func BenchmarkLeader(b *testing.B) {
	a, _ := leading(b, clock.Boot()+time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		a.Leader()
	}
}
