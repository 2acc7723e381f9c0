package seniority

import (
	"fmt"
	"time"
)

// Kind is the kind of a Message. There are four; see doc.go, section Messages.
type Kind uint8

// The kinds of message.
const (
	// Claim asks the receiver to promise its vote to the sender for a term,
	// or to renew that promise.
	Claim Kind = iota + 1
	// Confirm grants a claim and echoes it.
	Confirm
	// Object refuses a claim and says why.
	Object
	// Release ends a claim or a leadership: never again under this term.
	Release
	// Probe asks a voter whether it hears the sender, and promises nothing.
	// Members of versions without it refuse it, and nothing else.
	Probe
	// Echo answers a Probe.
	Echo
)

var kindNames = [...]string{Claim: "claim", Confirm: "confirm", Object: "object", Release: "release", Probe: "probe", Echo: "echo"}

// String returns the name that logs and transcripts use.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Stand says what the sender of a claim is at that moment.
type Stand uint8

// The stands of a claimant.
const (
	// Asking: the claimant does not lead yet.
	Asking Stand = iota
	// Leading: the claim renews a leadership that has been won.
	Leading
	// Leaving: the claimant has stopped leading and renews only to keep
	// others out while its release runs.
	Leaving
)

var standNames = [...]string{"asking", "leading", "leaving"}

// String returns the name that logs and transcripts use.
func (s Stand) String() string {
	if int(s) < len(standNames) {
		return standNames[s]
	}
	return fmt.Sprintf("stand(%d)", uint8(s))
}

// Reason names why a message was refused or ignored, or why a leadership
// ended. Reasons appear in logs, metrics and history by their names.
type Reason uint8

// Message is the one form of all four kinds; which fields a kind uses is said
// at each. Messages are values and share no memory that is written later.
type Message struct {
	Kind Kind
	// From and To are member names. An empty To is for every member, by gossip.
	From, To string
	// Gossiped is set on receipt of a message that came by gossip: it may be
	// seconds old and is never answered with a confirm.
	Gossiped bool
	// Incarnation belongs to the member whose claim this is about: the sender
	// of a Claim or a Release, the claimant echoed by a Confirm or an Object. Of
	// a Probe it is the sender's, and an Echo echoes it.
	Incarnation uint64
	// Term, Seq and Lease are the claim's; Confirm and Object echo them. A Probe
	// has a sequence of its own, which the Echo echoes, and no lease.
	Term  uint64
	Seq   uint64
	Lease time.Duration
	// Voter and Voters are, in quorum mode, the sender's own entry ("" if it
	// does not vote) and its list of voters.
	Voter  string
	Voters []string

	// Stand, of a Claim, says whether the claimant leads already.
	Stand Stand
	// Held, of a Claim that leads or an Object that says LeadsToo, is how long
	// the sender's leadership has lasted by its own clock; of an Object that says
	// HeldByAnother or JustStarted, how long until the vote may be free.
	Held time.Duration
	// Lasted, of a Claim that leads in available mode, is for how long the leadership counts
	// where two meet; 0: for as long as Held.
	Lasted time.Duration
	// Met, of a Claim and of an Object that says LeadsToo, is false of a leader that has never met another member.
	Met bool
	// Watch, of a Claim that leads, says that renewals follow: if they stop, the
	// receiver is to start an election.
	Watch bool
	// Deaf, of a Claim that leads, says that no member has answered the claimant for
	// two leases, though there are members that should.
	Deaf bool
	// Minority, of a Claim that leads in available mode, says that half of the members
	// that the claimant knew, or more, did not confirm it.
	Minority bool
	// Join, of a Claim, is the claimant's own join number.
	Join Join
	// Given, of a Claim, is the join number that the leader gives the receiver
	// (zero: none).
	Given Join
	// Will is, of a Claim, the SHA-256 of the term's secret; of a Release that
	// a keeper sends on a leader's behalf, the secret itself; else zero.
	Will [32]byte

	// Log, of a Claim that asks, is how far the claimant's log reaches.
	Log Log

	// Reason, of an Object, says why the claim is refused; of a Release, why
	// the term ended.
	Reason Reason
	// Known, of an Object, is the highest term the sender knows.
	Known uint64
	// Leader, of an Object, is who leads or is preferred; of a Release, the
	// successor that should claim first. It may be empty.
	Leader string

	// Hears, of an Echo, is how many voters answer its sender's own probes,
	// itself included; 0: it has not asked, 1: no other does, or it may not lead.
	Hears uint64
}
