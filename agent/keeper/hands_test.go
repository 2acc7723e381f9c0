//go:build linux

package keeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/clock"
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
	s.cfg.CheckInterval = 10 * ms
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
	r.ended("change")
	r.stepDown(2, 0)
	r.until("the release", func(r Report) bool { return r.Released == 2 })
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "check 2 elected", "change 2 elected", "release 2 requested")
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
	s.cfg.HookTimeout = 300 * ms
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
	s.cfg.HookTimeout = 500 * ms
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
	s.cfg.Quorum, s.cfg.ReleaseBudget = true, time.Minute
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	by := clock.Boot() + 400*ms
	r.stepDown(1, by)
	rep := r.ended("release")
	if now := clock.Boot(); rep.Err != errLimit.Error() || now < by-killMargin {
		t.Errorf("want it killed %v before %v, got %+v at %v", killMargin, by, rep, now)
	}
	r.until("the failure", func(r Report) bool { return r.Released == 1 && r.ReleaseFailed })
	// It goes on, as nobody else gives up what this node holds.
	if rep := r.ended("release"); rep.Err != "" {
		t.Errorf("want it to succeed late, got %+v", rep)
	}
	var given, late int
	fmt.Sscan(awaitText(t, s.path("given")), &given, &late)
	if given <= 0 || given > 400 || late <= 400 {
		t.Errorf("want a limit of up to 400 ms and then the hook's own, got %d and %d", given, late)
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
	r.stepDown(1, clock.Boot()+300*ms)
	s.awaitFile("releasing")
	r.stepDown(1, clock.Boot()+time.Hour)
	time.AfterFunc(400*ms, func() { s.touch("go") })
	if rep := r.ended("release"); rep.Err != "" {
		t.Errorf("want it to have the time it was given, got %+v", rep)
	}
}

func TestDeadlineEndsALeadershipOfItsOwnProcess(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.Quorum, s.cfg.ReleaseBudget = true, time.Minute
	r := s.start(inProcess)
	r.lead(1, 300*ms)
	r.until("the firing", func(r Report) bool { return r.Fired == 1 })
	if r.leads() || r.Word().Extend(1, clock.Boot()+time.Hour) {
		t.Error("fired is not final")
	}
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	s.await("release 1 lease-lost", "will of 1")
	if r.Word().Extend(1, clock.Boot()+time.Hour) {
		t.Error("the leadership went on after its release")
	}
	r.stepDown(1, 0)
	r.lead(2)
	r.ended("acquire")
	s.await("acquire 2 elected")
}

// The word says that a leadership is over before the order says why: the
// release waits for the order, but not for long.
func TestReleaseWaitsForItsReason(t *testing.T) {
	for _, comes := range []bool{true, false} {
		now := time.Hour
		clock := func() time.Duration { return now }
		word := NewWord(clock)
		h, err := newHands(newStage(t, "exit 0").cfg, Tools{}, word, false)
		if err != nil {
			t.Fatal(err)
		}
		h.now, h.started = clock, true
		word.Extend(1, now+time.Hour)
		h.order = Order{Lead: true, Gen: 1, Term: 1, Reason: "elected"}
		h.look()
		h.act()
		h.ended(<-h.done)
		word.Disarm()
		h.look()
		h.act()
		if h.run != nil || h.due() != now+orderWait {
			t.Fatalf("want a wait of %v, got run %+v, due in %v", orderWait, h.run, h.due()-now)
		}
		want := "lease-lost"
		if comes {
			want, h.order = "requested", Order{Term: 1, ReleaseTerm: 1, Reason: "requested"}
		} else {
			now += orderWait
		}
		if got := h.releaseEnv().Reason; got != want {
			t.Errorf("want reason %s, got %s", want, got)
		}
		h.act()
		if h.run == nil {
			t.Errorf("order comes: %v: the release has not begun", comes)
		} else {
			<-h.done
		}
		h.alarm.Close()
	}
}

func TestLeadershipsThatFollowEachOtherAreKeptApart(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = change ] || echo "end of $DOYEN_EVENT" >>$D/log`)
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	r.Word().Disarm() // the order of this is overtaken
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
		k, err := Local(Config{Node: "n", Now: now, CheckInterval: -1}, Tools{
			Deliver: func(will []byte, _ []string) { willed = append(willed, string(will)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := <-k.Reports(); !r.StartupDone {
			t.Errorf("want the start to be over, got %+v", r)
		}
		if !k.Word().Extend(1, now()+time.Second) {
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

func (a *addresses) functions(Config, func() bool) (*Addresses, error) {
	return &Addresses{
		Take:     func(time.Duration) error { return a.do("take") },
		Renew:    func(time.Duration) error { return nil },
		Check:    func() error { return a.do("see to") },
		Announce: func() { a.do("announce") },
		Drop:     func() error { a.do("drop"); return nil },
		Close:    func() error { return nil },
	}, nil
}

// What is left behind is all given up, even if a part of it cannot be.
func TestReleaseNow(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s}
	give := func(dropped error) error {
		return ReleaseNow(t.Context(), s.cfg, Tools{Addresses: func(c Config, leads func() bool) (*Addresses, error) {
			if leads() {
				t.Error("want nobody to lead")
			}
			f, err := a.functions(c, leads)
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
	want := []string{"drop", "close", "release 0 stop", "drop", "close", "release 0 stop"}
	if got := s.log(); !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestAddresses(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.Addresses = []string{"192.0.2.1/24@lo"}
	a := &addresses{s: s}
	begin := func(cfg Config) (*Keeper, error) {
		return Local(cfg, Tools{Deliver: deliver, Addresses: a.functions})
	}
	r := s.start(begin)
	o := r.lead(1)
	r.ended("acquire")
	o.CheckNow++
	r.Order(o)
	r.ended("check")
	r.stepDown(1, 0) // planned: the hook may need the address until it has ended
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	r.lead(2)
	r.ended("acquire")
	r.stepDown(2, clock.Boot()+time.Hour) // time is short: the address goes first
	r.until("the release", func(r Report) bool { return r.Released == 2 })
	got := slices.DeleteFunc(s.log(), func(line string) bool { return strings.HasPrefix(line, "change") })
	want := []string{"release 0 startup", "drop",
		"take", "acquire 1 elected", "see to", "announce", "check 1 elected", "release 1 requested", "drop",
		"take", "acquire 2 elected", "drop", "release 2 requested", "drop"}
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
