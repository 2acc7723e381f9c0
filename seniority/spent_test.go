package seniority

import (
	"testing"
	"time"
)

// A holder refuses its own spent terms to others as every voter does, one that
// it had only begun to raise to included.
func TestHolderRefusesItsSpentTerm(t *testing.T) {
	n := leading(t, abc)
	round := n.renewed()
	n.confirm("b", round)
	stale := objectTo(round[1], "c", StaleTerm)
	stale.Known = term(5000, "c")
	n.take(stale) // the leader asks for a higher term, and no voter has confirmed it
	n.give(Input{Kind: StepDown, Reason: Requested})
	if n.out.Refused != None {
		t.Fatalf("the leader will not step down: %v", n.out.Refused)
	}
	n.give(Input{Kind: Released, Term: n.out.Status.Releasing})
	n.wants("a claim above the term led, below the one asked for", n.take(claimOf("b", 4000, Asking)), Object, StaleTerm)
	n.wants("a claim above both", n.take(claimOf("b", 6000, Asking)), Confirm, None)
}

// A leader's claim that comes after the release of its term, by gossip or
// directly, does not make anybody follow that leader again.
func TestReleaseEndsATermForLateClaims(t *testing.T) {
	late := claimOf("a", 1, Leading)
	late.Seq = 9
	for _, tc := range []struct {
		what  string
		node  func(*testing.T) *node
		claim Message
	}{
		{"gossip, at a voter", voterWith(func(*node) {}), gossiped(late)},
		{"gossip, at an observer", outsiderWith(func(*node) {}), gossiped(late)},
		{"a claim, at a voter", voterWith(func(*node) {}), late},
		{"a claim, at an observer", outsiderWith(func(*node) {}), late},
	} {
		n := tc.node(t)
		n.take(claimOf("a", 1, Leading))
		if n.out.Status.Leader != "a" {
			t.Fatalf("%s: want it to follow a, got %+v", tc.what, n.out.Status)
		}
		n.take(releaseOf("a", 1))
		n.take(tc.claim)
		if got := n.out.Status.Leader; got != "" {
			t.Errorf("%s after the release of its term: want no leader, got %q", tc.what, got)
		}
	}
}

// A voter that has promised its vote and has not heard that the claim was won
// learns it by gossip.
func TestGossipTellsOfALeadershipThatWasPromised(t *testing.T) {
	n := aged(t, "b", abc)
	n.wants("a claim", n.take(claimOf("a", 1, Asking)), Confirm, None)
	n.take(gossiped(claimOf("a", 1, Leading)))
	if got := n.out.Status.Leader; got != "a" {
		t.Errorf("want the leader a, got %q", got)
	}
}

// A member that was handed the lead and has not taken it is not handed it again by the
// placement, which may not yet know that it cannot lead; on request it is.
func TestNoMoveToOneThatDidNotTakeTheLead(t *testing.T) {
	move := Input{Kind: StepDown, Reason: Preempted, Name: "b"}
	n := leading(t, abc)
	n.give(move)
	n.give(Input{Kind: Released, Term: n.out.Status.Releasing})
	if n.out.Refused != None || n.out.Status.Leading {
		t.Fatalf("want the lead handed over, got %v, %+v", n.out.Refused, n.out.Status)
	}
	leads := func() { // b and c confirm all that a asks, and nothing else happens
		for range 1000 {
			for _, m := range n.sent {
				if m.Kind == Claim && m.To != "" {
					n.give(Input{Kind: Receive, Message: confirmOf(m.To, m)})
				}
			}
			if n.sent = nil; n.out.Status.Leading {
				return
			}
			n.pass(time.Millisecond)
		}
		t.Fatalf("a does not lead again: %+v", n.out.Status)
	}
	leads()
	if n.give(move); n.out.Refused != NotEligible || !n.out.Status.Leading {
		t.Errorf("want the second move refused, got %v", n.out.Refused)
	}
	n.skip(n.c.penalties["b"].until - n.now.Boot)
	if n.give(move); n.out.Refused == NotEligible {
		t.Error("want it not refused for ever")
	}
	n = leading(t, abc)
	n.c.penalise(n.now, "b", 1, time.Minute)
	move.Reason = Requested
	if n.give(move); n.out.Refused != None {
		t.Errorf("want it handed over on request, got %v", n.out.Refused)
	}
}
