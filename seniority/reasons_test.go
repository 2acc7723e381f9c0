package seniority

import (
	"slices"
	"testing"
	"time"
)

// TestEveryReasonIsProduced has one case for each reason with which a message
// is refused or dropped, in the order in which they are declared. The table
// must be complete: a reason that nothing produces is not worth a name.
func TestEveryReasonIsProduced(t *testing.T) {
	produced := map[Reason]bool{}
	for _, tc := range reasonCases {
		t.Run(tc.reason.String()+"/"+tc.what, func(t *testing.T) {
			n := tc.play(t)
			refused := slices.ContainsFunc(n.out.Messages, func(m Message) bool { return m.Kind == Object && m.Reason == tc.reason })
			if ignored := n.ignored(tc.reason); refused != (tc.how == refusal) || ignored != (tc.how == drop) {
				t.Errorf("want it %s, got %+v and %v", tc.how, n.out.Notes, n.out.Messages)
			}
		})
		produced[tc.reason] = true
	}
	// A node that sleeps cannot say so, and whether a claimant may lead its
	// voters need not know; a request is refused for that, see below.
	elsewhere := []Reason{Asleep, NotEligible}
	for r := StaleTerm; r <= Outdated; r++ {
		if produced[r] == slices.Contains(elsewhere, r) {
			t.Errorf("%v: want it in exactly one of the table and the list of exceptions", r)
		}
	}
}

// How a message comes to nothing: it is answered, or only noted.
const (
	refusal = "refused"
	drop    = "ignored"
)

var reasonCases = []struct {
	reason Reason
	what   string
	how    string
	play   func(*testing.T) *node
}{
	{StaleTerm, "a claim below the floor", refusal, voterWith(func(n *node) {
		n.take(claimOf("a", 5, Asking))
		n.skip(Drifted(lease))
		n.take(claimOf("c", 4, Asking))
	})},
	{StaleTerm, "a term that was released", refusal, voterWith(func(n *node) {
		n.take(releaseOf("a", 5))
		n.take(claimOf("a", 5, Asking))
	})},
	{StaleTerm, "an observer is not led back", refusal, outsiderWith(func(n *node) {
		n.take(claimOf("c", 5, Leading))
		n.take(claimOf("a", 4, Leading))
	})},
	{HeldByAnother, "a claim while the vote is promised", refusal, voterWith(func(n *node) {
		n.take(claimOf("a", 5, Asking))
		n.take(claimOf("c", 6, Asking))
	})},
	{JustStarted, "a claim during abstention", refusal, func(t *testing.T) *node {
		n := newNode(t, "b", abc)
		n.take(claimOf("a", 1, Asking))
		return n
	}},
	{AnotherPreferred, "a claim of the second in line", refusal, voterWith(func(n *node) {
		n.meets(abc)
		n.take(claimOf("c", 1, Asking))
	})},
	{WrongElectorate, "a claim of available mode", refusal, voterWith(func(n *node) {
		m := claimOf("a", 1, Asking)
		m.Voter, m.Voters = "", nil
		n.take(m)
	})},
	{WrongElectorate, "a claim of quorum mode", refusal, func(t *testing.T) *node {
		n := availableNode(t)
		n.take(claimOf("a", 1, Asking))
		return n
	}},
	{WrongElectorate, "a list too far away", refusal, voterWith(func(n *node) {
		m := claimOf("a", 1, Asking)
		m.Voters = []string{"a", "x", "y"}
		n.take(m)
	})},
	{WrongElectorate, "a leader of the other mode, overheard", drop, func(t *testing.T) *node {
		n := availableNode(t)
		n.take(gossiped(claimOf("a", 1, Leading)))
		return n
	}},
	{WrongElectorate, "a confirm by a list too far away", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := confirmOf("b", n.claims("b")[0])
		m.Voters = []string{"b", "x", "y"}
		n.take(m)
		return n
	}},
	{LeaseTooLong, "a lease longer than the abstention", refusal, voterWith(func(n *node) {
		m := claimOf("a", 1, Asking)
		m.Lease = time.Minute
		n.take(m)
	})},
	{FutureTerm, "a claim days ahead", refusal, voterWith(func(n *node) {
		n.take(claimOf("a", 3*24*3600*1000, Asking))
	})},
	{FutureTerm, "a release days ahead", drop, voterWith(func(n *node) {
		n.take(releaseOf("a", 3*24*3600*1000))
	})},
	{NotAVoter, "a claim put to an observer", refusal, outsiderWith(func(n *node) {
		n.take(claimOf("a", 1, Asking))
	})},
	{NotAVoter, "a confirm by an observer", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := confirmOf("b", n.claims("b")[0])
		m.Voter = ""
		n.take(m)
		return n
	}},
	{LeadsToo, "another leader's claim", refusal, func(t *testing.T) *node {
		n := availableNode(t)
		n.pass(time.Minute)
		m := claimOf("a", 1, Leading)
		m.Voter, m.Voters = "", nil
		n.take(m)
		return n
	}},
	{LeaderDeaf, "a leader that hears no answer", refusal, followerWith(func(n *node) {
		n.take(deafClaim(1))
	})},
	{LeaderDeaf, "a leader that hears no answer, overheard", drop, followerWith(func(n *node) {
		n.take(gossiped(deafClaim(1)))
	})},
	{OldIncarnation, "a confirm of a former run's claim", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := confirmOf("b", n.claims("b")[0])
		m.Incarnation--
		n.take(m)
		return n
	}},
	{SpentTerm, "a confirm of a claim that was given up", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := n.claims("b")[0]
		n.pass(maxAsks * profiles["lan"].Confirm)
		n.take(confirmOf("b", m))
		return n
	}},
	{SpentTerm, "an objection to a claim that was given up", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := n.claims("b")[0]
		n.pass(maxAsks * profiles["lan"].Confirm)
		n.take(objectTo(m, "b", HeldByAnother))
		return n
	}},
	{SpentTerm, "a former leader, overheard", drop, voterWith(func(n *node) {
		n.take(claimOf("a", 5, Leading))
		n.take(gossiped(claimOf("c", 4, Leading)))
	})},
	{NotMine, "one's own message, come back", drop, voterWith(func(n *node) {
		n.take(gossiped(claimOf("b", 1, Leading)))
	})},
	{NotMine, "a message for another", drop, voterWith(func(n *node) {
		m := claimOf("a", 1, Asking)
		m.To = "c"
		n.take(m)
	})},
	{NotMine, "a release of no promise of this node", drop, voterWith(func(n *node) {
		n.take(releaseOf("a", 1))
	})},
	{LateAnswer, "a confirm of a round too long ago", drop, func(t *testing.T) *node {
		n := leading(t, abc)
		old := n.renewed()
		for range sentRing {
			n.confirm("b", n.renewed())
		}
		n.confirm("c", old)
		return n
	}},
	{ForgedWill, "a will without the secret", drop, voterWith(func(n *node) {
		n.take(claimOf("a", 1, Leading))
		m := releaseOf("a", 1)
		m.Will = [32]byte{1}
		n.take(m)
	})},
	{Malformed, "no sender", drop, spoilt(func(m *Message) { m.From = "" })},
	{Malformed, "no term", drop, spoilt(func(m *Message) { m.Term = 0 })},
	{Malformed, "a term beyond the last", drop, spoilt(func(m *Message) { m.Term = maxTerm + 1 })},
	{Malformed, "no incarnation", drop, spoilt(func(m *Message) { m.Incarnation = 0 })},
	{Malformed, "no lease", drop, spoilt(func(m *Message) { m.Lease = 0 })},
	{Malformed, "a lease of an hour", drop, spoilt(func(m *Message) { m.Lease = time.Hour })},
	{Malformed, "no kind", drop, spoilt(func(m *Message) { m.Kind = 0 })},
	{Malformed, "a kind of a later version", drop, spoilt(func(m *Message) { m.Kind = Echo + 1 })},
	{Malformed, "a claim by gossip of one that does not lead", drop, spoilt(func(m *Message) { m.Gossiped, m.Stand = true, Asking })},
	{Outdated, "gossip of a leader older than what was heard", drop, voterWith(func(n *node) {
		n.take(claimOf("a", 1, Leading))
		n.take(gossiped(claimOf("a", 1, Leading)))
	})},
	{Outdated, "a duplicate, at an observer", drop, outsiderWith(func(n *node) {
		n.take(claimOf("a", 1, Leading))
		n.take(claimOf("a", 1, Leading))
	})},
	{Outdated, "gossip of a leader that has fallen silent", drop, voterWith(func(n *node) {
		n.take(claimOf("a", 1, Leading))
		n.pass(Drifted(lease))
		n.take(gossiped(claimOf("a", 1, Leading)))
	})},
	{Outdated, "a leader that was deaf, and has heard since", drop, followerWith(func(n *node) {
		m := deafClaim(2)
		m.Deaf = false
		n.take(m)
		n.take(deafClaim(1))
	})},
	{Outdated, "gossip of a leader, to one that claims", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		n.take(gossiped(claimOf("b", 90_000, Leading)))
		return n
	}},
	{Outdated, "an objection that takes this node for the holder", drop, func(t *testing.T) *node {
		n := claiming(t, abc)
		m := objectTo(n.claims("b")[0], "b", HeldByAnother)
		m.Leader = "a"
		n.take(m)
		return n
	}},
}

// TestEveryRequestIsRefusedByName: what a StepDown or an Elect that does
// nothing answers.
func TestEveryRequestIsRefusedByName(t *testing.T) {
	alone := leading(t, abc)
	alone.give(Input{Kind: View, Members: nil})
	for _, tc := range []struct {
		what string
		n    *node
		in   Input
		want Reason
	}{
		{"to step down with no other member", alone, Input{Kind: StepDown, Reason: Requested}, Alone},
		{"to hand over to itself", leading(t, abc), Input{Kind: StepDown, Reason: Requested, Name: "a"}, NotEligible},
		{"to hand over to a member that is not there", leading(t, abc), Input{Kind: StepDown, Reason: Requested, Name: "z"}, NotEligible},
		{"to hand over to the last in line", leading(t, abc), Input{Kind: StepDown, Reason: Requested, Name: "c"}, None},
		{"a follower to step down", aged(t, "b", abc), Input{Kind: StepDown, Reason: Requested}, NotMine},
		{"an election under a leader that is well", leading(t, abc), Input{Kind: Elect}, HeldByAnother},
		{"an election when the terms are used up", newNode(t, "b", abc, func(c *Config) { c.Highest = maxTerm }), Input{Kind: Elect}, TermsUsedUp},
		{"an election by a witness", aged(t, "b", abc), Input{Kind: Elect}, NotEligible},
		{"to step down", leading(t, abc), Input{Kind: StepDown, Reason: Requested}, None},
		{"an election without a leader", newNode(t, "b", abc), Input{Kind: Elect}, None},
	} {
		tc.n.give(tc.in)
		if tc.n.out.Refused != tc.want {
			t.Errorf("asked %s: want %v, got %v", tc.what, tc.want, tc.n.out.Refused)
		}
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	seen := map[string]Reason{}
	for r := range numReasons {
		name := r.String()
		if other, ok := seen[name]; ok || name == "" {
			t.Errorf("reasons %d and %d are both called %q", other, r, name)
		}
		seen[name] = r
	}
	if got := numReasons.String(); got == "" || seen[got] != 0 {
		t.Errorf("a reason of a later version is called %q", got)
	}
}

// voterWith is a voter, b, with which something has been done.
func voterWith(do func(*node)) func(*testing.T) *node {
	return func(t *testing.T) *node {
		n := aged(t, "b", abc)
		do(n)
		return n
	}
}

// outsiderWith is a member that is not in the list of voters.
func outsiderWith(do func(*node)) func(*testing.T) *node {
	return func(t *testing.T) *node {
		n := newNode(t, "x", abc, func(c *Config) { c.Self.Voter = "" })
		do(n)
		return n
	}
}

// spoilt is a voter that takes a claim with something wrong about it.
func spoilt(spoil func(*Message)) func(*testing.T) *node {
	return voterWith(func(n *node) {
		m := claimOf("a", 1, Leading)
		spoil(&m)
		n.take(m)
	})
}

func gossiped(m Message) Message {
	m.Gossiped = true
	return m
}

// availableNode is a node of available mode, alone.
func availableNode(t *testing.T) *node {
	return newNode(t, "b", nil, func(c *Config) { c.Self.Voter = "" })
}

// followerWith is a node of available mode that does not lead alone.
func followerWith(do func(*node)) func(*testing.T) *node {
	return func(t *testing.T) *node {
		n := newNode(t, "b", nil, func(c *Config) { c.Self.Voter, c.LoneWait = "", -1 })
		do(n)
		return n
	}
}

// deafClaim is a claim of available mode of a leader that hears no answer.
func deafClaim(seq uint64) Message {
	m := claimOf("a", 1, Leading)
	m.Voter, m.Voters, m.Seq, m.Deaf = "", nil, seq, true
	return m
}
