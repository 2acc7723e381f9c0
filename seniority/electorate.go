package seniority

import "time"

// electorate is all that differs between the two modes: who has a vote, when
// votes suffice, and how long they carry a leadership.
type electorate interface {
	// admits says whether this node's vote may be given to a claim at all.
	admits(now Now, m *Message) Reason
	// belongs says whether a message is of this kind of electorate.
	belongs(m *Message) Reason
	// heard takes note of what a message tells of the electorate.
	heard(now Now, m *Message)
	// saw takes note of a new view.
	saw()
	// seats reports whether a member may lead in this electorate.
	seats(m *Member) bool
	// seat is this node's place, the low digits of its terms.
	seat() uint64
	// ready says from when on this node may claim; false: not before
	// something changes.
	ready(now Now) (time.Duration, bool)
	// ask returns the members that a round of claims goes to, without this node. The
	// slice is valid until the next call.
	ask(stand Stand) []string
	// watches reports whether renewals go to a member.
	watches(name string) bool
	// ballot is the key under which an answer counts.
	ballot(m *Message) string
	// counts says whether a confirm is of one who has a vote.
	counts(m *Message) Reason
	// elects reports whether the claim is won; timeout: a confirm time-out of it has just
	// ended, so that silence counts.
	elects(now Now, timeout bool) bool
	// raised reports whether the votes would do to win the term asked for.
	raised() bool
	// blocks takes note of an objection and reports whether the claim cannot
	// be won any more.
	blocks(m *Message) bool
	// lease returns until when the votes carry: to say so, and to the end.
	lease(now Now) (deadline, end time.Duration)
	// releaseBy is when the release must have ended; 0: no such time.
	releaseBy() time.Duration
	// confirmedBy is when the newest claim that a member confirmed was sent.
	confirmedBy(name string) time.Duration
	// unreached reports whether members depend on gossip to hear of the leader.
	unreached(now Now) bool
	// votes counts, in available mode, the members that have confirmed the claim, this
	// node included, and all whose vote counts.
	votes() (granted, total int)
	// reached reports whether the claim was answered by as many as it needs.
	reached() bool
	// probes returns the voters that a round of probes goes to; hears is how many voters
	// have answered the last, reaches what a member has said of that. See reach.go.
	probes(now Now) []string
	hears(now Now) int
	reaches(now Now, m *Member) (known, can bool)
	// farAhead reports whether a term that has not led yet is too far ahead of
	// everything known to be confirmed.
	farAhead(now Now, term uint64) bool
	// merges reports whether two leaderships may meet.
	merges() bool
}
