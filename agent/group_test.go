package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent/keeper"
	"doyen/gossip"
	"doyen/seniority"
)

func TestThreeElectTheFirstStarted(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		if !a.IsLeader() || b.IsLeader() || c.IsLeader() {
			t.Errorf("leads: want m0 alone, got %v, %v, %v", a.IsLeader(), b.IsLeader(), c.IsLeader())
		}
		time.Sleep(3 * time.Second) // for join numbers to go round
		for _, m := range g.members {
			var line []string
			for _, i := range m.Members() {
				line = append(line, i.Name)
			}
			if want := []string{"m0", "m1", "m2"}; !slices.Equal(want, line) {
				t.Errorf("line of succession at %s: want %v, got %v", m.Name(), want, line)
			}
			s := m.State()
			if s.Leader == nil || *s.Leader != "m0" || s.IsLeader != (m == a) || len(s.Members) != 3 || *s.KeeperPID != 42 || s.Term == 0 {
				t.Errorf("state of %s: %+v", m.Name(), s)
			}
			if err := m.Joined(); err != nil {
				t.Errorf("%s has joined, but says %v", m.Name(), err)
			}
			if err := m.Live(0); err != nil {
				t.Errorf("%s is live, but says %v", m.Name(), err)
			}
			if r := m.Ready(); !r.Ready || r.WouldLead == nil || *r.WouldLead != "m1" || r.WorstFailoverMS <= 0 {
				t.Errorf("readiness of %s: %+v", m.Name(), r)
			}
		}
		if s, ok := (<-a.Subscribe(t.Context())).Data.(State); !ok || !s.Elections[GroupElection].Self {
			t.Errorf("want the state with all elections as the first event, got %+v", s)
		}
		if got := a.executor.done(); !slices.Equal([]string{"acquire"}, got) {
			t.Errorf("hook of m0: want acquire, got %v", got)
		}
		// A term that a voter has gone past while the claim was on its way is raised
		// at once: that is one leadership still.
		h := a.History()
		if len(h) != 1 || h[0].Leader != "m0" || h[0].To != nil || h[0].HookMS != 7 {
			t.Errorf("history of m0: %+v", h)
		}
	})
}

func TestFailover(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		time.Sleep(5 * time.Second)
		g.crash(a)
		took := g.await(1500*time.Millisecond, "m1 leads", func() bool { return b.follows("m1") && c.follows("m1") })
		t.Logf("failover took %v", took)
		if l := c.History(); len(l) < 2 || l[0].Leader != "m1" || l[1].EndReason != "leader-silent" {
			t.Errorf("history of m2: %+v", l)
		}
		if l := b.History()[0]; l.DetectionMS <= 0 || l.ConfirmMS < 0 {
			t.Errorf("m1 does not tell how long detection and confirmation took: %+v", l)
		}
	})
}

func TestGracefulEndHandsOverFirst(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(func(_ *Config, h *fakeExecutor) { h.takes = 200 * time.Millisecond })
		time.Sleep(5 * time.Second)
		a.leave()
		g.await(time.Second, "m0 steps down", func() bool { return !a.IsLeader() })
		for len(a.ended) == 0 {
			if b.IsLeader() || c.IsLeader() {
				if got := a.executor.done(); !slices.Equal([]string{"acquire", "release"}, got) {
					t.Fatalf("another leads although the hook of m0 did only %v", got)
				}
			}
			time.Sleep(time.Millisecond)
		}
		if err := <-a.ended; err != nil {
			t.Errorf("Run of m0: %v", err)
		}
		took := g.await(100*time.Millisecond, "m1 leads", func() bool { return b.follows("m1") && c.follows("m1") })
		t.Logf("m1 leads %v after m0 has left", took)
		if b.History()[0].Reason != "succeeded" {
			t.Errorf("reason: want succeeded, got %s", b.History()[0].Reason)
		}
		g.await(5*time.Second, "m0 is forgotten", func() bool { return len(b.Members()) == 2 && len(c.Members()) == 2 })
	})
}

// While there is no leader, the reason is that of the end, also before the leader that
// hands over has said why.
func TestReasonWhileThereIsNoLeader(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(func(_ *Config, h *fakeExecutor) { h.takes = 300 * time.Millisecond })
		time.Sleep(5 * time.Second)
		go a.StepDown(t.Context())
		for m, want := range map[*member]string{b: "handing-over", a: "requested"} {
			g.await(250*time.Millisecond, m.Name()+" follows none", func() bool { return m.executor.wanted().Leader == "" })
			if o, s := m.executor.wanted(), m.State(); o.Reason != want || s.Reason != want || o.Previous != "m0" {
				t.Errorf("%s: want the reason %s, got %s and, of the state, %s after %s", m.Name(), want, o.Reason, s.Reason, o.Previous)
			}
		}
		g.await(time.Second, "m1 leads", b.IsLeader)
		if o := b.executor.wanted(); o.Reason != "succeeded" {
			t.Errorf("want succeeded, got %s", o.Reason)
		}
	})
}

func TestStepDown(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(func(_ *Config, h *fakeExecutor) { h.takes = 50 * time.Millisecond })
		time.Sleep(5 * time.Second)
		if _, err := b.StepDown(t.Context()); err == nil {
			t.Error("a follower stepped down")
		}
		began := time.Now()
		r, err := a.StepDown(t.Context())
		if err != nil || !r.OK || r.Leader != "m1" {
			t.Fatalf("step-down: %+v, %v", r, err)
		}
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("the answer came after %v, before release had ended", took)
		}
		g.await(time.Second, "m1 leads", func() bool { return a.follows("m1") })
	})
}

// A hand-over to a member by name goes to that one, though another comes first;
// and one that may not lead, or hangs, is refused with the reason.
func TestHandOverToANamedMember(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		time.Sleep(5 * time.Second)
		r, err := a.HandOver(t.Context(), "m2", 0)
		if err != nil || !r.OK || r.Leader != "m2" {
			t.Fatalf("to m2: %+v, %v", r, err)
		}
		g.await(time.Second, "m2 leads", func() bool { return a.follows("m2") && b.follows("m2") && c.IsLeader() })
		b.standAside(time.Hour)
		g.await(3*time.Second, "m2 knows that m1 stands aside", func() bool { return !c.inLine("m1").Eligible })
		for to, why := range map[string]string{
			"m1": "m1 may not lead: stood-aside",
			"m2": "m2 is this member",
			"m9": "no member is called m9",
			// By an address, too, with its port or without.
			"10.0.0.2":      "m1 may not lead: stood-aside",
			"10.0.0.2:4000": "m1 may not lead: stood-aside",
			"10.0.0.2:4001": "no member is called 10.0.0.2:4001",
		} {
			if _, err := c.HandOver(t.Context(), to, 0); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why) {
				t.Errorf("to %s: got %v, want %q", to, err, why)
			}
		}
		if _, err := a.HandOver(t.Context(), "m1", 0); !errors.Is(err, ErrRefused) {
			t.Errorf("a follower handed over: %v", err)
		}
		if !c.IsLeader() {
			t.Error("a refused hand-over has changed something")
		}
		a.resume()
		g.await(3*time.Second, "m2 knows that m0 may lead", func() bool { return c.inLine("m0").Eligible })
		if r, err := c.HandOver(t.Context(), "10.0.0.1", 0); err != nil || r.Leader != "m0" {
			t.Errorf("to the address of m0: %+v, %v", r, err)
		}
	})
}

// An address that several members share names none of them.
func TestHandOverToAnAddressOfSeveral(t *testing.T) {
	e := &election{member: &loop{}}
	for _, name := range []string{"host:4000", "host:4001", "other:4000"} {
		e.member.view.Members = append(e.member.view.Members, gossip.Peer{Member: seniority.Member{Name: name}, Advertise: name})
	}
	for given, want := range map[string]string{"host:4001": "host:4001", "other": "other:4000", "": "", "nowhere": "nowhere"} {
		if got, err := e.memberNamed(given); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", given, got, err, want)
		}
	}
	if got, err := e.memberNamed("host"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "any of host:4000, host:4001") {
		t.Errorf("host: got %q, %v, want it refused with both names", got, err)
	}
}

// An election asked for where no majority is there is not under way, and the answer
// says what the state does.
func TestElectWithoutAMajority(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m := g.add(func(c *Config, _ *fakeExecutor) {
			c.Name, c.Voters = "10.0.0.1:4000", []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}
		})
		time.Sleep(10 * time.Second)
		for range 5 {
			r, err := m.Elect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if says := r.Note == "an election is under way"; says != m.State().Electing {
				t.Errorf("it says %q, and its state says electing %v", r.Note, m.State().Electing)
			}
			time.Sleep(300 * time.Millisecond)
		}
	})
}

func TestAloneNobodyStepsDown(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		m := g.add(func(c *Config, _ *fakeExecutor) { c.LoneWait = new(time.Duration(0)) })
		g.await(10*time.Second, "m0 leads", m.IsLeader)
		if _, err := m.StepDown(t.Context()); err == nil {
			t.Error("it stepped down although there is no other")
		}
		if r, err := m.Elect(t.Context()); err != nil || r.Note == "" || r.Leader != "m0" {
			t.Errorf("an election under a healthy leader: %+v, %v", r, err)
		}
		if r := m.Ready(); r.Ready || len(r.Reasons) == 0 {
			t.Errorf("a member alone says a failover would work: %+v", r)
		}
		if r, err := m.Leave(t.Context()); err != nil || !r.OK {
			t.Errorf("leave: %+v, %v", r, err)
		}
		if err := <-m.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if got, want := m.executor.done(), []string{"acquire", "release"}; !slices.Equal(want, got) {
			t.Errorf("hook: want %v, got %v", want, got)
		}
		if m.IsLeader() {
			t.Error("it leads although it has left")
		}
		if _, err := m.StepDown(t.Context()); err == nil {
			t.Error("a stopped agent stepped down")
		}
	})
}

func TestFailingAcquireHandsOver(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		for n := range 3 {
			g.add(func(_ *Config, h *fakeExecutor) { h.fails = n == 0 })
			time.Sleep(time.Millisecond)
		}
		a, b := g.members[0], g.members[1]
		g.await(10*time.Second, "m1 leads", func() bool { return a.follows("m1") && b.follows("m1") })
		s := a.State()
		if len(s.Findings) == 0 || s.Findings[0].What != hookFailed || s.Eligible {
			t.Errorf("m0 does not tell of its hook: %+v", s.Findings)
		}
	})
}

func TestAnOvertakenHookIsNoFailure(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, _, _ := g.three(nil)
		g.await(10*time.Second, "m0 is ready", func() bool { return a.Ready().Ready })
		a.executor.reports <- keeper.Report{Event: "acquire", Term: 1, Exit: -1, Err: "killed", Overtaken: true}
		time.Sleep(time.Second)
		if s, r := a.State(), a.Ready(); !r.Ready || len(s.Findings) != 0 || s.Hook.Exit != -1 {
			t.Errorf("findings %+v, ready %+v, hook %+v", s.Findings, r, s.Hook)
		}
	})
}

func TestAWordThatCannotBeExtendedEndsTheLeadership(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, _ := g.three(nil)
		time.Sleep(5 * time.Second)
		a.executor.ahead.Store(int64(time.Hour)) // to the deadline, every deadline has passed
		time.Sleep(time.Second)
		a.executor.ahead.Store(0)
		if a.IsLeader() {
			t.Error("m0 says that it leads although its deadline could not be extended")
		}
		g.await(2*time.Second, "m1 leads", func() bool { return b.follows("m1") && a.follows("m1") })
	})
}

func TestSurveyNamesWhoDoesNotAnswer(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, _, c := g.three(nil)
		g.crash(c)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		answers := a.Survey(ctx)
		if len(answers) != 3 {
			t.Fatalf("want 3 answers, got %v", answers)
		}
		for name, answer := range answers {
			if fails := answer.Err != nil; fails != (name == "m2") {
				t.Errorf("%s: %s, %v", name, answer.State, answer.Err)
			}
		}
	})
}

func TestPartitionHeals(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(nil)
		time.Sleep(5 * time.Second)
		g.cutInTwo(1)
		g.await(time.Minute, "a leader on either side", func() bool {
			return a.follows("m0") && b.follows("m1") && c.follows("m1")
		})
		time.Sleep(5 * time.Minute) // longer than memberlist remembers
		checks := b.executor.wanted().CheckNow
		g.heal()
		took := g.await(10*time.Second, "m1, which most have elected, leads all", func() bool {
			return a.follows("m1") && b.follows("m1") && c.follows("m1")
		})
		t.Logf("merged %v after the heal", took)
		if got, want := a.executor.done(), []string{"acquire", "release"}; !slices.Equal(want, got) {
			t.Errorf("hook of m0: want %v, got %v", want, got)
		}
		if b.executor.wanted().CheckNow == checks {
			t.Error("m1 does not check its hook although another led as well")
		}
		if a.executor.wanted().Announce != 0 {
			t.Error("m0 announces its addresses")
		}
		if b.executor.wanted().Announce == 0 {
			t.Error("m1 does not announce its addresses although another led as well")
		}
	})
}

// A follower that was cut off alone and leads meets the leader: that one announces its
// addresses again, and the follower, which yields, must not take the clients over before.
func TestOneThatWasAloneAnnouncesNothingWhenItMeetsTheLeader(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, _, c := g.three(nil)
		time.Sleep(5 * time.Second)
		g.cutInTwo(2)
		g.await(time.Minute, "a leader on either side", func() bool { return a.follows("m0") && c.follows("m2") })
		time.Sleep(5 * time.Second)
		checks := c.executor.wanted().CheckNow
		g.heal()
		g.await(10*time.Second, "m0 leads all", func() bool { return a.follows("m0") && c.follows("m0") })
		if c.executor.wanted().CheckNow == checks {
			t.Error("m2 does not check its hook although another led as well")
		}
		if c.executor.wanted().Announce != 0 {
			t.Error("m2 announces its addresses")
		}
		if a.executor.wanted().Announce == 0 {
			t.Error("m0 does not announce its addresses although another led as well")
		}

		// It has led in vain, so that it waits for an answer the next time.
		time.Sleep(5 * time.Minute)
		g.cutInTwo(2)
		for range 25 {
			if time.Sleep(time.Second); c.IsLeader() {
				t.Fatal("m2, which has led in vain, leads again within 25 s without an answer")
			}
		}
		g.await(15*time.Second, "m2 leads after all", c.IsLeader)
	})
}

func TestBullyPreemptsByHandOver(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		for n := range 3 {
			g.add(func(c *Config, _ *fakeExecutor) { c.Rule, c.ID = "bully", uint64(n+1) })
			time.Sleep(2 * time.Second)
		}
		c := g.members[2]
		never := func() bool { // two at once
			n := 0
			for _, m := range g.members {
				if m.IsLeader() {
					n++
				}
			}
			if n > 1 {
				t.Fatalf("%d leaders at once", n)
			}
			return c.IsLeader()
		}
		g.await(10*time.Second, "the highest id leads", never)
		if got := g.members[1].executor.done(); len(got) > 0 && got[len(got)-1] != "release" {
			t.Errorf("m1 was preempted without a release: %v", got)
		}
	})
}

func TestAMemberIsMuteWhileItsDiskFails(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		dir := t.TempDir()
		inTheWay := filepath.Join(dir, termName+".new", "in the way")
		if err := os.MkdirAll(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		m := g.add(func(c *Config, _ *fakeExecutor) { c.StateDir, c.LoneWait = dir, new(time.Duration(0)) })
		for i := range 2000 { // other files can be written, as probes find meanwhile
			time.Sleep(10 * time.Millisecond)
			if m.IsLeader() {
				t.Fatal("it leads under a term that is not on disk")
			}
			if f := m.State().Findings; i > 500 && !slices.ContainsFunc(f, func(f Finding) bool { return f.What == stateUnwritable }) {
				t.Fatalf("it does not say why: %+v", f)
			}
		}
		if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
			t.Fatal(err)
		}
		g.await(20*time.Second, "it leads", m.IsLeader)
		if f := m.State().Findings; slices.ContainsFunc(f, func(f Finding) bool { return f.What == stateUnwritable }) {
			t.Errorf("the finding stays: %+v", f)
		}
	})
}

// TestTermsAndHistorySurviveARestart sets the clock back meanwhile, to 1970 too, as
// on a machine whose clock has no battery.
func TestTermsAndHistorySurviveARestart(t *testing.T) {
	for _, to1970 := range []bool{false, true} {
		inGroup(t, func(t *testing.T, g *group) {
			dir := t.TempDir()
			alone := func(c *Config, _ *fakeExecutor) { c.Name, c.StateDir, c.LoneWait = "m", dir, new(time.Duration(0)) }
			first := g.add(alone)
			g.await(20*time.Second, "it leads", first.IsLeader)
			term := first.State().Term
			if _, err := first.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-first.ended

			back := 24 * time.Hour
			if to1970 {
				back = time.Duration(time.Now().UnixNano())
			}
			g.back.Store(int64(back))
			second := g.add(alone)
			g.await(20*time.Second, "it leads again", second.IsLeader)
			if now := second.State().Term; now <= term {
				t.Errorf("the term fell from %d to %d", term, now)
			}
			if h := second.History(); len(h) != 2 || h[1].Term != term || h[1].EndReason != "departed" {
				t.Errorf("history: %+v", h)
			}
		})
	}
}

func TestQuorum(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(func(c *Config, _ *fakeExecutor) { c.Voters = []string{VotersSeeds} })
		time.Sleep(5 * time.Second)
		s := a.State()
		entries := []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}
		if s.Mode != "quorum" || !slices.Equal(s.Voters, []string{"m0", "m1", "m2"}) || !slices.Equal(s.VoterEntries, entries) || s.LeaseMS <= 0 {
			t.Errorf("state: %+v", s)
		}
		if r := b.Ready(); !r.Ready || r.ReleaseBudgetMS != 300 {
			t.Errorf("readiness: %+v", r)
		}
		g.cutInTwo(1)
		g.await(5*time.Second, "m1 leads, and never with m0", func() bool {
			if a.IsLeader() && (b.IsLeader() || c.IsLeader()) {
				t.Fatal("two leaders")
			}
			return b.follows("m1") && c.follows("m1")
		})
		if got, want := a.executor.done(), []string{"acquire", "release"}; !slices.Equal(want, got) {
			t.Errorf("hook of m0: want %v, got %v", want, got)
		}
		g.crash(c)
		g.await(time.Minute, "one voter of three does not lead", func() bool { return !b.IsLeader() })
		g.await(3*time.Second, "m1 says why before gossip does", func() bool {
			r := b.Ready()
			return !r.Ready && r.Reasons[0] == "there is no leader now: only 1 of 3 voters answer, and a majority must confirm"
		})
		g.await(2*time.Minute, "m1 says why", func() bool { return len(b.Ready().Reasons) > 0 && len(b.group.snap.Load().missing) == 2 })
		r := b.Ready()
		if want := "there is no leader now: only 1 of 3 voters are there, and a majority must confirm"; r.Ready || r.Reasons[0] != want {
			t.Errorf("want %q, got %+v", want, r)
		}
	})
}

// A group that would have no majority of voters left without its leader has no member
// that would lead next, and one without a vote never is.
func TestReadyCountsTheVotersThatWouldBeLeft(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(func(c *Config, _ *fakeExecutor) { c.Voters = []string{"m0", "m1", "m2"} })
		d := g.add(func(c *Config, _ *fakeExecutor) { c.Voters = []string{"m0", "m1", "m2"} })
		g.await(10*time.Second, "m0 is ready, and m3 is there", func() bool { return a.Ready().Ready && len(b.State().Members) == 4 })
		if m := b.inLine("m3"); m.Eligible || m.Unfit != "not-a-voter" || d.State().Eligible {
			t.Errorf("m3, which has no vote, may lead: %+v", m)
		}
		g.crash(c)
		const want = "no other member could be elected without m0: only 1 of 3 voters would be left, and a majority must confirm"
		for _, m := range []*member{a, b, d} {
			g.await(time.Minute, m.Name()+" says that none would lead", func() bool {
				r := m.Ready()
				return !r.Ready && r.WouldLead == nil && slices.Contains(r.Reasons, want)
			})
		}
		g.crash(b)
		g.await(time.Minute, "m0 says that none would lead without a leader", func() bool {
			r := a.Ready()
			return a.follows("") && r.WouldLead == nil && strings.HasPrefix(r.Reasons[0], "there is no leader now: only ")
		})
	})
}

// With two voters, ready says that neither can be lost, and what a third would be worth; all
// is as good as it can be, so a restart of one after the other need not wait for more.
func TestReadySaysThatAVoterIsWasted(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		a, b, c := g.three(func(c *Config, _ *fakeExecutor) { c.Voters = []string{"m0", "m1"} })
		const want = "note: with 2 voters a majority is 2, so there is a leader until 1 of them is out of reach; with 3 voters, until 2 are"
		for _, m := range []*member{a, b, c} {
			if r := m.Ready(); !slices.Contains(r.Reasons, want) || !r.Ready || r.WouldLead != nil {
				t.Errorf("%s: want %q, got %+v", m.Name(), want, r)
			}
		}
	})
}

func TestReadySaysThatTwoListsOfVotersAreAbout(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		list := []string{"m0", "m1", "m2"}
		a, _, _ := g.three(func(c *Config, _ *fakeExecutor) { c.Voters = list })
		g.await(10*time.Second, "m0 is ready", func() bool { return a.Ready().Ready })
		g.add(func(c *Config, _ *fakeExecutor) { c.Voters = append(slices.Clone(list), "m3") })
		want := "m3 was given other --voters than this member: finish that change before the next"
		g.await(10*time.Second, "m0 says so", func() bool {
			r := a.Ready()
			return !r.Ready && r.Reasons[0] == want
		})
	})
}
