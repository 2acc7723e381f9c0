package seniority

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// One test for each sentence of doc.go, sections Voters and Holders, and of the
// design of leases, that promises something. What the list of voters and terms
// promise is in voters_test.go.

func TestOneHolderAtATime(t *testing.T) {
	n := aged(t, "b", abc)
	n.wants("the first claim", n.take(claimOf("a", 1, Asking)), Confirm, None)
	for _, stand := range []Stand{Asking, Leading, Leaving} {
		n.wants("another's, "+stand.String(), n.take(claimOf("c", 2, stand)), Object, HeldByAnother)
	}
	if n.c.voter.holder != "a" {
		t.Errorf("want the promise to stay with a, it is with %q", n.c.voter.holder)
	}
}

func TestTermIsPromisedToOneHolder(t *testing.T) {
	n := aged(t, "b", abc)
	m := claimOf("a", 5, Asking)
	n.wants("the claim", n.take(m), Confirm, None)
	n.skip(Drifted(lease))
	m.From, m.Voter = "c", "c"
	n.wants("another's of the same term", n.take(m), Object, StaleTerm)
	m.From, m.Voter, m.Incarnation = "a", "a", m.Incarnation+1
	n.wants("another run's of the same term", n.take(m), Object, StaleTerm)
}

func TestPromiseCountsFromReceipt(t *testing.T) {
	n := aged(t, "b", abc)
	n.skip(123 * time.Millisecond) // since a sent it
	n.wants("the claim", n.take(claimOf("a", 1, Asking)), Confirm, None)
	n.skip(lease + lease/Drift - 1)
	o := n.take(claimOf("c", 2, Asking))
	n.wants("another's just before lease × (1 + 1/Drift)", o, Object, HeldByAnother)
	if o.Held != 1 {
		t.Errorf("want to be told that the vote is free in 1ns, got %v", o.Held)
	}
	n.skip(1)
	n.wants("another's then", n.take(claimOf("c", 2, Asking)), Confirm, None)
}

func TestLeaseCountsFromSending(t *testing.T) {
	n := leading(t, abc)
	round := n.renewed()
	sent := n.now.Boot
	n.skip(80 * time.Millisecond)
	n.confirm("b", round)
	if got := n.out.Status.LeaseEnd - sent; got != lease {
		t.Errorf("want the lease to end %v after sending, got %v", lease, got)
	}
	// Sent again to c a time-out later, but as the same round.
	n.pass(50 * time.Millisecond)
	again := n.claims("c")
	if len(again) != 1 {
		t.Fatalf("want the round sent again to c, got %v", again)
	}
	n.confirm("c", again)
	if got := n.out.Status.LeaseEnd - sent; got != lease {
		t.Errorf("want a round sent again to count from its first sending, got %v later", got-lease)
	}
}

func TestLeaseEndsAtTheMajoritysNewestSending(t *testing.T) {
	n := leading(t, []string{"a", "b", "c", "d", "e"})
	var sent [3]time.Duration
	var rounds [3][]Message
	for i := range sent {
		rounds[i] = n.renewed()
		sent[i] = n.now.Boot
		n.confirm("b", rounds[i])
		if i == 0 {
			n.confirm("c", rounds[i])
		}
	}
	if got := n.out.Status.LeaseEnd - lease; got != sent[0] {
		t.Errorf("want the lease to count from round 1, which three of five have confirmed; off by %v", got-sent[0])
	}
	n.confirm("d", rounds[1])
	if got := n.out.Status.LeaseEnd - lease; got != sent[1] {
		t.Errorf("want it to count from round 2 now; off by %v", got-sent[1])
	}
	n.confirm("e", rounds[2])
	if got := n.out.Status.LeaseEnd - lease; got != sent[2] {
		t.Errorf("want it to count from round 3 now; off by %v", got-sent[2])
	}
}

func TestHolderStopsBeforeItsVotersAreFree(t *testing.T) {
	for _, latency := range []time.Duration{0, 30 * time.Millisecond, 99 * time.Millisecond, 250 * time.Millisecond} {
		w := quorumWorld(t, abc, abc, latency)
		held := 0
		for range 1000 {
			w.run(7 * time.Millisecond)
			for _, h := range w.hosts {
				if !h.status.Leading {
					continue
				}
				held++
				later := 0
				for _, o := range w.hosts {
					v := &o.core.voter
					if v.holder == h.cfg.Self.Name && v.until-o.ahead >= h.status.LeaseEnd-h.ahead {
						later++
					}
				}
				if 2*later <= len(abc) {
					t.Fatalf("latency %v, %v: only %d voters are bound until the lease ends", latency, w.now, later)
				}
			}
		}
		if held == 0 && latency < 200*time.Millisecond {
			t.Errorf("latency %v: nobody led", latency)
		}
	}
}

func TestOwnVoteIsAPromise(t *testing.T) {
	n := newNode(t, "a", abc)
	n.pass(abstention)
	n.wants("another's claim while this node claims", n.take(claimOf("c", 9000, Asking)), Object, HeldByAnother)

	// It ends by its own release…
	n = leading(t, abc)
	n.pass(n.out.Status.Deadline - n.now.Boot)
	if n.out.Status.Leading || n.out.Status.Releasing == 0 {
		t.Fatalf("want the lease lost and a release under way, got %+v", n.out.Status)
	}
	n.wants("another's while release runs", n.take(claimOf("c", 9000, Leading)), Object, HeldByAnother)
	n.give(Input{Kind: Released, Term: n.out.Status.Releasing})
	n.wants("another's after it", n.take(claimOf("c", 9000, Leading)), Confirm, None)

	// …or by time.
	n = leading(t, abc)
	until := n.c.voter.until
	if n.c.voter.holder != "a" || until != n.now.Boot+Drifted(lease) {
		t.Fatalf("want its own vote promised for a drifted lease, got %q for %v", n.c.voter.holder, until-n.now.Boot)
	}
	n.pass(n.out.Status.Deadline - n.now.Boot)
	n.skip(n.c.voter.until - n.now.Boot - 1)
	n.wants("another's before it is over", n.take(claimOf("c", 9000, Leading)), Object, HeldByAnother)
	n.skip(1)
	n.wants("another's when it is over", n.take(claimOf("c", 9000, Leading)), Confirm, None)
}

func TestOnlyAConfirmRaisesTheFloor(t *testing.T) {
	n := aged(t, "b", abc)
	n.wants("the leader", n.take(claimOf("a", 1, Leading)), Confirm, None)
	before := n.c.voter
	refused := claimOf("c", 500, Asking)
	n.wants("another's claim", n.take(refused), Object, HeldByAnother)
	foreign := refused
	foreign.Voters = []string{"c", "x", "y"}
	n.wants("one of another list", n.take(foreign), Object, WrongElectorate)
	if n.c.voter != before {
		t.Errorf("a refused claim has changed the voter:\nwant %+v\ngot  %+v", before, n.c.voter)
	}
	n.skip(Drifted(silentLeases * lease))
	n.wants("a lower term than those refused", n.take(claimOf("a", 20, Leading)), Confirm, None)
	n.skip(Drifted(lease))
	n.wants("a term below what was confirmed", n.take(claimOf("c", 19, Leading)), Object, StaleTerm)
}

func TestRenewalIsAcceptedWhateverElseWasSeen(t *testing.T) {
	n := aged(t, "b", abc)
	renewal := claimOf("a", 1, Leading)
	n.wants("the leader", n.take(renewal), Confirm, None)
	n.wants("a higher claim", n.take(claimOf("c", 500, Asking)), Object, HeldByAnother)
	n.take(releaseOf("c", 500))
	n.take(releaseOf("c", 1))
	far := claimOf("c", 600, Asking)
	far.Voters = []string{"c", "x", "y"}
	n.take(far)
	for range 5 {
		n.skip(lease / 3)
		renewal.Seq++
		n.wants("the renewal", n.take(renewal), Confirm, None)
	}
}

// TestReturningVoterDoesNotUnseat is also what keeps the term: see voter.again.
func TestReturningVoterDoesNotUnseat(t *testing.T) {
	for _, tc := range []struct {
		what       string
		hear, talk bool
	}{{"cut off", false, false}, {"deaf", false, true}, {"dumb", true, false}} {
		for _, away := range []string{"b", "c"} {
			for _, d := range []time.Duration{time.Second, 3 * time.Second, time.Minute, time.Minute + 317*time.Millisecond} {
				w := quorumWorld(t, abc, abc, time.Millisecond)
				before := w.host("a").status
				for _, v := range abc {
					w.cut[link{v, away}], w.cut[link{away, v}] = !tc.hear, !tc.talk
				}
				w.run(d)
				clear(w.cut)
				w.run(10 * time.Second)
				for _, h := range w.hosts {
					if s := h.status; s.Leader != "a" || s.Term != before.Term || !w.host("a").status.Leading {
						t.Errorf("%s was %s for %v: want all to follow a, %s, but %s follows %q, %s",
							away, tc.what, d, showTerm(before.Term), h.cfg.Self.Name, s.Leader, showTerm(s.Term))
					}
				}
			}
		}
	}
}

func TestPreemptionIsMadeByTheLeader(t *testing.T) {
	n := aged(t, "b", abc, func(c *Config) { c.Rule, c.Preempt = Bully{}, true })
	n.wants("the leader", n.take(claimOf("a", 1, Leading)), Confirm, None)
	preferred := Member{Name: "c", Voter: "c", Incarnation: incarnation("c"), Eligible: true, ID: 9}
	n.give(Input{Kind: View, Members: []Member{preferred}})
	n.wants("a preferred member's claim", n.take(claimOf("c", 2, Asking)), Object, HeldByAnother)
	n.wants("the leader's renewal", n.take(claimOf("a", 1, Leading)), Confirm, None)

	n = leading(t, abc, func(c *Config) { c.Rule, c.Preempt = Bully{}, true })
	n.give(Input{Kind: View, Members: []Member{preferred}})
	n.confirm("c", n.renewed())
	if s := n.out.Status; s.Phase != Yielding || s.Successor != "c" || s.Reason != Preempted {
		t.Errorf("want the leader to hand over to c, got %+v", s)
	}
}

func TestSpentTermIgnoresLateConfirms(t *testing.T) {
	n := claiming(t, abc)
	claim := n.claims("b")[0]
	n.pass(maxAsks*profiles["lan"].Confirm + 1)
	if n.out.Status.Phase != Waiting {
		t.Fatalf("want the claim given up, got %+v", n.out.Status)
	}
	for _, v := range abc[1:] {
		n.give(Input{Kind: Receive, Message: confirmOf(v, claim)})
		if n.out.Status.Leading || !n.ignored(SpentTerm) {
			t.Errorf("want the confirm of %s ignored as of a spent term, got %+v", v, n.out.Notes)
		}
	}
}

func TestLostTermIgnoresLateConfirms(t *testing.T) {
	n := leading(t, abc)
	round := n.renewed()
	n.pass(n.out.Status.Deadline - n.now.Boot)
	if n.out.Status.Leading {
		t.Fatal("it leads beyond its deadline")
	}
	for _, v := range abc[1:] {
		n.confirm(v, round)
		if s := n.out.Status; s.Leading || s.Deadline != 0 || !n.ignored(SpentTerm) {
			t.Errorf("want the confirm of %s ignored as of a spent term, got %+v", v, s)
		}
	}
}

func TestSpentTermIsNeverClaimedAgain(t *testing.T) {
	n := claiming(t, abc)
	wall := n.now.Wall
	var terms []uint64
	for range 400 {
		n.now.Wall = wall // it stands still, or is set back each time
		n.pass(50 * time.Millisecond)
		for _, m := range n.claims("b") {
			if len(terms) == 0 || m.Term != terms[len(terms)-1] {
				terms = append(terms, m.Term)
			}
		}
	}
	if len(terms) < 5 || !slices.IsSorted(terms) {
		t.Errorf("want one higher term after the other, got %v", terms)
	}
}

func TestReleaseOfATermIsFinal(t *testing.T) {
	for _, heard := range []bool{true, false} {
		n := aged(t, "b", abc)
		if heard {
			n.wants("the claim", n.take(claimOf("a", 5, Leading)), Confirm, None)
		}
		n.take(releaseOf("a", 5))
		n.wants("a duplicate of the released claim", n.take(claimOf("a", 5, Leading)), Object, StaleTerm)
		n.wants("a lower one", n.take(claimOf("c", 4, Leading)), Object, StaleTerm)
		n.wants("a higher one", n.take(claimOf("c", 6, Leading)), Confirm, None)
	}
}

func TestConfirmEchoesAllFour(t *testing.T) {
	n := aged(t, "b", abc)
	m := claimOf("a", 7, Asking)
	m.Seq, m.Lease = 99, 700*time.Millisecond
	got := n.take(m)
	if got.Incarnation != m.Incarnation || got.Term != m.Term || got.Seq != m.Seq || got.Lease != m.Lease {
		t.Errorf("want incarnation, term, sequence number and lease of the claim, got %+v", got)
	}
	// And the holder counts none that is off in one of them.
	for _, tc := range []struct {
		what   string
		spoil  func(*Message)
		reason Reason
	}{
		{"incarnation", func(m *Message) { m.Incarnation++ }, OldIncarnation},
		{"term", func(m *Message) { m.Term++ }, SpentTerm},
		{"sequence number", func(m *Message) { m.Seq += 3 }, LateAnswer},
		{"lease", func(m *Message) { m.Lease++ }, LateAnswer},
	} {
		n := claiming(t, abc)
		m := confirmOf("b", n.claims("b")[0])
		tc.spoil(&m)
		n.give(Input{Kind: Receive, Message: m})
		if n.out.Status.Leading || !n.ignored(tc.reason) {
			t.Errorf("%s off: want %v, got %+v", tc.what, tc.reason, n.out.Notes)
		}
	}
}

func TestRenewsEveryThirdOfTheLease(t *testing.T) {
	for name, tm := range profiles {
		if d := tm.Lease - 3*tm.Renewal; d < 0 || d > tm.Lease/100 {
			t.Errorf("%s: want three renewals of %v in a lease of %v", name, tm.Renewal, tm.Lease)
		}
	}
	n := leading(t, abc)
	before := n.now.Boot
	for range 10 {
		round := n.renewed()
		if got := n.now.Boot - before; got != profiles["lan"].Renewal {
			t.Fatalf("want a round every %v, got one after %v", profiles["lan"].Renewal, got)
		}
		before = n.now.Boot
		n.confirm("b", round)
		n.confirm("c", round)
	}
}

func TestStopsBeforeTheReleaseBudget(t *testing.T) {
	n := leading(t, abc)
	end, budget := n.out.Status.LeaseEnd, profiles["lan"].ReleaseBudget
	if got := end - n.out.Status.Deadline; got != budget {
		t.Errorf("want the deadline %v before the lease ends, got %v", budget, got)
	}
	n.pass(end - budget - n.now.Boot - 1)
	if !n.out.Status.Leading {
		t.Error("it has stopped too soon")
	}
	n.pass(1)
	s := n.out.Status
	if s.Leading || s.Leader == "a" || s.Releasing == 0 || s.Reason != LeaseLost {
		t.Errorf("want the leadership over and its release to be run, got %+v", s)
	}
	if s.ReleaseBy != end {
		t.Errorf("want the release to end with the lease, got %v later", s.ReleaseBy-end)
	}
}

func TestTimesThatCannotHoldAreRefused(t *testing.T) {
	tm := profiles["lan"]
	sum := tm.Renewal + tm.Confirm + tm.ReleaseBudget + 50*time.Millisecond
	tm.Lease = sum
	if err := tm.Check(true, 50*time.Millisecond); err != nil {
		t.Errorf("want a lease that is just long enough to be taken, got %v", err)
	}
	tm.Lease--
	if err := tm.Check(true, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), sum.String()) {
		t.Errorf("want an error with the sum of %v, got %v", sum, err)
	}
}

func TestHandOverStopsLeadingAtOnce(t *testing.T) {
	n := leading(t, abc)
	n.sent = nil
	n.give(Input{Kind: StepDown, Reason: Requested})
	if s := n.out.Status; s.Leading || s.Leader != "" || s.Releasing == 0 || s.Successor != "b" {
		t.Errorf("want it to lead no more and to run its release, got %+v", s)
	}
	for _, m := range n.sent {
		if m.Kind != Claim || m.Stand != Leaving {
			t.Errorf("want the others kept out until the release has ended, got %s", showMessage(&m))
		}
	}
}

func TestRenewsWhileReleaseRuns(t *testing.T) {
	n := leading(t, abc)
	n.give(Input{Kind: StepDown, Reason: Requested})
	rounds := 0
	for end := n.now.Boot + 30*time.Second; n.now.Boot < end; rounds++ {
		round := n.renewed()
		n.confirm("b", round)
		if s := n.out.Status; s.Leading || s.Phase != Yielding || s.LeaseEnd != n.now.Boot+lease {
			t.Fatalf("want the lease prolonged and no leadership, got %+v", s)
		}
	}
	if rounds < 85 {
		t.Errorf("want a round every third of the lease, got %d in 30s", rounds)
	}
	// Without confirms the release ends with the lease, or is killed.
	end := n.out.Status.LeaseEnd
	n.pass(end - n.now.Boot - 1)
	if s := n.out.Status; s.Phase != Yielding || s.ReleaseBy != end {
		t.Errorf("want the release to have until the lease ends, got %+v", s)
	}
	n.pass(1)
	if s := n.out.Status; s.Phase == Yielding {
		t.Errorf("want the leadership over when the lease is, got %+v", s)
	}
}

func TestHandOverTakesARoundTripAndAHalf(t *testing.T) {
	w := quorumWorld(t, abc, abc, 10*time.Millisecond)
	w.hook = -1
	a, b := w.host("a"), w.host("b")
	w.step(a, Input{Kind: StepDown, Reason: Requested})
	w.run(5 * time.Second)
	if w.leader() != nil {
		t.Fatal("somebody leads before the release has ended")
	}
	w.step(a, Input{Kind: Released, Term: a.status.Releasing})
	if a.core.voter.holder == "a" {
		t.Error("want the old leader's vote free for its successor")
	}
	w.run(30*time.Millisecond - 1)
	if w.leader() != nil {
		t.Fatal("somebody leads too soon to have been told and to have asked")
	}
	w.run(1)
	if w.leader() != b {
		t.Errorf("want b to lead after three messages of 10ms, got %+v", b.status)
	}
}

func TestAsleepStepsDown(t *testing.T) {
	n := leading(t, abc)
	round := n.renewed()
	n.skip(5 * lease)
	n.confirm("b", round) // the first thing it finds is what would have carried it
	if s := n.out.Status; s.Leading || s.Releasing == 0 || s.Reason != Asleep {
		t.Errorf("want the leadership over, asleep, got %+v", s)
	}
	n.sent = nil
	n.pass(lease - 1)
	if c := n.claims("b"); len(c) > 0 {
		t.Errorf("want it to ask before it acts, got %d claims within a lease", len(c))
	}

	// A jump beyond the deadline, however short.
	n = leading(t, abc)
	n.skip(n.out.Status.Deadline - n.now.Boot)
	n.confirm("b", round)
	if s := n.out.Status; s.Leading {
		t.Errorf("want the leadership over, got %+v", s)
	}

	// A follower whose leader would have lapsed long ago.
	n = newNode(t, "a", abc)
	n.meets(abc)
	n.skip(abstention - 1)
	n.take(claimOf("b", 1, Asking))
	n.skip(1)
	n.wants("the leader", n.take(claimOf("b", 1, Leading)), Confirm, None)
	n.skip(5 * lease)
	n.give(Input{Kind: Tick})
	n.sent = nil
	n.pass(lease - 1)
	if c := n.claims("c"); len(c) > 0 || n.out.Status.Leader != "" {
		t.Errorf("want it to forget its leader and to claim nothing for a lease, got %+v", n.out.Status)
	}
	n.pass(1)
	if c := n.claims("c"); len(c) == 0 {
		t.Error("want it to claim then")
	}
}

func TestObjectionEndsTheLeaseOfAClockThatStood(t *testing.T) {
	n := leading(t, abc)
	old := n.renewed()
	n.confirm("b", old)
	o := objectTo(old[0], "b", HeldByAnother)
	o.Leader = "c"
	n.give(Input{Kind: Receive, Message: o})
	if !n.out.Status.Leading {
		t.Fatal("an objection to a round that the voter has confirmed has ended the lease")
	}
	o = objectTo(n.renewed()[0], "b", HeldByAnother)
	n.give(Input{Kind: Receive, Message: o})
	if s := n.out.Status; s.Leading || s.Reason != Asleep {
		t.Errorf("a voter whose promise still counts has promised another: want the lease over, got %+v", s)
	}
}

// ignored reports whether the last step has dropped a message for a reason.
func (n *node) ignored(r Reason) bool {
	return slices.ContainsFunc(n.out.Notes, func(o Note) bool { return o.Kind == Ignored && o.Reason == r })
}

// quorumWorld is a settled group of quorum mode.
func quorumWorld(t *testing.T, names, voters []string, latency time.Duration) *world {
	t.Helper()
	w := newWorld()
	w.latency = latency
	for _, name := range names {
		h := &host{cfg: Config{Self: Member{Name: name}, Rule: Seniority{}, Timing: profiles["lan"], Voters: voters}}
		if slices.Contains(voters, name) {
			h.cfg.Self.Voter = name
		}
		if err := w.start(h); err != nil {
			t.Fatal(err)
		}
		w.run(time.Millisecond)
	}
	for _, h := range w.hosts {
		for _, o := range w.hosts {
			w.meet(h, o)
		}
	}
	w.run(5 * time.Second)
	return w
}
