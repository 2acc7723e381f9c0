package electionlog

import (
	"doyen/agent/history"
	"doyen/seniority"
)

// tooLate is why a lease ended that this member itself did not renew in time.
const tooLate = "it was too late to renew its lease: its agent or its host stood still"

// endWords says the reason of an end in words, where the reason alone does not
// say who did what. retired says that it is of this member, which stays in the group.
func (l *Log) endWords(reason string, retired bool) string {
	switch departed := seniority.Departed.String(); {
	case reason == departed && retired:
		return "its settings name the election no longer"
	case reason == departed && l.Further:
		return "it leaves the group, or its settings name the election no longer"
	case reason == departed:
		return "it leaves the group"
	case reason == seniority.LeaseLost.String() && !l.Quorum:
		return tooLate
	}
	switch reason {
	case history.HandingOver:
		return "it hands over; its release is under way"
	case seniority.LeaderSilent.String():
		return "its renewals stopped: its host is dead, cut off, or frozen"
	case seniority.LeaderDeaf.String():
		return "it hears no answer, or few, as it says itself: most packets from or to it are lost"
	case seniority.LeaderDied.String():
		return "its agent has ended without a hand-over, or was too late to renew; its keeper or its host has told the others"
	case seniority.LeaseLost.String():
		return "it could not renew its lease: fewer than a majority of the voters confirmed in time"
	case seniority.KeeperFired.String():
		return "its keeper ended the leadership"
	case seniority.Asleep.String():
		return "this member was paused for longer than the lease"
	case seniority.Merged.String():
		return "two groups met, and the leader of the other stays"
	case seniority.Requested.String():
		return "it was asked to hand over"
	case seniority.Preempted.String():
		return "the rule, or the placement, prefers another member"
	case seniority.HookFailed.String():
		return "the hook failed to acquire"
	case seniority.CommandFailed.String():
		return "its command ended again and again soon after its start"
	case seniority.Unhealthy.String():
		return "its health check failed"
	case seniority.StoodAside.String():
		return "it was asked to stand aside, and another may lead now"
	case seniority.CarrierLost.String():
		return "the interface of a floating address lost its link"
	case seniority.WrongElectorate.String():
		return "the group is one of quorum mode, and this member has no --voters"
	case seniority.AddressGone.String():
		return "the address at which the others reach it is its host's no longer"
	}
	return ""
}
