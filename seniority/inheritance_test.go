package seniority

import (
	"testing"
	"time"
)

// renewalOf is a claim of b, which leads in available mode, as it says first of a
// leadership that has lasted for held.
func renewalOf(from string, k int64, held time.Duration) Message {
	m := claimOf(from, k, Leading)
	m.Voter, m.Voters, m.Met, m.Held = "", nil, true, held
	return m
}

// member is a of available mode, which does not lead alone yet.
func member(t *testing.T) *node {
	return newNode(t, "a", nil, func(c *Config) { c.Self.Voter, c.LoneWait = "", time.Minute })
}

// sees lets gossip show it members, of which not all seeds have answered yet: it claims
// nothing at once.
func (n *node) sees(names []string) {
	var members []Member
	for i, name := range names {
		members = append(members, Member{Name: name, Incarnation: incarnation(name), Eligible: true, Start: int64(i)})
	}
	n.give(Input{Kind: View, Members: members})
}

// elected lets a, which has lost its leader, be elected by those named.
func (n *node) elected(by ...string) {
	n.t.Helper()
	for range 100 {
		if n.out.Status.Phase == Claiming {
			break
		}
		n.pass(100 * time.Millisecond)
	}
	for _, voter := range by {
		for _, m := range n.sent {
			if m.To == voter && m.Kind == Claim && m.Stand == Asking && m.Term == n.c.claim.term {
				n.give(Input{Kind: Receive, Message: confirmOf(voter, m)})
				break
			}
		}
	}
	n.pass(400 * time.Millisecond) // those that are silent do not block then
	if !n.out.Status.Leading {
		n.t.Fatalf("a does not lead: %+v", n.out.Status)
	}
}

// A leader that was silent, and has led for longer than its successor, must find that one
// preferred, however the successor has come to know for how long the other had led.
// What a leadership counts from on is not what it said before, if it says less now.
// A leadership that ended by its own word goes on only if another member confirms the next.
// A follower that hears of its leader by gossip stays with it where another led already
// when it was elected, and follows one that was elected later.
// In quorum mode the higher term is that of the next leader, and the clocks do not count.
// One that has led in vain remembers that there are others to ask than the silent leader,
// although gossip has lost them.
// The vote that wins is an answer, too.
// A leader that was cut off may hear of the next first from a follower of that one. It
// cannot know then which of the two stays.
// Of two halves of a group, each of which takes the other for dead, neither counts as most
// of it. The word of a leader that was silent before counts all the same when it comes.
// A leader of a lower term, as where a clock is behind, is not to raise its term because of
// the followers of another, whenever it was elected: they would follow it then.
func TestTheFirstVoteIsAnAnswer(t *testing.T) {
	n := member(t)
	n.sees(abc)
	n.elected("b", "c")
	for _, voter := range []string{"b", "c"} {
		if b := n.c.claim.ballots[voter]; b.rounds>>(b.asked-1) != 1 {
			t.Errorf("%s: of %d rounds it has answered %b", voter, b.asked, b.rounds)
		}
	}
}
