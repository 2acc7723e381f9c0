package agent

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/keeper"
	"doyen/seniority"
)

// lines is a log that is kept.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// A check that goes as it always does is no news.
func TestOnlyTheChangeOfACheckIsLogged(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		log := &lines{}
		m := g.add(func(c *Config, _ *fakeExecutor) {
			c.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		time.Sleep(time.Second)
		for _, exit := range []int{0, 0, 1, 1, 0, 0} {
			m.executor.reports <- keeper.Report{Event: "check", Exit: exit}
		}
		m.executor.reports <- keeper.Report{Event: "acquire"}
		time.Sleep(time.Second)
		log.mu.Lock()
		defer log.mu.Unlock()
		var got []string
		for line := range strings.Lines(log.text.String()) {
			if _, rest, ok := strings.Cut(line, `msg="hook `); ok {
				result, _, _ := strings.Cut(rest, `"`)
				_, event, _ := strings.Cut(line, " event=")
				event, _, _ = strings.Cut(event, " ")
				got = append(got, event+" "+result)
			}
		}
		if want := []string{"check failed", "check failed", "check done", "acquire done"}; !slices.Equal(want, got) {
			t.Errorf("want %q, got %q", want, got)
		}
	})
}

// The release of a hook that a reload took away may fail when no hook is configured.
func TestTheAdviceAboutAHookThatWasTakenAway(t *testing.T) {
	for hook, want := range map[string]string{"/h": "Run /h release by hand", "": "Run the former hook as release by hand"} {
		if got := hookFinding("m0", hook, &keeper.Report{Event: "release", Exit: 1}).Advice; !strings.HasPrefix(got, want) {
			t.Errorf("hook %q: want %q…, got %q", hook, want, got)
		}
	}
}

// Between the decision of the core and the sending of its messages this process
// may be stopped. What it decided is then no longer true and must not be sent.
func TestMessagesDecidedBeforeAPauseAreNotSent(t *testing.T) {
	for name, look := range map[string]string{"group": "(*election).late", "further elections": "(*loop).flush"} {
		t.Run(name, func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				var paused atomic.Bool
				a, b, c := g.three(func(c *Config, h *fakeExecutor) {
					withElections([]string{"web"})(c, h)
					c.seams.now = func() seniority.Now {
						n := g.now()
						if c.Name == "m0" && paused.Load() && calledFrom(look) && paused.CompareAndSwap(true, false) {
							n.Boot += 2 * time.Second // twice the lease
						}
						return n
					}
				})
				dropped := func() (n uint64) {
					for _, m := range []*member{a, b, c} {
						n += m.Counters().Dropped["asleep"]
					}
					return n
				}
				before := dropped()
				paused.Store(true)
				g.await(5*time.Second, "the messages of one step dropped", func() bool { return dropped() > before })
			})
		})
	}
}

// calledFrom reports whether a function whose name ends so is on the stack.
func calledFrom(name string) bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// The member is alone, so that there is no member to hand over to.
func TestKeeperThatDiesEndsTheLeadership(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		at := time.Duration(0)
		a := g.add(func(c *Config, _ *fakeExecutor) { c.Seeds, c.LoneWait = nil, &at })
		g.await(5*time.Second, "it leads", a.IsLeader)
		a.executor.reports <- keeper.Report{KeeperDied: true, Err: "signal: killed"}
		g.await(time.Second, "the leadership ends, since no keeper would clean up after it", func() bool { return !a.IsLeader() })
		if got := a.Counters().Losses["keeper-fired"]; got != 1 {
			t.Errorf("want one leadership lost for want of a keeper, got %v", a.Counters().Losses)
		}
		time.Sleep(10 * time.Second)
		if got := a.Counters().Wins; a.IsLeader() || got != 1 {
			t.Errorf("want no claim before the next keeper is ready, got %d wins", got)
		}
		a.executor.reports <- keeper.Report{StartupDone: true}
		g.await(5*time.Second, "it leads again", a.IsLeader)
	})
}

// What the keeper tells late of an older leadership ends no newer one.
func TestFailuresOfAnOlderTermEndNothing(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		term := a.Status().Term
		report := func(term uint64) {
			a.executor.reports <- keeper.Report{Term: term, Event: "acquire", Exit: 1, AcquireFailures: acquireLimit}
			a.executor.reports <- keeper.Report{Term: term, Command: &keeper.CommandReport{Exit: 1, Failures: commandLimit}}
		}
		report(term - 1)
		time.Sleep(5 * time.Second)
		if !a.IsLeader() || a.Status().Term != term {
			t.Fatalf("want m0 to go on leading term %d, got %+v", term, a.Status())
		}
		report(term)
		g.await(5*time.Second, "m1 leads", b.IsLeader)
	})
}

// A finding about something that has happened is over some time later.
func TestFindingOfWhatHasHappenedEnds(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a := g.add(nil)
		time.Sleep(5 * time.Second)
		a.executor.reports <- keeper.Report{KeeperDied: true, Err: "signal: killed"}
		a.executor.reports <- keeper.Report{StartupDone: true}
		time.Sleep(time.Second)
		if got := a.findingsOf("keeper-died"); len(got) != 1 || !strings.Contains(got[0].Advice, "must not be killed") {
			t.Errorf("want advice for a keeper that somebody has killed, got %+v", got)
		}
		a.executor.reports <- keeper.Report{KeeperDied: true, Err: keeper.Unresponsive}
		a.executor.reports <- keeper.Report{StartupDone: true}
		time.Sleep(time.Second)
		if got := a.findingsOf("keeper-died"); len(got) != 1 || !strings.Contains(got[0].Advice, "no CPU") {
			t.Errorf("want advice for a keeper that this process has killed, got %+v", got)
		}
		time.Sleep(findingsKept - 5*time.Second)
		if got := a.findingsOf("keeper-died"); len(got) != 1 {
			t.Fatalf("want a finding for %v, got %+v", findingsKept, a.State().Findings)
		}
		time.Sleep(10 * time.Second)
		if got := a.findingsOf("keeper-died"); len(got) != 0 {
			t.Errorf("want none after %v, got %+v", findingsKept, got)
		}
	})
}

// A member does not claim an election for which its keeper cannot act, and says so until
// the keeper can.
func TestElectionThatTheKeeperRefusesIsNotLed(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		at := time.Duration(0)
		a := g.add(func(c *Config, h *fakeExecutor) {
			c.Seeds, c.LoneWait = nil, &at
			withElections([]string{"web"})(c, h)
		})
		leads := func() bool { return a.leaders([]string{"web"})["web"] == "m0" }
		g.await(10*time.Second, "it leads web", leads)
		a.executor.reports <- keeper.Report{Election: "web", Refused: "no such interface"}
		g.await(time.Second, "the leadership ends", func() bool { return !leads() })
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			if leads() {
				t.Fatal("it leads web, for which the keeper does not act")
			}
		}
		if got := a.findingsOf(keeperRefused); len(got) != 1 || !a.IsLeader() {
			t.Errorf("want a finding about web alone, got %+v", a.State().Findings)
		}
		a.executor.reports <- keeper.Report{Election: "web", StartupDone: true}
		g.await(10*time.Second, "it leads web again", leads)
		if got := a.findingsOf(keeperRefused); len(got) != 0 {
			t.Errorf("want the finding ended, got %+v", got)
		}
	})
}

// What a dead keeper held and what its lasting findings told of ends with it, also where the
// next one finds nothing left of it and so tells nothing: the kernel may have taken the
// address off meanwhile.
func TestNothingOfADeadKeeperStands(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a := g.add(nil)
		time.Sleep(5 * time.Second)
		address := floatingip.State{Address: "192.0.2.10/24", Interface: "eth0", Held: true, Since: time.Now()}
		for _, ev := range []floatingip.Event{
			{What: floatingip.Taken, Addresses: []floatingip.State{address}},
			{What: floatingip.NotAnnounced, Evidence: "no buffer space", Addresses: []floatingip.State{address}},
		} {
			a.executor.reports <- keeper.Report{Address: &ev}
		}
		a.executor.reports <- keeper.Report{Command: &keeper.CommandReport{Argv0: "/bin/job", PID: 4711, Running: true}}
		time.Sleep(time.Second)
		if s := a.State(); len(s.Addresses) != 1 || !s.Addresses[0].Held || s.Command == nil || s.Command.PID == nil || len(a.findingsOf(floatingip.NotAnnounced)) != 1 {
			t.Fatalf("got %+v, %+v, %+v", s.Addresses, s.Command, s.Findings)
		}
		a.executor.reports <- keeper.Report{KeeperDied: true, Err: "signal: killed"}
		a.executor.reports <- keeper.Report{StartupDone: true}
		time.Sleep(time.Second)
		s := a.State()
		for _, address := range s.Addresses {
			if address.Held {
				t.Errorf("want nothing held, got %+v", address)
			}
		}
		if s.Command == nil || s.Command.PID != nil || s.Command.LastExit == nil {
			t.Errorf("want the command ended, got %+v", s.Command)
		}
		if got := a.findingsOf(floatingip.NotAnnounced); len(got) != 0 {
			t.Errorf("want the finding ended, got %+v", got)
		}
	})
}
