package seniority

import "fmt"

// The reasons. Object carries those of the first group over the network.
const (
	// None: no reason.
	None Reason = iota

	// StaleTerm: the voter has confirmed or seen released this term or a higher.
	StaleTerm
	// HeldByAnother: the voter's promise to another holder still runs.
	HeldByAnother
	// JustStarted: the voter abstains until every promise it may have made
	// before its restart has run out.
	JustStarted
	// AnotherPreferred: the rule puts another first. As a voter's answer a
	// courtesy, said once; between two leaders binding.
	AnotherPreferred
	// WrongElectorate: the modes differ, or the lists of voters by more than
	// one entry.
	WrongElectorate
	// LeaseTooLong: the claim's lease is longer than the voter abstained for.
	LeaseTooLong
	// Asleep: the voter has just woken from a pause longer than its lease.
	Asleep
	// FutureTerm: the term is a day or more ahead of everything the voter knows.
	FutureTerm
	// NotAVoter: the receiver has no vote.
	NotAVoter
	// NotEligible: the claimant may not lead.
	NotEligible

	// LeadsToo: the receiver of a leader's claim leads itself.
	LeadsToo
	// LeaderDeaf: the leader says that it hears no answer.
	LeaderDeaf

	// OldIncarnation: the message is from or about an earlier run.
	OldIncarnation
	// SpentTerm: the term has been given up.
	SpentTerm
	// NotMine: the answer is to no claim of this node.
	NotMine
	// LateAnswer: the answer is to a claim too old to count.
	LateAnswer
	// ForgedWill: a secret does not match the claim's hash.
	ForgedWill
	// Malformed: fields that cannot stand together.
	Malformed
	// Outdated: a newer message of the same sender has been seen.
	Outdated

	// Elected: the leadership was won in an election.
	Elected
	// Succeeded: the leadership was won after a hand-over.
	Succeeded
	// Merged: two groups met.
	Merged
	// Requested: an operator or the program asked for it.
	Requested
	// Preempted: a preferred member takes over.
	Preempted
	// HookFailed: acquire failed too often.
	HookFailed
	// Unhealthy: the health check failed.
	Unhealthy
	// StoodAside: the member stands aside, and another may lead.
	StoodAside
	// Departed: the member is leaving the group.
	Departed
	// LeaseLost: the lease could not be renewed in time.
	LeaseLost
	// KeeperFired: the keeper ended the leadership, or is gone.
	KeeperFired
	// LeaderSilent: the leader's renewals stopped.
	LeaderSilent
	// LeaderDied: the leader's keeper delivered its will.
	LeaderDied
	// CarrierLost: the interface of a floating address lost its link.
	CarrierLost
	// StateUnwritable: the member could not store a term.
	StateUnwritable
	// Alone: no other member is there to ask.
	Alone
	// Outvoted: a claim was given up.
	Outvoted

	// ClockBeyond: the wall clock shows a time beyond the last term.
	ClockBeyond
	// TermsUsedUp: the highest term known is the last; no member can claim another.
	TermsUsedUp
	// NotAnswering: the member that is to take over has not answered the leader
	// within the last lease.
	NotAnswering
	// NoWatchdog: the member's watchdog cannot be armed.
	NoWatchdog
	// LogBehind: the claimant's log, or the member's, lacks entries that other voters
	// have.
	// As a voter's answer it is said for some leases only.
	LogBehind
	// CommandFailed: the command of the leader ended too often.
	CommandFailed
	// AddressGone: the member's advertised address is its host's no longer.
	AddressGone
	numReasons
)

var reasonNames = [numReasons]string{
	None: "none", StaleTerm: "stale-term", HeldByAnother: "held-by-another", JustStarted: "just-started",
	AnotherPreferred: "another-preferred", WrongElectorate: "wrong-electorate", LeaseTooLong: "lease-too-long",
	Asleep: "asleep", FutureTerm: "future-term", NotAVoter: "not-a-voter", NotEligible: "not-eligible",
	LeadsToo: "leads-too", LeaderDeaf: "leader-deaf", OldIncarnation: "old-incarnation", SpentTerm: "spent-term",
	NotMine: "not-mine", LateAnswer: "late-answer", ForgedWill: "forged-will", Malformed: "malformed",
	Outdated: "outdated", Elected: "elected", Succeeded: "succeeded", Merged: "merged", Requested: "requested",
	Preempted: "preempted", HookFailed: "hook-failed", Unhealthy: "unhealthy", StoodAside: "stood-aside", Departed: "departed",
	LeaseLost: "lease-lost", KeeperFired: "keeper-fired", LeaderSilent: "leader-silent",
	LeaderDied: "leader-died", CarrierLost: "carrier-lost", StateUnwritable: "state-unwritable", Alone: "alone", Outvoted: "outvoted",
	ClockBeyond: "clock-beyond", TermsUsedUp: "terms-used-up", NotAnswering: "not-answering",
	NoWatchdog: "no-watchdog", LogBehind: "log-behind", CommandFailed: "command-failed", AddressGone: "address-gone",
}

// String returns the name that logs, metrics and history use.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}
