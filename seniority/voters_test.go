package seniority

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// One test for each sentence about the list of voters, and about voters that
// have just started, that promises something.

func TestStartUpAbstention(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*Config)
		want   time.Duration
	}{
		{"its own lease", func(c *Config) { c.Timing = profiles["wan"] }, profiles["wan"].Lease},
		{"what its last run promised, longer", func(c *Config) { c.KeptLease = 7 * time.Second }, 7 * time.Second},
		{"what its last run promised, shorter", func(c *Config) { c.Timing, c.KeptLease = profiles["fast"], profiles["fast"].Lease }, profiles["fast"].Lease},
		{"nothing is known", func(c *Config) { c.KeptLease = 0 }, profiles["wan"].Lease},
		{"nothing is known, and its own lease is short", func(c *Config) { c.Timing, c.KeptLease = profiles["fast"], 0 }, profiles["wan"].Lease},
		{"nothing is known, and its own lease is longer than any profile's", func(c *Config) {
			c.Timing.Lease, c.KeptLease = time.Minute, 0
		}, time.Minute},
	} {
		want := tc.want + tc.want/Drift
		n := newNode(t, "a", abc, tc.change)
		n.meets(abc)
		if until := n.now.Boot + want; n.out.Status.AbstainTill != until {
			t.Errorf("%s: want it to say that it abstains until %v, got %v", tc.what, until, n.out.Status.AbstainTill)
		}
		n.pass(want - 1)
		if n.sent = nil; n.out.Status.Phase != Waiting {
			t.Errorf("%s: it claims before %v, with its own vote", tc.what, want)
		}
		claim := claimOf("c", 1, Leading)
		claim.Lease = min(tc.want, lease)
		o := n.take(claim)
		n.wants(tc.what, o, Object, JustStarted)
		if o.Held != 1 {
			t.Errorf("%s: want the claimant told to come back in 1ns, got %v", tc.what, o.Held)
		}
		n.skip(1)
		n.wants(tc.what+", when it is over", n.take(claim), Confirm, None)
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
	n.give(Input{Kind: View, Members: nil, Settled: true}) // gossip shows no other member
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
