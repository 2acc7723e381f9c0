//go:build linux

package keeper

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
)

func TestAcquireIsTriedAgain(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT != acquire ] || [ $(grep -c acquire $D/log) -gt 3 ]`)
	r := s.start(inProcess)
	r.lead(5)
	for n := 1; n <= 3; n++ {
		if rep := r.ended("acquire"); rep.AcquireFailures != n || rep.Term != 5 || rep.Exit != 1 || rep.Held {
			t.Errorf("want failure %d of term 5, got %+v", n, rep)
		}
	}
	if rep := r.ended("acquire"); !rep.Held || rep.AcquireFailures != 0 || rep.Exit != 0 {
		t.Errorf("want it held, got %+v", rep)
	}
}

func TestBackoff(t *testing.T) {
	c := Config{RetryAfter: time.Second}
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		if got := c.backoff(failures); got != want {
			t.Errorf("after %d failures: want %v, got %v", failures, want, got)
		}
	}
}

func TestCheckLoop(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().CheckInterval = 10 * ms
	r := s.start(inProcess)
	r.lead(1)
	for range 3 {
		r.ended("check")
	}
}

func TestCheckFailureBringsAcquire(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = check ] && exit 1; exit 0`)
	r := s.start(inProcess)
	o := r.lead(1)
	r.ended("change")
	o.CheckNow++
	r.Order(o)
	if rep := r.ended("check"); rep.Held {
		t.Errorf("want it doubtful, got %+v", rep)
	}
	if rep := r.ended("acquire"); !rep.Held {
		t.Errorf("want it held, got %+v", rep)
	}
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "check 1 elected", "acquire 1 elected")
}

func TestNewTermOfOneLeadershipIsChecked(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(inProcess)
	r.lead(1)
	r.ended("change")
	r.lead(2)
	if rep := r.ended("check"); rep.Term != 2 {
		t.Errorf("want a check of term 2, got %+v", rep)
	}
	r.stepDown(2, 0)
	r.until("the release", func(r Report) bool { return r.Released == 2 })
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "check 2 elected", "release 2 requested")
}

func TestSignOfAnotherLeaderDuringAcquire(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = acquire ] || exit 0
echo >$D/acquiring
while ! [ -e $D/go ]; do sleep 0.01; done`)
	r := s.start(inProcess)
	o := r.lead(1)
	s.awaitFile("acquiring")
	o.CheckNow++
	r.Order(o)
	s.touch("go")
	r.ended("acquire")
	r.ended("check")
}

func TestChangeTellsOfTheNewestLeader(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = change ] || exit 0
echo "$DOYEN_LEADER at $DOYEN_LEADER_ADDR after $DOYEN_PREVIOUS_LEADER" >>$D/log
while [ $DOYEN_LEADER = slow ] && ! [ -e $D/go ]; do sleep 0.01; done`)
	r := s.start(inProcess)
	r.Order(Order{Term: 1, Leader: "slow", LeaderAddr: "s:1", Reason: "elected"})
	s.await("change 1 elected", "slow at s:1 after ")
	for i := range uint64(5) {
		r.Order(Order{Term: 2 + i, Leader: fmt.Sprint("n", i), LeaderAddr: "n:1", Previous: "slow", Reason: "merged"})
	}
	s.touch("go")
	s.await("change 6 merged", "n4 at n:1 after slow")
	r.ended("change")
	r.ended("change")
	r.Order(Order{Term: 6, Leader: "n4", LeaderAddr: "n:1", Previous: "slow", Reason: "told again"})
	r.Order(Order{Term: 9, Reason: "leader-silent", Previous: "n4"})
	s.await("change 9 leader-silent", " at  after n4")
	s.whole("release 0 startup", "change 1 elected", "slow at s:1 after ", "change 6 merged", "n4 at n:1 after slow",
		"change 9 leader-silent", " at  after n4")
}

func TestChangeGivesWayToAcquireAndComesAgain(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = change1 ] || exit 0
echo >$D/hangs
sleep 1000`)
	r := s.start(inProcess)
	r.Order(Order{Term: 1, Leader: "other", Reason: "elected"})
	s.awaitFile("hangs")
	r.lead(2)
	if rep := r.ended("change"); rep.Exit != -1 || !rep.Overtaken || rep.Err != errOvertaken.Error() {
		t.Errorf("want it killed, got %+v", rep)
	}
	r.ended("change")
	s.whole("release 0 startup", "change 1 elected", "acquire 2 elected", "change 2 elected")
}

func TestAcquireOvertakenIsKilledAtOnce(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = acquire ] || exit 0
`+stubborn)
	r := s.start(inProcess)
	r.lead(1)
	s.awaitFile("hangs")
	r.stepDown(1, 0)
	if rep := r.ended("acquire"); rep.Exit != -1 || !rep.Overtaken || rep.Err != errOvertaken.Error() || rep.AcquireFailures != 0 {
		t.Errorf("want it killed, got %+v", rep)
	}
	r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
	s.whole("release 0 startup", "acquire 1 elected", "release 1 requested")
}

func TestHookIsKilledAtItsLimit(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = acquire ] || exit 0
`+stubborn)
	s.election().HookTimeout = 300 * ms
	r := s.start(inProcess)
	r.lead(1)
	if rep := r.ended("acquire"); rep.Exit != -1 || rep.Err != errLimit.Error() || rep.AcquireFailures != 1 {
		t.Errorf("want it killed at the limit, got %+v", rep)
	}
}

func TestReleaseIsTriedUntilItSucceeds(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT != release ] || [ $DOYEN_TERM = 0 ] || [ $(grep -c 'release 1' $D/log) -gt 3 ]`)
	r := s.start(inProcess)
	r.lead(1)
	r.ended("change")
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
	s.await("release 1 requested", "release 1 requested", "release 1 requested", "release 1 requested")
}

func TestReleaseEndsAtTheLimit(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT != release ] || [ $DOYEN_TERM = 0 ]`)
	s.election().HookTimeout = 500 * ms
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 && r.ReleaseFailed })
	r.lead(2) // and life goes on
	r.ended("acquire")
}

func TestReleaseIsKilledBeforeAnotherMayLead(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] || exit 0
echo $DOYEN_DEADLINE_MS >>$D/given
[ $(wc -l <$D/given) -gt 1 ] || sleep 1000`)
	s.cfg.Quorum, s.election().ReleaseBudget = true, time.Minute
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	by := clock.Boot() + 3*time.Second
	r.stepDown(1, by)
	rep := r.ended("release")
	if now := clock.Boot(); rep.Err != errLimit.Error() || now < by-killMargin {
		t.Errorf("want it killed %v before %v, got %+v at %v", killMargin, by, rep, now)
	}
	r.until("the failure", func(r Report) bool { return r.Released == 1 && r.ReleaseFailed })
	// It goes on, as no other gives up what this node holds.
	if rep := r.ended("release"); rep.Err != "" {
		t.Errorf("want it to succeed late, got %+v", rep)
	}
	var given, late int
	fmt.Sscan(awaitText(t, s.path("given")), &given, &late)
	if given <= 0 || given > 3000 || late <= 3000 {
		t.Errorf("want a limit of up to 3000 ms and then the hook's own, got %d and %d", given, late)
	}
}

func TestReleaseFollowsItsDeadline(t *testing.T) {
	// A planned hand-over goes on renewing, so that its release has more time.
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] || exit 0
echo >$D/releasing
while ! [ -e $D/go ]; do sleep 0.01; done`)
	s.cfg.Quorum = true
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	r.stepDown(1, clock.Boot()+4*time.Second)
	s.awaitFile("releasing")
	r.stepDown(1, clock.Boot()+time.Hour)
	time.AfterFunc(4500*ms, func() { s.touch("go") })
	if rep := r.ended("release"); rep.Err != "" {
		t.Errorf("want it to have the time it was given, got %+v", rep)
	}
}

func TestDeadlineEndsALeadershipOfItsOwnProcess(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.Quorum, s.election().ReleaseBudget = true, time.Minute
	r := s.start(inProcess)
	r.lead(1, 300*ms)
	r.until("the firing", func(r Report) bool { return r.Fired == 1 })
	if r.leads() || r.Deadline(Group).Extend(1, clock.Boot()+time.Hour) {
		t.Error("fired is not final")
	}
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	s.await("release 1 lease-lost", "will of 1")
	if r.Deadline(Group).Extend(1, clock.Boot()+time.Hour) {
		t.Error("the leadership went on after its release")
	}
	r.stepDown(1, 0)
	r.lead(2)
	r.ended("acquire")
	s.await("acquire 2 elected")
}

// The deadline says that a leadership is over before the order says why: the
// release waits for the order, but not for long.
func TestReleaseWaitsForItsReason(t *testing.T) {
	for _, comes := range []bool{true, false} {
		now := time.Hour
		clock := func() time.Duration { return now }
		deadline := NewDeadline(clock)
		cfg, err := newStage(t, "exit 0").cfg.checked()
		if err != nil {
			t.Fatal(err)
		}
		e, err := newExecutor(newNode(cfg, Tools{}, nil), &place{Election: cfg.Elections[0], deadline: deadline})
		if err != nil {
			t.Fatal(err)
		}
		e.now, e.started = clock, true
		deadline.Extend(1, now+time.Hour)
		e.order = Order{Lead: true, Gen: 1, Term: 1, Reason: "elected"}
		e.look()
		e.act()
		e.ended(<-e.done)
		deadline.Disarm()
		e.look()
		e.act()
		e.ended(<-e.done) // what acquire has left running is killed meanwhile
		e.act()
		if e.run != nil || e.due() != now+orderWait {
			t.Fatalf("want a wait of %v, got run %+v, due in %v", orderWait, e.run, e.due()-now)
		}
		want := "lease-lost"
		if comes {
			want, e.order = "requested", Order{Term: 1, ReleaseTerm: 1, Reason: "requested"}
		} else {
			now += orderWait
		}
		if got := e.releaseEnv().Reason; got != want {
			t.Errorf("want reason %s, got %s", want, got)
		}
		e.act()
		if e.run == nil {
			t.Errorf("order comes: %v: the release has not begun", comes)
		} else {
			<-e.done
		}
		e.node.alarms.close()
	}
}

func TestLeadershipsThatFollowEachOtherAreKeptApart(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = change ] || echo "end of $DOYEN_EVENT" >>$D/log`)
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	r.Deadline(Group).Disarm() // the order of this is overtaken
	r.lead(2)
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	r.ended("acquire")
	log := strings.Join(s.log(), ", ")
	if want := "release 1 elected, end of release, acquire 2 elected, end of acquire"; !strings.Contains(log, want) {
		t.Errorf("want %q in %s", want, log)
	}
}

func TestReleaseOfWhatTheKeeperNeverHeardOf(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(inProcess)
	r.stepDown(7, clock.Boot()+time.Hour)
	r.until("an answer", func(r Report) bool { return r.Released == 7 && !r.ReleaseFailed })
	s.whole("release 0 startup") // nothing was taken, so nothing is given up
}

func TestNoHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() time.Duration { return time.Since(began) + time.Second }
		var willed []string
		k, err := Local(Config{Node: "n", Now: now, Elections: []Election{{CheckInterval: -1}}}, Tools{
			Deliver: func(will []byte, _ []string) { willed = append(willed, string(will)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := <-k.Reports(); !r.StartupDone {
			t.Errorf("want the start to be over, got %+v", r)
		}
		if !k.Deadline(Group).Extend(1, now()+time.Second) {
			t.Fatal("cannot lead")
		}
		k.Order(Order{Lead: true, Term: 1, Will: []byte("will")})
		if r := <-k.Reports(); !r.Held || r.Event != "" {
			t.Errorf("want it held, got %+v", r)
		}
		if r := <-k.Reports(); r.Fired != 1 || now() != 2*time.Second {
			t.Errorf("want it fired at 2s, got %+v at %v", r, now())
		}
		if r := <-k.Reports(); r.Released != 1 || r.ReleaseFailed {
			t.Errorf("want it released, got %+v", r)
		}
		if err := k.Close(t.Context()); err != nil || len(willed) != 1 {
			t.Errorf("want one will, got %q and %v", willed, err)
		}
	})
}

// addresses writes down what is done to it.
type addresses struct {
	s      *stage
	mu     sync.Mutex
	broken error
}

func (a *addresses) do(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	appendLine(a.s.path("log"), fmt.Sprintf(format, args...))
	return a.broken
}

func (a *addresses) functions(Config, Election, func() bool, func(floatingip.Event)) (*Addresses, error) {
	return &Addresses{
		Begin:    func() error { return a.do("begin") },
		Take:     func(time.Duration) error { return a.do("take") },
		Renew:    func(time.Duration) error { return nil },
		Check:    func() error { return a.do("see to") },
		Announce: func() { a.do("announce") },
		Ended:    func() {},
		Cut:      func() error { a.do("cut"); return nil },
		Drop:     func() error { a.do("drop"); return nil },
		Change:   func(list []string) error { return a.do("become %v", list) },
		Close:    func() error { return nil },
	}, nil
}

// What is left behind is all given up, even if a part of it cannot be.
func TestReleaseNow(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s}
	give := func(dropped error) error {
		return ReleaseNow(t.Context(), s.cfg, Tools{Addresses: func(c Config, e Election, leads func() bool, report func(floatingip.Event)) (*Addresses, error) {
			if leads() {
				t.Error("want no leader")
			}
			f, err := a.functions(c, e, leads, report)
			f.Drop = func() error { a.do("drop"); return dropped }
			f.Close = func() error { return a.do("close") }
			return f, err
		}})
	}
	if err := give(nil); err != nil {
		t.Error(err)
	}
	broken := errors.New("no such interface")
	if err := give(broken); !errors.Is(err, broken) {
		t.Errorf("want %v, got %v", broken, err)
	}
	want := []string{"begin", "drop", "close", "release 0 stop", "begin", "drop", "close", "release 0 stop"}
	if got := s.log(); !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestAddresses(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s}
	begin := func(cfg Config) (*Keeper, error) {
		return Local(cfg, Tools{Deliver: deliver, Addresses: a.functions})
	}
	r := s.start(begin)
	o := r.lead(1)
	r.ended("acquire")
	o.CheckNow++ // not told of again
	r.Order(o)
	r.ended("check")
	o.CheckNow, o.Announce = o.CheckNow+1, o.Announce+1
	r.Order(o)
	r.ended("check")
	r.stepDown(1, 0) // planned: the hook may need the address until it has ended
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	r.lead(2)
	r.ended("acquire")
	r.stepDown(2, clock.Boot()+time.Hour) // time is short: the address goes first
	r.until("the release", func(r Report) bool { return r.Released == 2 })
	got := slices.DeleteFunc(s.log(), func(line string) bool { return strings.HasPrefix(line, "change") })
	want := []string{"begin", "release 0 startup", "drop",
		"take", "acquire 1 elected", "see to", "check 1 elected", "see to", "announce", "check 1 elected", "release 1 requested", "drop",
		"take", "acquire 2 elected", "cut", "drop", "release 2 requested", "drop"}
	if !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
	a.broken = errors.New("no such interface")
	r.lead(3)
	rep := r.until("the failure", func(r Report) bool { return r.AcquireFailures == 3 })
	if rep.Err != "no such interface" || rep.Event != "acquire" {
		t.Errorf("want the error of the address, got %+v", rep)
	}
}

// While the kernel keeps what is done to the addresses waiting, renewals go on, and a
// leadership ends at its deadline.
func TestNothingWaitsForTheAddresses(t *testing.T) {
	for _, what := range []string{"take", "check", "change"} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t, "exit 0")
			s.cfg.Quorum, s.election().ReleaseBudget = true, 50*ms
			s.election().Addresses = []string{"192.0.2.1/24@lo"}
			a := &addresses{s: s}
			begun, goOn, renewed, cut := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1000), make(chan struct{}, 10)
			waits := func(name string) {
				if name == what {
					close(begun)
					<-goOn
				}
			}
			r := s.start(func(cfg Config) (*Keeper, error) {
				return Local(cfg, Tools{Deliver: deliver, Addresses: func(c Config, e Election, leads func() bool, report func(floatingip.Event)) (*Addresses, error) {
					f, err := a.functions(c, e, leads, report)
					take, check, change := f.Take, f.Check, f.Change
					f.Take = func(until time.Duration) error { waits("take"); return take(until) }
					f.Check = func() error { waits("check"); return check() }
					f.Change = func(list []string) error { waits("change"); return change(list) }
					f.Renew = func(time.Duration) error { renewed <- struct{}{}; return nil }
					f.Cut = func() error { cut <- struct{}{}; return nil }
					return f, err
				}})
			})
			o := r.lead(1, 3*time.Second)
			switch what {
			case "check":
				r.ended("acquire")
				o.CheckNow++
				r.Order(o)
			case "change":
				r.ended("acquire")
				cfg := s.cfg
				cfg.Elections = slices.Clone(cfg.Elections)
				cfg.Elections[0].Addresses = []string{"192.0.2.1/24@lo", "192.0.2.2/24@lo"}
				if err := r.Configure(cfg); err != nil {
					t.Fatal(err)
				}
			}
			await := func(what string, c <-chan struct{}) {
				select {
				case <-c:
				case <-time.After(limit):
					t.Errorf("no %s", what)
				}
			}
			await("step", begun)
			for len(renewed) > 0 {
				<-renewed
			}
			r.Deadline(Group).Extend(1, clock.Boot()+3200*ms)
			await("renewal", renewed)
			await("cut-off after the deadline", cut)
			close(goOn)
			r.until("the end at the deadline", func(r Report) bool { return r.Fired == 1 })
			r.until("the release", func(r Report) bool { return r.Released == 1 })
			if slices.Contains(s.log(), "acquire 1 elected") != (what != "take") {
				t.Errorf("an acquire whose leadership is over is not to run: %q", s.log())
			}
		})
	}
}

// While the kernel keeps the guards of the addresses waiting, orders are taken in: a
// keeper that takes none in is killed.
func TestOrdersDoNotWaitForTheGuards(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s}
	begun, goOn := make(chan struct{}), make(chan struct{})
	cfg, err := s.cfg.checked()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(cfg, Tools{Addresses: func(c Config, e Election, leads func() bool, report func(floatingip.Event)) (*Addresses, error) {
		f, err := a.functions(c, e, leads, report)
		f.Begin = func() error { close(begun); <-goOn; return errors.New("no guards") }
		return f, err
	}}, nil)
	if err := n.add(&place{Election: cfg.Elections[0], deadline: NewDeadline(n.now)}); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(limit/3, func() { close(goOn) })
	<-begun
	n.take(Order{Election: Group, Seq: 7})
	for r, ok := n.out.take(); r.Seen != 7; r, ok = n.out.take() {
		if !ok {
			t.Fatal("the keeper has ended")
		}
	}
	if !late.Stop() {
		t.Fatal("the order was taken in only after the guards were made")
	}
	close(goOn)
	for r, _ := n.out.take(); r.Note != "no guards"; r, _ = n.out.take() {
	}
	gone := make(chan struct{})
	close(gone)
	n.run(gone)
}

// An address that is not taken because the lead has gone says nothing of the hook.
func TestAcquireAfterTheLeadHasGone(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s, broken: fmt.Errorf("taking the address: %w", floatingip.ErrNotLeading)}
	r := s.start(func(cfg Config) (*Keeper, error) {
		return Local(cfg, Tools{Deliver: deliver, Addresses: func(c Config, e Election, leads func() bool, report func(floatingip.Event)) (*Addresses, error) {
			f, err := a.functions(c, e, leads, report)
			f.Begin = func() error { return nil }
			return f, err
		}})
	})
	r.lead(1)
	if rep := r.ended("acquire"); !rep.Overtaken || rep.Err == "" {
		t.Errorf("want an acquire that was overtaken, got %+v", rep)
	}
}

func TestFullOutboxDropsOnlyWhatSaysNothingElse(t *testing.T) {
	o := newOutbox()
	o.add(Report{Fired: 1})
	for i := range 2 * maxReports {
		o.add(Report{Event: "check", Term: uint64(i)})
	}
	o.add(Report{Released: 1})
	o.close()
	var got []Report
	for r, ok := o.take(); ok; r, ok = o.take() {
		got = append(got, r)
	}
	if len(got) != maxReports || got[0].Fired != 1 || got[len(got)-1].Released != 1 || got[1].Term < maxReports {
		t.Errorf("want %d reports with both facts and the newest runs, got %d: %+v", maxReports, len(got), got)
	}
}

// daemons is the end of a hook whose acquire leaves three processes running: one in
// its group, one in a session of its own, and one that has cleared its environment
// and whose parent is dead.
const daemons = `[ $DOYEN_EVENT = acquire ] || exit 0
rm -f $D/left*
(echo 1 >>$D/left; exec sleep 1000) &
echo $! >>$D/left.pids
setsid sh -c 'echo $$ >>$D/left.pids; exec sleep 1000' &
env -i D=$D setsid sh -c '(sh -c "echo \$PPID" >>$D/left.pids; sleep 1000; :) & exit' &
while [ $(wc -l <$D/left.pids) -lt 3 ]; do sleep 0.01; done
echo $(cat $D/left.pids) >$D/daemons`

// left returns the processes that daemons has left running.
func (s *stage) left() []int {
	s.t.Helper()
	var pids []int
	for _, word := range strings.Fields(s.awaitFile("daemons")) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			s.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 {
		s.t.Fatalf("want three daemons, got %v", pids)
	}
	return pids
}

func (s *stage) wantLeft(pids []int, live bool, when string) {
	s.t.Helper()
	for _, pid := range pids {
		if alive(pid) != live {
			s.t.Errorf("%s: want process %d to live %v", when, pid, live)
		}
	}
}

// What acquire leaves running is part of the leadership: it outlives checks, and is
// dead when the next acquire or the release starts.
func TestWhatAcquireLeavesRunning(t *testing.T) {
	s := newStage(t, `if [ $DOYEN_EVENT != acquire ]; then
	for p in $(cat $D/daemons); do [ -d /proc/$p ] && n=$((n+1)); done
	echo $DOYEN_EVENT beside ${n:-0} >>$D/log
fi
[ $DOYEN_EVENT = check ] && [ -e $D/lost ] && rm $D/lost && exit 1
`+daemons)
	r := s.start(Start)
	o := r.lead(1)
	r.ended("acquire")
	first := s.left()
	o.CheckNow++
	r.Order(o)
	r.ended("check")
	s.wantLeft(first, true, "after a check")
	s.touch("lost")
	o.CheckNow++
	r.Order(o)
	r.ended("acquire")
	s.wantLeft(first, false, "after the second acquire")
	second := s.left()
	s.wantLeft(second, true, "after the second acquire")
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
	s.wantLeft(second, false, "after the release")
	log := strings.Join(counted(s.log(), nil), ", ")
	want := "acquire 1 elected, check 1 elected, check beside 3, check 1 elected, check beside 3, acquire 1 elected, release 1 requested, release beside 0"
	if !strings.HasSuffix(strings.ReplaceAll(log, "change beside 3, ", ""), want) {
		t.Errorf("want %q in %s", want, log)
	}
}

// What the other events leave running is killed at their end, and named.
func TestWhatOthersLeaveRunningIsNamed(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = check ] || exit 0
setsid sleep 1000 >/dev/null 2>&1 & echo $! >$D/pid; while [ $(cat /proc/$!/comm) != sleep ]; do :; done`)
	for name, begin := range map[string]func(Config) (*Keeper, error){"process": Start, "local": inProcess} {
		t.Run(name, func(t *testing.T) {
			r := s.start(begin)
			o := r.lead(1)
			r.ended("acquire")
			o.CheckNow++
			r.Order(o)
			rep := r.ended("check")
			pid := s.awaitFile("pid")
			if want := []string{"sleep (" + pid + ")"}; !slices.Equal(rep.Left, want) || rep.Err != "" {
				t.Errorf("want %v named, got %+v", want, rep)
			}
			r.close()
		})
	}
}

// leftByTheDead kills an agent that leads, and its keeper, and returns what acquire has
// left running.
func (s *stage) leftByTheDead() []int {
	s.t.Helper()
	a := s.startAgent(time.Hour)
	a.until("acquire", func(r Report) bool { return r.Held })
	left := s.left()
	a.killBoth()
	s.wantLeft(left, true, "without a keeper")
	return left
}

// Agent and keeper are killed: the next start finds what acquire has left running,
// however it hides.
func TestWhatAcquireLeftIsFoundAtTheNextStart(t *testing.T) {
	s := newStage(t, daemons)
	left := s.leftByTheDead()
	r := s.start(Start)
	s.wantLeft(left, false, "after the next start")
	r.close()
}

// Each election has a hook, a deadline and processes of its own.
func TestElectionsDoNotTouchEachOther(t *testing.T) {
	s := newStage(t, "exit 0")
	path := s.path("each")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nD=$D/$DOYEN_ELECTION; export D\necho $DOYEN_EVENT $DOYEN_TERM >>$D/log\n"+daemons+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	all := map[string]*stage{}
	for _, name := range []string{"web", "mail"} {
		all[name] = &stage{t: t, dir: s.path(name)}
		if err := os.Mkdir(all[name].dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s.cfg.Elections = append(s.cfg.Elections, Election{Name: name, Hook: path, HookTimeout: limit, CheckInterval: -1})
	}
	k, err := Start(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Keeper: k, s: s}
	defer r.close()
	started := map[string]bool{}
	r.until("all releases at start", func(r Report) bool {
		started[r.Election] = started[r.Election] || r.StartupDone
		return started["web"] && started["mail"] && started[Group]
	})
	for term, name := range []string{"mail", "web"} {
		if !k.Deadline(name).Extend(uint64(term+1), clock.Boot()+time.Hour) {
			t.Fatalf("cannot lead %s", name)
		}
		r.Order(Order{Election: name, Lead: true, Term: uint64(term + 1), Leader: s.cfg.Node})
		r.until("acquire of "+name, func(r Report) bool { return r.Election == name && r.Held })
	}
	if r.leads() {
		t.Error("the group's own election is led")
	}
	web, mail := all["web"].left(), all["mail"].left()
	k.Deadline("mail").Disarm()
	r.Order(Order{Election: "mail", Term: 1, ReleaseTerm: 1})
	rep := r.until("the release of mail", func(r Report) bool { return r.Released == 1 })
	if rep.Election != "mail" || rep.ReleaseFailed {
		t.Errorf("want a release of mail, got %+v", rep)
	}
	s.wantLeft(mail, false, "mail has been released")
	s.wantLeft(web, true, "mail has been released")
	if !k.Deadline("web").Leads(clock.Boot()) {
		t.Error("web is not led any more")
	}
}
