package agent

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// cronMinutes is how long a crontab is looked at, in virtual time.
const cronMinutes = 60

// cronRun is one run of a job.
type cronRun struct {
	at         string
	minute     int
	began, end time.Time
	killed     bool
}

// crontab runs a job of five seconds at a member each minute, if it leads, as agent exec
// does: it holds the leadership, asks for the lease, and ends the job when it is over.
func crontab(ctx context.Context, m *member, minute int, done func(cronRun)) {
	l := m.Lease()
	if !l.IsLeader {
		return
	}
	m.Hold(ctx, func(lead context.Context) error {
		term, _ := Term(lead)
		left, every, ok := m.Lease().RunFor(term)
		if !ok {
			return nil
		}
		run := cronRun{at: m.Name(), minute: minute, began: time.Now()}
		defer func() { run.end = time.Now(); done(run) }()
		deadline := run.began.Add(left)
		for end := run.began.Add(5 * time.Second); time.Now().Before(end); {
			select {
			case <-lead.Done():
				run.killed = true
				return nil
			case <-time.After(every):
			}
			if left, _, ok := m.Lease().RunFor(term); ok {
				deadline = time.Now().Add(left)
			} else if run.killed = !time.Now().Before(deadline); run.killed {
				return nil
			}
		}
		return nil
	})
}

// A line of a crontab on five hosts that runs each minute runs once a minute, with a
// failover every ten minutes: hand-overs and leaders that are cut off.
func TestCronRunsOnceAMinute(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		const hosts = 5
		var voters []string
		for i := range hosts {
			voters = append(voters, fmt.Sprintf("10.0.0.%d:4000", i+1))
		}
		for range hosts {
			g.add(func(c *Config, _ *fakeExecutor) {
				c.Voters, c.Profile = voters, "wan"
				c.seams.leases = &leaseRecord{kept: 6 * time.Second}
			})
		}
		leader := func() *member {
			for _, m := range g.members {
				if m.Lease().IsLeader {
					return m
				}
			}
			return nil
		}
		g.await(time.Minute, "a leader", func() bool { return leader() != nil })
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var runs []cronRun
		led := map[string]bool{}
		for minute := range cronMinutes {
			tick := time.Now()
			for _, m := range g.members {
				go crontab(ctx, m, minute, func(r cronRun) {
					mu.Lock()
					defer mu.Unlock()
					runs = append(runs, r)
				})
			}
			time.Sleep(20 * time.Second)
			m := leader()
			if m == nil {
				t.Fatalf("minute %d: no member leads", minute)
			}
			led[m.Name()] = true
			if minute%10 == 9 {
				g.failOver(m, minute%20 == 9)
			}
			time.Sleep(time.Until(tick.Add(time.Minute)))
		}
		mu.Lock()
		defer mu.Unlock()
		g.checkCron(runs)
		if len(led) < 3 {
			t.Errorf("want a leader that changes, only %v have led", led)
		}
	})
}

// failOver has the leader hand over, or cuts it off for some seconds.
func (g *group) failOver(leader *member, planned bool) {
	g.t.Helper()
	if planned {
		if _, err := leader.StepDown(g.t.Context()); err != nil {
			g.t.Fatal(err)
		}
		return
	}
	cut := func(yes bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.side = map[netip.AddrPort]bool{leader.host.Addr(): yes}
	}
	cut(true)
	time.Sleep(15 * time.Second)
	cut(false)
}

// checkCron checks that each minute had one run, which was not killed, and that no
// two ran at once.
func (g *group) checkCron(runs []cronRun) {
	g.t.Helper()
	var each [cronMinutes]int
	for i, r := range runs {
		each[r.minute]++
		if r.killed {
			g.t.Errorf("minute %d: the job at %s was killed", r.minute, r.at)
		}
		for _, other := range runs[i+1:] {
			if r.began.Before(other.end) && other.began.Before(r.end) {
				g.t.Errorf("the jobs of minutes %d at %s and %d at %s run at once", r.minute, r.at, other.minute, other.at)
			}
		}
	}
	for minute, n := range each {
		if n != 1 {
			g.t.Errorf("minute %d: want one run, got %d", minute, n)
		}
	}
}
