package seniority

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// One test for each sentence about the list of voters, about voters that have
// just started, and about terms, that promises something.

func TestStartUpAbstention(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*Config)
		want   time.Duration
	}{
		{"its own lease", func(c *Config) { c.Timing = profiles["wan"] }, profiles["wan"].Lease},
		{"the lan lease, its own is shorter", func(c *Config) { c.Timing = profiles["fast"] }, profiles["lan"].Lease},
		{"the longest it has on disk", func(c *Config) { c.KeptLease = 7 * time.Second }, 7 * time.Second},
	} {
		want := tc.want + tc.want/Drift
		n := newNode(t, "a", abc, tc.change)
		n.meets(abc)
		if !n.out.Status.Abstaining {
			t.Errorf("%s: want it to say that it abstains", tc.what)
		}
		n.pass(want - 1)
		if n.sent = nil; n.out.Status.Phase != Waiting {
			t.Errorf("%s: it claims before %v, with its own vote", tc.what, want)
		}
		o := n.take(claimOf("c", 1, Leading))
		n.wants(tc.what, o, Object, JustStarted)
		if o.Held != 1 {
			t.Errorf("%s: want the claimant told to come back in 1ns, got %v", tc.what, o.Held)
		}
		n.skip(1)
		n.wants(tc.what+", when it is over", n.take(claimOf("c", 1, Leading)), Confirm, None)
	}
}

func TestLeaseLongerThanAbstentionIsRefused(t *testing.T) {
	n := aged(t, "b", abc)
	m := claimOf("a", 1, Leading)
	m.Lease = lease + 1
	n.wants("a longer lease", n.take(m), Object, LeaseTooLong)
	m.Lease = lease
	n.wants("one as long", n.take(m), Confirm, None)
}

func TestAbstainingVoterLearnsTheHighestTerm(t *testing.T) {
	n := newNode(t, "b", abc)
	const ahead = 3600_000 // of this node's clock, an hour
	n.wants("a leader's claim", n.take(claimOf("a", ahead, Leading)), Object, JustStarted)
	n.pass(20 * time.Second)
	for _, m := range n.claims("a") {
		if m.Term > term(ahead, "a") {
			return
		}
	}
	t.Error("want it to claim above the term that it was told of")
}

func TestListOfVotersIsChecked(t *testing.T) {
	long := strings.Split(strings.Repeat("x ", places), " ")[:places]
	for _, tc := range []struct {
		what string
		cfg  Config
		name string // what the error must name
	}{
		{"an entry twice", Config{Voters: []string{"a", "b", "a"}}, `entry 3 ("a")`},
		{"an empty entry", Config{Voters: []string{"a", ""}}, "entry 2"},
		{"an observer among them", Config{Voters: abc, Self: Member{Voter: "a", Role: Observer}}, `"a" is an observer`},
		{"an own entry that is not in it", Config{Voters: abc, Self: Member{Voter: "z"}}, `"z" is not in the list`},
		{"more than there are places", Config{Voters: long}, "1000 entries"},
	} {
		tc.cfg.Self.Name, tc.cfg.Self.Incarnation = "a", 1
		tc.cfg.Rule, tc.cfg.Timing = Seniority{}, profiles["lan"]
		if _, err := New(tc.cfg, Now{}); err == nil || !strings.Contains(err.Error(), tc.name) {
			t.Errorf("%s: want an error that names %q, got %v", tc.what, tc.name, err)
		}
	}
}

func TestRunningNodeNeverChangesItsElectorate(t *testing.T) {
	list := slices.Clone(abc)
	n := claiming(t, list)
	list[0], list[1], list[2] = "x", "y", "z"
	n.confirm("b", n.claims("b"))
	if !n.out.Status.Leading {
		t.Errorf("want the list as it was at the start to count, got %+v", n.out.Status)
	}
}

func TestMajorityOfTheListWhateverGossipSays(t *testing.T) {
	five := []string{"a", "b", "c", "d", "e"}
	n := claiming(t, five)
	round := slices.Clone(n.sent)
	n.give(Input{Kind: View, Members: nil, Settled: true}) // gossip shows nobody else
	n.confirm("b", round)
	if n.out.Status.Leading {
		t.Fatal("two of five have won")
	}
	stranger := confirmOf("c", round[0])
	stranger.Voter = ""
	n.give(Input{Kind: Receive, Message: stranger})
	if n.out.Status.Leading || !n.ignored(NotAVoter) {
		t.Fatal("a member that does not vote was counted")
	}
	n.confirm("b", round)
	if n.out.Status.Leading {
		t.Fatal("one voter was counted twice")
	}
	n.confirm("e", round)
	if !n.out.Status.Leading {
		t.Error("three of five have not won")
	}
	n = claiming(t, five[:4])
	n.confirm("b", n.claims("b"))
	if n.out.Status.Leading {
		t.Error("two of four have won")
	}
}

func TestDoubleMajority(t *testing.T) {
	four := []string{"a", "b", "c", "d"}
	n := claiming(t, abc)
	round := slices.Clone(n.sent)
	confirm := func(voter string, list []string) {
		m := confirmOf(voter, round[0])
		m.Voters = list
		n.give(Input{Kind: Receive, Message: m})
	}
	confirm("b", four)
	if n.out.Status.Leading {
		t.Error("two have won, which are no majority of the four in the list of one of them")
	}
	confirm("d", four)
	if !n.out.Status.Leading {
		t.Error("a, b and d are two of three and three of four, and have not won")
	}

	// The leader's lease is bound by both lists too.
	n = leading(t, abc)
	first := n.renewed()
	begun := n.now.Boot
	for _, v := range []string{"b", "c"} {
		m := confirmOf(v, first[0])
		m.Voters = four
		n.give(Input{Kind: Receive, Message: m})
	}
	second := n.renewed()
	m := confirmOf("b", second[0])
	m.Voters = four
	n.give(Input{Kind: Receive, Message: m})
	if got := n.out.Status.LeaseEnd - lease; got != begun {
		t.Errorf("want the lease to count from the round that three of four have confirmed; off by %v", got-begun)
	}
}

func TestListTwoEntriesAwayIsRefused(t *testing.T) {
	for _, list := range [][]string{{"a", "b", "c", "d", "e"}, {"a"}, {"a", "b", "d"}} {
		n := aged(t, "b", abc)
		m := claimOf("a", 1, Asking)
		m.Voters = list
		n.wants("a claim", n.take(m), Object, WrongElectorate)
		n.wants("a claim of its own list, soon after", n.take(claimOf("c", 2, Asking)), Object, WrongElectorate)
		n.skip(silentLeases * lease)
		n.wants("one when nothing was heard of the other list", n.take(claimOf("c", 2, Asking)), Confirm, None)

		// And it does not claim.
		n = newNode(t, "a", abc)
		n.meets(abc)
		n.skip(abstention - time.Millisecond)
		m = claimOf("b", 1, Asking)
		m.Voters = list
		n.take(m)
		n.sent = nil
		n.pass(silentLeases*lease - 1)
		if len(n.sent) > 0 {
			t.Errorf("%v: want no claim while a list is about that is too far away, got %v", list, n.sent)
		}
		n.pass(lease)
		if c := n.claims("c"); len(c) == 0 {
			t.Errorf("%v: want claims again when it is gone", list)
		}

		// Nor does it count a confirm of such a voter.
		n = claiming(t, abc)
		m = confirmOf("b", n.claims("b")[0])
		m.Voters = list
		n.give(Input{Kind: Receive, Message: m})
		if n.out.Status.Leading {
			t.Errorf("%v: a confirm of a voter whose list is too far away was counted", list)
		}
	}
	n := aged(t, "b", abc)
	m := claimOf("a", 1, Asking)
	m.Voters = []string{"a", "b", "c", "d"}
	n.wants("a list one entry away", n.take(m), Confirm, None)
}

func TestMemberOutsideTheListObserves(t *testing.T) {
	n := newNode(t, "x", abc, func(c *Config) { c.Self.Voter = "" })
	n.pass(10 * lease)
	n.wants("a claim", n.take(claimOf("a", 1, Asking)), Object, NotAVoter)
	if got := n.take(claimOf("a", 1, Leading)); got.Kind != 0 {
		t.Errorf("want it to say nothing to a leader, got %s", showMessage(&got))
	}
	if s := n.out.Status; s.Leader != "a" || s.Term != term(1, "a") {
		t.Errorf("want it to follow the leader that it has no part in, got %+v", s)
	}
	n.sent = nil
	n.pass(time.Minute)
	if len(n.sent) > 0 {
		t.Errorf("want it never to claim, got %v", n.sent)
	}
}

func TestWitnessVotesAndNeverLeads(t *testing.T) {
	n := newNode(t, "b", abc, func(c *Config) { c.Self.Role = Witness })
	n.meets(abc)
	n.pass(time.Minute)
	if len(n.sent) > 0 {
		t.Errorf("want it never to claim, got %v", n.sent)
	}
	n.wants("a claim", n.take(claimOf("a", 90_000, Asking)), Confirm, None)
}

func TestPlacesDoNotShift(t *testing.T) {
	longer := append(slices.Clone(abc), "d")
	for i, list := range [][]string{abc, longer} {
		for want, name := range list {
			n := newNode(t, name, list)
			n.pass(abstention)
			if got := n.c.claim.term % places; got != uint64(want)+1 {
				t.Errorf("list %d: want %s at place %d, got %d", i+1, name, want+1, got)
			}
		}
	}
}

// TestNoTwoVotersShareATerm: whatever their clocks show and whatever they know.
func TestNoTwoVotersShareATerm(t *testing.T) {
	owner := map[uint64]uint64{}
	for place := uint64(1); place <= 7; place++ {
		for _, wall := range []int64{-5, 0, base, base + 1} {
			for known := uint64(0); known < 3*places; known += 7 {
				term := nextTerm(known, wall, place)
				if term <= known {
					t.Fatalf("term %d is not above %d", term, known)
				}
				if p, ok := owner[term]; ok && p != place {
					t.Fatalf("places %d and %d share term %d", p, place, term)
				}
				owner[term] = place
			}
		}
	}
}

// restarts is the terms of the leaders of a group whose nodes are restarted
// all at once, again and again, with what change does to them in between.
func restarts(t *testing.T, disk bool, change func(round int, w *world)) []uint64 {
	t.Helper()
	w := quorumWorld(t, abc, abc, time.Millisecond)
	if disk {
		w = newWorld()
		for _, name := range abc {
			h := &host{disk: true, cfg: Config{Self: Member{Name: name, Voter: name}, Rule: Seniority{}, Timing: profiles["lan"], Voters: abc}}
			if err := w.start(h); err != nil {
				t.Fatal(err)
			}
		}
	}
	var terms []uint64
	for round := range 10 {
		for _, h := range w.hosts {
			for _, o := range w.hosts {
				w.meet(h, o)
			}
		}
		w.run(abstention + lease/2)
		if w.leader() == nil {
			t.Fatalf("round %d: nobody leads half a lease after the last one could vote", round)
		}
		terms = append(terms, w.leader().status.Term)
		w.run(time.Duration(round) * 700 * time.Millisecond)
		for _, h := range w.hosts {
			w.crash(h)
		}
		change(round, w)
		for _, h := range w.hosts {
			if err := w.start(h); err != nil {
				t.Fatal(err)
			}
		}
	}
	return terms
}

func TestTermsRiseAcrossRestartsWithClocksThatAgree(t *testing.T) {
	terms := restarts(t, false, func(int, *world) {})
	if !slices.IsSorted(terms) || len(slices.Compact(slices.Clone(terms))) != len(terms) {
		t.Errorf("want each term above the last, got %v", terms)
	}
}

func TestTermsRiseAcrossRestartsWithADisk(t *testing.T) {
	terms := restarts(t, true, func(round int, w *world) {
		for _, h := range w.hosts {
			h.wall = -int64(round+1) * 24 * 3600 * 1000 // days back
		}
	})
	if !slices.IsSorted(terms) || len(slices.Compact(slices.Clone(terms))) != len(terms) {
		t.Errorf("want each term above the last, got %v", terms)
	}
}

func TestTermIsStoredBeforeItIsPromisedOrLed(t *testing.T) {
	n := aged(t, "b", abc)
	m := claimOf("a", 1, Asking)
	m.Lease = 800 * time.Millisecond
	n.wants("a claim", n.take(m), Confirm, None)
	if n.out.Persist != m.Term {
		t.Errorf("want term %d stored before the confirm is sent, got %d", m.Term, n.out.Persist)
	}
	if n.out.MaxLease < m.Lease {
		t.Errorf("want the longest lease promised stored with it, got %v", n.out.MaxLease)
	}
	n.wants("its renewal", n.take(m), Confirm, None)
	if n.out.Persist != 0 {
		t.Errorf("want a term stored once, got %d again", n.out.Persist)
	}

	n = claiming(t, abc)
	n.confirm("b", n.claims("b"))
	if s := n.out.Status; !s.Leading || n.out.Persist != s.Term {
		t.Errorf("want a term stored before it is led, got %d for %+v", n.out.Persist, s)
	}
}

// TestTermIsStoredWithNobodyToTell: a leader that has nobody to send anything
// to shows its term all the same.
func TestTermIsStoredWithNobodyToTell(t *testing.T) {
	for _, voters := range [][]string{{"a"}, nil} {
		n := newNode(t, "a", voters, func(c *Config) {
			if voters == nil {
				c.Self.Voter = ""
			}
		})
		n.pass(time.Minute)
		if s := n.out.Status; !s.Leading || n.disk != s.Term {
			t.Errorf("voters %v: want term %d stored, got %d", voters, s.Term, n.disk)
		}
	}
}

func TestFutureTermRefused(t *testing.T) {
	const day = 24 * 3600 * 1000
	n := aged(t, "b", abc)
	o := n.take(claimOf("a", 3*day, Asking))
	n.wants("a term three days ahead", o, Object, FutureTerm)
	if o.Known != uint64(n.now.Wall)*places {
		t.Errorf("want the claimant told what this clock shows, got %s", showTerm(o.Known))
	}
	n.take(releaseOf("a", 3*day))
	n.wants("a claim after the release of such a term", n.take(claimOf("c", day/2, Asking)), Confirm, None)
	n.skip(Drifted(lease))
	n.wants("a term that has been won already", n.take(claimOf("a", 3*day, Leading)), Confirm, None)
}

func TestClaimantOfAFutureTermFallsBack(t *testing.T) {
	n := newNode(t, "a", abc)
	n.now.Wall += 3 * 24 * 3600 * 1000
	n.meets(abc)
	n.pass(abstention)
	claims := n.claims("b")
	o := objectTo(claims[0], "b", FutureTerm)
	o.Known = term(2000, "b")
	n.give(Input{Kind: Receive, Message: o})
	o.From, o.Voter = "c", "c"
	n.give(Input{Kind: Receive, Message: o})
	claims = n.claims("b")
	if len(claims) == 0 || claims[0].Term <= o.Known || claims[0].Term > o.Known+2*places {
		t.Fatalf("want a claim one above what the voters know, %s, got %v", showTerm(o.Known), claims)
	}
	n.confirm("b", claims)
	if !n.out.Status.Leading {
		t.Errorf("want it to lead under the lower term, got %+v", n.out.Status)
	}
}

func TestTermsBelow2To53(t *testing.T) {
	n := aged(t, "b", abc)
	m := claimOf("a", 1, Leading)
	m.Term = 1 << 53
	n.take(m)
	if !n.ignored(Malformed) {
		t.Errorf("want a term of 2^53 dropped, got %+v", n.out.Notes)
	}
}

// TestLeaderRaisesItsTerm: a voter whose floor has risen cannot renew; nothing
// is handed over for it.
func TestLeaderRaisesItsTerm(t *testing.T) {
	n := leading(t, abc)
	before := n.out.Status.Term
	round := n.renewed()
	o := objectTo(round[1], "c", StaleTerm)
	o.Known = term(5000, "b")
	n.sent = nil
	n.give(Input{Kind: Receive, Message: o})
	if s := n.out.Status; s.Term != before || !s.Leading {
		t.Errorf("want it to lead under the old term until a majority has the new one, got %+v", s)
	}
	n.confirm("b", round)
	if s := n.out.Status; s.Term != before || s.LeaseEnd != n.now.Boot+lease {
		t.Errorf("want confirms of the old term to carry the lease, got %+v", s)
	}
	raised := slices.Clone(n.sent)
	n.confirm("c", raised)
	s := n.out.Status
	if !s.Leading || s.Term <= o.Known || s.Releasing != 0 {
		t.Errorf("want it to lead under a term above %s, got %+v", showTerm(o.Known), s)
	}
}

func TestSteadyStateSendsTwoMessagesAVoter(t *testing.T) {
	for _, tc := range []struct{ voters, others int }{{3, 0}, {3, 5}, {5, 20}, {7, 0}, {7, 40}} {
		var voters, names []string
		for i := range tc.voters {
			voters = append(voters, string(rune('a'+i)))
		}
		names = append(names, voters...)
		for i := range tc.others {
			names = append(names, string(rune('A'+i%26))+string(rune('a'+i/26)))
		}
		w := quorumWorld(t, names, voters, time.Millisecond)
		w.run(5 * time.Second)
		direct, beacons, rounds := 0, 0, map[uint64]bool{}
		w.sent = func(m *Message) {
			switch {
			case m.To == "":
				beacons++
				return
			case m.Kind == Claim:
				rounds[m.Seq] = true
			case m.Kind == Confirm && !rounds[m.Seq]:
				return // of a renewal before this minute
			}
			direct++
		}
		w.run(time.Minute)
		if most := len(rounds) * 2 * (tc.voters - 1); direct > most || len(rounds) < 175 {
			t.Errorf("%d voters, %d others: %d messages in %d renewals, want at most %d", tc.voters, tc.others, direct, len(rounds), most)
		}
		if beacons > 61 {
			t.Errorf("%d voters, %d others: %d beacons in a minute, want one a lease", tc.voters, tc.others, beacons)
		}
	}
}
