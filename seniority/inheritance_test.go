package seniority

import (
	"testing"
	"time"
)

// renewalOf is a claim of from, which has led in available mode for held.
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
func TestTheSuccessorOfASilentLeaderOutlastsIt(t *testing.T) {
	const hour = time.Hour
	for name, test := range map[string]struct {
		// heard is how the claims of b arrive; it returns for how long b has led now.
		heard func(n *node) time.Duration
		alone time.Duration // for how long b leads alone then
	}{
		"soon": {func(n *node) time.Duration {
			n.give(Input{Kind: Receive, Message: renewalOf("b", 1, hour)})
			return hour
		}, 2 * time.Second},
		"hours later, b's clock runs faster": {func(n *node) time.Duration {
			n.give(Input{Kind: Receive, Message: renewalOf("b", 1, hour)})
			return hour
		}, 3 * hour},
		"its last renewals came later and later": {func(n *node) time.Duration {
			m := renewalOf("b", 1, hour)
			for range 4 {
				n.give(Input{Kind: Receive, Message: m})
				n.pass(900 * time.Millisecond)
				m.Seq++
				m.Held += 100 * time.Millisecond
			}
			return hour + 4*900*time.Millisecond
		}, 2 * time.Second},
		"a has heard it by gossip, and its clock stood still meanwhile": {func(n *node) time.Duration {
			m := renewalOf("b", 1, hour)
			n.take(gossiped(m))
			n.pass(time.Second)
			m.Seq, m.Held = 2, hour+30*time.Second
			n.take(gossiped(m))
			return m.Held
		}, 5 * time.Second},
		"a has heard it by gossip, which was late": {func(n *node) time.Duration {
			m := renewalOf("b", 1, hour)
			n.take(gossiped(m))
			n.pass(2900 * time.Millisecond)
			m.Seq, m.Held = 2, hour+100*time.Millisecond
			n.take(gossiped(m))
			return hour + 2900*time.Millisecond
		}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			n := member(t)
			n.sees([]string{"a", "b", "c", "d", "e"})
			counts := test.heard(n)
			began := n.now.Boot
			n.elected("c", "d", "e")
			n.pass(test.alone - (n.now.Boot - began))
			if most := counts + Drifted(n.now.Boot-began); n.out.Status.Lasted <= most {
				t.Errorf("want it to count for longer than the %v that b may say, got %v", most, n.out.Status.Lasted)
			}
		})
	}
}

// What a leadership counts from on is not what it said before, if it says less now.
func TestALeaderWhoseLinkIsBadCountsAnew(t *testing.T) {
	n := member(t)
	n.sees([]string{"a", "b", "c", "d", "e"})
	m := renewalOf("b", 1, time.Hour)
	n.give(Input{Kind: Receive, Message: m})
	n.pass(300 * time.Millisecond)
	m.Seq, m.Held, m.Lasted = 2, m.Held+300*time.Millisecond, 1
	n.give(Input{Kind: Receive, Message: m})
	n.elected("c", "d", "e")
	if got := n.out.Status.Lasted; got > time.Minute {
		t.Errorf("want it to count from then on, got %v", got)
	}
}

// A leadership that ended by its own word goes on only if another member confirms the next.
func TestAMemberAloneInheritsNothing(t *testing.T) {
	for _, by := range [][]string{nil, {"c"}} {
		n := member(t)
		n.sees(abc)
		n.give(Input{Kind: Receive, Message: renewalOf("b", 1, time.Hour)})
		r := releaseOf("b", 1)
		r.Voter, r.Voters, r.Reason = "", nil, Requested
		n.give(Input{Kind: Receive, Message: r})
		n.elected(by...)
		if got := n.out.Status.Lasted; got > time.Hour != (by != nil) {
			t.Errorf("elected by %v: it counts for %v", by, got)
		}
	}
}

// A follower that hears of its leader by gossip stays with it where another led already
// when it was elected, and follows one that was elected later.
func TestFollowersKnowASuccessor(t *testing.T) {
	for name, test := range map[string]struct {
		held, lasted, other time.Duration
		want                string
	}{
		"one elected later":                        {time.Hour, 0, 30 * time.Minute, "c"},
		"one that led before":                      {time.Hour, 0, 2 * time.Hour, "b"},
		"one that led before, but not its mandate": {time.Hour, 3 * time.Hour, 2 * time.Hour, "b"},
	} {
		n := member(t)
		n.sees(abc)
		m := renewalOf("b", 1, test.held)
		m.Lasted = test.lasted
		n.take(gossiped(m))
		n.take(gossiped(renewalOf("c", 2, test.other)))
		if got := n.out.Status.Leader; got != test.want {
			t.Errorf("%s: want it to follow %s, got %q", name, test.want, got)
		}
	}
}

// In quorum mode the higher term is that of the next leader, and the clocks do not count.
func TestInQuorumModeTheHigherTermLeads(t *testing.T) {
	n := aged(t, "a", abc)
	for _, m := range []Message{claimOf("b", 1, Leading), claimOf("c", 2, Leading)} {
		m.Held = time.Duration(m.Term%places-2) * time.Hour
		n.take(gossiped(m))
	}
	if got := n.out.Status.Leader; got != "c" {
		t.Errorf("want it to follow c, got %q", got)
	}
}

func TestAGroupIsRememberedForAWhile(t *testing.T) {
	n := member(t)
	n.sees([]string{"a", "b", "c", "d", "e"})
	n.pass(time.Hour)
	n.sees([]string{"a", "b"})
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 5}, {sizeFor, 5}, {time.Millisecond, 2}} {
		n.skip(test.after)
		if got := n.c.size(n.now); got != test.want {
			t.Errorf("%v later: want %d members, got %d", test.after, test.want, got)
		}
	}
}

// One that has led in vain remembers that there are others to ask than the silent leader,
// although gossip has lost them.
func TestOneThatHasLedInVainRemembersTheOthers(t *testing.T) {
	n := member(t)
	n.sees(abc)
	n.give(Input{Kind: Receive, Message: renewalOf("b", 1, time.Hour)})
	n.sees([]string{"a", "b"})
	n.c.vain.times, n.c.vain.at = 1, n.now.Boot
	n.pass(2 * time.Second)
	if got := n.out.Status.AloneAt - n.now.Boot; got < vainWait-2*time.Second {
		t.Errorf("want it to wait for %v, got %v", vainWait, got)
	}
}

// The vote that wins is an answer, too.
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

// A leader that was cut off may hear of the next first from a follower of that one. It
// cannot know then which of the two stays.
func TestARefusalMakesALeaderDoubtful(t *testing.T) {
	n := member(t)
	n.sees(abc)
	n.elected("b", "c")
	n.pass(time.Minute)
	round := n.renewed()
	o := objectTo(round[0], round[0].To, HeldByAnother)
	o.Leader, o.Voter = "d", ""
	n.give(Input{Kind: Receive, Message: o})
	if !n.out.Status.Doubtful {
		t.Error("refused by a follower of another leader, it does not doubt")
	}
	for held, want := range map[time.Duration]bool{time.Second: false, time.Hour: true} {
		n.give(Input{Kind: Receive, Message: renewalOf("d", 1, held)})
		if got := n.out.Status.Doubtful; got != want {
			t.Errorf("of a leader for %v: want doubtful: %v, got %v", held, want, got)
		}
	}
	n.pass(2 * lease)
	if n.out.Status.Doubtful {
		t.Error("it doubts for ever")
	}
}

// Of two halves of a group, each of which takes the other for dead, neither counts as most
// of it. The word of a leader that was silent before counts all the same when it comes.
func TestMostIsMoreThanHalf(t *testing.T) {
	for name, test := range map[string]struct {
		by   []string
		word bool
		want bool
	}{
		"half":               {[]string{"c"}, false, false},
		"most":               {[]string{"c", "d"}, false, true},
		"half, and its word": {[]string{"c"}, true, true},
	} {
		n := member(t)
		n.sees([]string{"a", "b", "c", "d"})
		n.give(Input{Kind: Receive, Message: renewalOf("b", 1, time.Hour)})
		for n.out.Status.Leader != "" {
			n.pass(100 * time.Millisecond)
		}
		if test.word {
			r := releaseOf("b", 1)
			r.Voter, r.Voters, r.Reason = "", nil, Requested
			n.give(Input{Kind: Receive, Message: r})
		}
		n.elected(test.by...)
		if got := n.out.Status.Lasted > time.Hour; got != test.want {
			t.Errorf("%s: want it to go on from b: %v, got %v", name, test.want, got)
		}
	}
}

// A leader of a lower term, as where a clock is behind, is not to raise its term because of
// the followers of another, whenever it was elected: they would follow it then.
func TestFollowersOfAnotherMakeNoLeaderRaiseItsTerm(t *testing.T) {
	n := member(t)
	n.sees(abc)
	n.take(gossiped(renewalOf("b", 2, time.Hour)))
	for _, held := range []time.Duration{time.Minute, 2 * time.Hour} {
		n.wants("c of "+held.String(), n.take(renewalOf("c", 1, held)), Object, HeldByAnother)
	}
}
