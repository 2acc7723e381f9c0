package seniority

import (
	"slices"
	"testing"
	"time"
)

// One test for each sentence about promises and leases that promises something.
// The list of voters is in voters_test.go, renewing and handing over in
// holders_test.go, terms are in fencing_test.go.

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
			t.Errorf("latency %v: no member led", latency)
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
	if s := n.out.Status; s.Phase != Holding {
		t.Errorf("want the leader to ask first how far c reaches, got %+v", s)
	}
	n.take(n.echo("c", 2))
	if s := n.out.Status; s.Phase != Yielding || s.Successor != "c" || s.Reason != Preempted {
		t.Errorf("want the leader to hand over to c, got %+v", s)
	}
}

// A preferred member that says that it reaches no majority is not let in, one
// that does not say, as members of older versions do, after some leases.
func TestOnlyWhoReachesAMajorityIsLetIn(t *testing.T) {
	preferred := Member{Name: "c", Voter: "c", Incarnation: incarnation("c"), Eligible: true, ID: 9}
	for _, tc := range []struct {
		hears  uint64
		leases time.Duration
		want   Phase
	}{{0, 4, Holding}, {0, 7, Yielding}, {1, 20, Holding}, {2, 1, Yielding}} {
		n := leading(t, abc, func(c *Config) { c.Rule, c.Preempt = Bully{}, true })
		n.give(Input{Kind: View, Members: []Member{preferred}})
		for end := n.now.Boot + tc.leases*lease; n.now.Boot < end; {
			round := n.renewed()
			if n.out.Status.Phase != Holding {
				break
			}
			n.confirm("b", round)
			n.confirm("c", round)
			n.take(n.echo("c", tc.hears))
		}
		if got := n.out.Status.Phase; got != tc.want {
			t.Errorf("a preferred member that reaches %d voters: want phase %d after %d leases, got %d", tc.hears, tc.want, tc.leases, got)
		}
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

// Two that claim at the same instant: exactly one gives way, no matter what gossip
// still shows of their places.
func TestOfTwoClaimantsOneGivesWay(t *testing.T) {
	older, newer := Join{Group: 1, Number: 1}, Join{Group: 1, Number: 3}
	for _, tc := range []struct {
		name         string
		shown, known Join // of c: by gossip, and by itself
		kind         Kind
		reason       Reason
	}{
		{"c has lost its place", older, Join{}, Object, HeldByAnother},
		{"c has another place", older, newer, Object, HeldByAnother},
		{"c has got a place", Join{}, older, Confirm, None},
	} {
		n := newNode(t, "b", abc)
		n.skip(abstention)
		n.give(Input{Kind: View, Settled: true, Members: []Member{
			{Name: "a", Voter: "a", Incarnation: incarnation("a"), Role: Witness},
			{Name: "c", Voter: "c", Incarnation: incarnation("c"), Eligible: true, Join: tc.shown},
		}})
		leading := claimOf("a", 1, Leading)
		leading.Given = Join{Group: 1, Number: 2}
		n.take(leading)
		for n.out.Status.Phase != Claiming && n.out.Wake != 0 {
			n.pass(n.out.Wake - n.now.Boot)
		}
		claim := claimOf("c", 5000, Asking)
		claim.Join = tc.known
		n.take(claim)
		n.wants(tc.name, n.sent[len(n.sent)-1], tc.kind, tc.reason)
	}
}

// A voter that has just started follows the leader whose renewals come, as long as they do,
// and promises nothing: gossip need not have told it.
func TestJustStartedVoterFollows(t *testing.T) {
	n := newNode(t, "b", abc, func(c *Config) { c.KeptLease = 6 * lease })
	n.meets(abc)
	follows := func(want string) {
		t.Helper()
		if got := n.out.Status.Leader; got != want {
			t.Errorf("want it to follow %q, got %q", want, got)
		}
	}
	renewal := claimOf("a", 1, Leading)
	for range 4 {
		renewal.Seq++
		n.wants("a renewal", n.take(renewal), Object, JustStarted)
		n.wants("the same again", n.take(renewal), Object, JustStarted)
		follows("a")
		n.pass(lease / 2)
	}
	if said, ok := n.c.Greeting(); !ok || said.To != "" || !said.Gossiped {
		t.Errorf("want a greeting for any member, got %v", showMessage(&said))
	}
	n.pass(lease)
	follows("")
	n.wants("a claim", n.take(claimOf("c", 2, Asking)), Object, JustStarted)
}

// A clock beyond all terms proposes none. A voter that knows of no other says why
// it does not claim; one that does claims above it.
func TestClockBeyondTheLastTerm(t *testing.T) {
	n := newNode(t, "a", abc)
	n.now.Wall = 10_000_000_000_000
	n.meets(abc)
	n.pass(20 * time.Second)
	if n.claims("b") != nil || n.out.Status.Terms != ClockBeyond {
		t.Errorf("knowing of no term, want no claim and %v, got %+v", ClockBeyond, n.out.Status)
	}
	n.give(Input{Kind: Elect})
	if n.out.Refused != ClockBeyond {
		t.Errorf("asked for an election: want %v, got %v", ClockBeyond, n.out.Refused)
	}
	n.take(claimOf("c", 1, Leading))
	n.pass(20 * time.Second)
	claims := n.claims("b")
	if len(claims) == 0 || claims[0].Term <= term(1, "c") || claims[0].Term > term(3, "c") {
		t.Errorf("want claims just above %s, got %v", showTerm(term(1, "c")), claims)
	}
	n.now.Wall = base
	n.give(Input{Kind: Tick})
	if n.out.Status.Terms != None {
		t.Errorf("want nothing said of a clock that is right, got %v", n.out.Status.Terms)
	}
}
