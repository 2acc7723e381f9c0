package seniority

import (
	"slices"
	"testing"
	"time"
)

// node is one core of quorum mode on its own: the test plays all others.
type node struct {
	t    *testing.T
	c    *Core
	now  Now
	out  *Output
	sent []Message // since last asked
	disk uint64    // what it had stored
}

var abc = []string{"a", "b", "c"}

const (
	lease      = time.Second // of the profile used in these tests
	abstention = lease + lease/Drift
)

// newNode starts a voter of quorum mode. Members of these tests are called as
// their entries are.
func newNode(t *testing.T, name string, voters []string, change ...func(*Config)) *node {
	t.Helper()
	cfg := Config{
		Self: Member{Name: name, Voter: name, Incarnation: incarnation(name), Eligible: true},
		Rule: Seniority{}, Timing: profiles["lan"], Voters: voters, KeptLease: lease,
	}
	for _, f := range change {
		f(&cfg)
	}
	n := &node{t: t, now: Now{Boot: time.Hour, Wall: base}}
	c, err := New(cfg, n.now)
	if err != nil {
		t.Fatal(err)
	}
	n.c = c
	n.give(Input{Kind: Tick})
	return n
}

// meets lets gossip show the node all voters, in the order of the list.
func (n *node) meets(voters []string) {
	var members []Member
	for i, v := range voters {
		members = append(members, Member{Name: v, Voter: v, Incarnation: incarnation(v), Eligible: true, Start: int64(i)})
	}
	n.give(Input{Kind: View, Members: members, Settled: true})
}

// aged is a voter whose time of abstention is just over. It knows no other member, so
// that it prefers none, and never claims.
func aged(t *testing.T, name string, voters []string, change ...func(*Config)) *node {
	t.Helper()
	witness := func(c *Config) { c.Self.Role = Witness }
	n := newNode(t, name, voters, append(change, witness)...)
	n.skip(abstention)
	return n
}

// incarnation of a member's first run.
func incarnation(name string) uint64 { return uint64(name[0]) }

// skip lets time pass without a step.
func (n *node) skip(d time.Duration) {
	n.now.Boot += d
	n.now.Wall += d.Milliseconds()
}

// give feeds one input.
func (n *node) give(in Input) {
	n.out = n.c.Step(n.now, in)
	n.sent = append(n.sent, n.out.Messages...)
	n.disk = max(n.disk, n.out.Persist)
}

// take feeds one message and returns what is sent to its sender in answer.
func (n *node) take(m Message) Message {
	n.t.Helper()
	n.sent = nil
	n.give(Input{Kind: Receive, Message: m})
	for _, a := range n.sent {
		if a.To == m.From {
			return a
		}
	}
	return Message{}
}

// pass lets time pass with every step that the core asks for.
func (n *node) pass(d time.Duration) {
	end := n.now.Boot + d
	for n.out.Wake != 0 && n.out.Wake <= end {
		n.skip(max(0, n.out.Wake-n.now.Boot))
		n.give(Input{Kind: Tick})
	}
	n.skip(end - n.now.Boot)
}

// claims returns the claims sent to somebody since last asked.
func (n *node) claims(to string) []Message {
	all := n.sent
	n.sent = nil
	return slices.DeleteFunc(slices.Clone(all), func(m Message) bool { return m.Kind != Claim || m.To != to })
}

// wants asserts the kind, and the reason, of an answer.
func (n *node) wants(what string, got Message, kind Kind, reason Reason) {
	n.t.Helper()
	if got.Kind != kind || got.Reason != reason {
		n.t.Errorf("%s: want %v %v, got %v", what, kind, reason, showMessage(&got))
	}
}

// term is one that a clock k milliseconds after base proposes.
func term(k int64, voter string) uint64 {
	return uint64(base+k)*places + uint64(voter[0]-'a') + 1
}

// claimOf is a claim as a voter of the list abc sends it.
func claimOf(from string, k int64, stand Stand) Message {
	return Message{
		Kind: Claim, From: from, Incarnation: incarnation(from), Term: term(k, from), Seq: 1, Lease: lease,
		Voter: from, Voters: abc, Stand: stand, Watch: stand == Leading,
	}
}

// releaseOf is the end of a claim.
func releaseOf(from string, k int64) Message {
	return Message{Kind: Release, From: from, Incarnation: incarnation(from), Term: term(k, from), Voter: from, Voters: abc}
}

// confirmOf grants a claim.
func confirmOf(from string, m Message) Message {
	return Message{
		Kind: Confirm, From: from, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease,
		Voter: from, Voters: m.Voters,
	}
}

// objectTo refuses a claim.
func objectTo(m Message, from string, r Reason) Message {
	o := confirmOf(from, m)
	o.Kind, o.Reason = Object, r
	return o
}

// claiming is a, which has just claimed.
func claiming(t *testing.T, voters []string, change ...func(*Config)) *node {
	t.Helper()
	n := newNode(t, "a", voters, change...)
	n.meets(voters)
	n.pass(abstention)
	if n.out.Status.Phase != Claiming {
		t.Fatalf("a does not claim: %+v", n.out.Status)
	}
	return n
}

// leading is a, which leads with the confirms of all others of its first round.
func leading(t *testing.T, voters []string, change ...func(*Config)) *node {
	t.Helper()
	n := claiming(t, voters, change...)
	for _, v := range voters[1:] {
		for _, m := range n.sent {
			if m.To == v && m.Kind == Claim && m.Stand == Asking {
				n.give(Input{Kind: Receive, Message: confirmOf(v, m)})
				break
			}
		}
	}
	if !n.out.Status.Leading {
		t.Fatalf("a does not lead: %+v", n.out.Status)
	}
	return n
}

// renewed lets a leader send its next round and returns the claims in it.
func (n *node) renewed() []Message {
	n.t.Helper()
	n.pass(n.c.claim.renewAt - n.now.Boot - 1)
	n.sent = nil
	n.pass(1)
	round := slices.DeleteFunc(n.sent, func(m Message) bool { return m.Kind != Claim || m.To == "" })
	n.sent = nil
	return round
}

func (n *node) confirm(voter string, round []Message) {
	n.t.Helper()
	for _, m := range round {
		if m.To == voter {
			n.give(Input{Kind: Receive, Message: confirmOf(voter, m)})
			return
		}
	}
	n.t.Fatalf("nothing was sent to %s", voter)
}

// echo answers the node's last probe: the voter reaches so many voters.
func (n *node) echo(from string, hears uint64) Message {
	return Message{
		Kind: Echo, From: from, To: n.c.self.Name, Incarnation: n.c.self.Incarnation, Term: 1, Seq: n.c.reach.seq,
		Voter: from, Voters: n.c.cfg.Voters, Hears: hears,
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
		h := newHost(Config{Self: Member{Name: name}, Rule: Seniority{}, Timing: profiles["lan"], Voters: voters})
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
