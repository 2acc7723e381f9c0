package seniority

import (
	"slices"
	"testing"
	"time"
)

// One test for each sentence about terms that promises something.

// TestNoTwoVotersShareATerm: no matter what their clocks show and what they know.
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
			h := newHost(Config{Self: Member{Name: name, Voter: name}, Rule: Seniority{}, Timing: profiles["lan"], Voters: abc})
			h.disk = true
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
			t.Fatalf("round %d: no member leads half a lease after the last one could vote", round)
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

// TestTermIsStoredWithNobodyToTell: a leader that has no member to send anything
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
