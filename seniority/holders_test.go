package seniority

import (
	"strings"
	"testing"
	"time"
)

// One test for each sentence that promises something about renewing, stopping
// and handing over.

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

// Two members confirm one renewal in four. Where they refuse the others, the leader hears
// them; where they are silent, most packets of its link are lost.
func TestARefusalIsAnAnswer(t *testing.T) {
	for _, refused := range []bool{true, false} {
		n := newNode(t, "a", nil)
		n.meets([]string{"a", "b", "c", "d"})
		n.pass(time.Second) // no answer keeps it from leading
		for i := range 2 * hearing {
			round := n.renewed()
			for _, voter := range []string{"b", "c"} {
				for _, m := range round {
					switch {
					case m.To != voter:
					case i%4 == 1:
						n.confirm(voter, round)
					case refused:
						n.give(Input{Kind: Receive, Message: objectTo(m, voter, HeldByAnother)})
					}
				}
			}
		}
		if s := n.out.Status; s.Leading != refused {
			t.Errorf("refused: %v: want leading: %v, got %+v", refused, refused, s)
		}
	}
}
