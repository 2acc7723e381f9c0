package seniority

import (
	"time"
)

// Now is one reading of both clocks of a host.
type Now struct {
	// Boot is the time since some fixed instant by a clock that never jumps
	// and that counts suspended time (CLOCK_BOOTTIME). All timers use it.
	Boot time.Duration
	// Wall is the Unix time in milliseconds. It only proposes terms.
	Wall int64
}

// InputKind says what an Input brings.
type InputKind uint8

// The kinds of input.
const (
	// Tick: the time that Output.Wake asked for has come (early is harmless).
	Tick InputKind = iota
	// Receive: Message has arrived.
	Receive
	// View: Members is now the whole list of members believed alive, this node
	// included; Settled says that every seed has answered or refused, Apart that
	// this node may have been cut off and has not found the others again. Rule, if
	// any, is the rule from now on: a node that only votes learns it from candidates.
	View
	// Gone: the process of member Name, of run Incarnation, is known to have
	// ended (its connection was closed by its host).
	Gone
	// StepDown: hand the leadership over for Reason and stand aside for Aside
	// (0: long enough for another to take over), to the member Name ("": the
	// first that suits). It is refused as NotEligible if that member may not lead,
	// and as NotAnswering if it has not answered within the last lease; it is
	// asked then, so that the same a round trip later may go through.
	StepDown
	// Released: the release of term Term has ended; the hand-over may go on.
	Released
	// Fired: the leadership of Term is over at once for Reason: the keeper
	// fired or is gone.
	Fired
	// Health: Eligible says whether this node may lead at all: its health check
	// passes, the deadline can be armed (the keeper runs), a term can be stored,
	// the links are up. While it may not, this node claims nothing, tells the
	// others by Status.Eligible, and a leader hands over as soon as another may
	// lead. Reason says what is missing (None: Unhealthy). The newest input
	// counts, so the caller combines all conditions first.
	Health
	// Elect: hold an election now.
	Elect
	// StandAside: leave the lead to others for Aside from now on; zero or less:
	// no longer. A leader goes on until another may lead.
	StandAside
	// Choose: Choice is the placement of this election now. Its members come first
	// in the line of succession, before those that the rule would put there. It is
	// advice: an election without it, or with an old one, is as safe and as fast.
	Choose
)

// Input is one thing that happened. Only the fields named at its kind are read, and
// Log, which belongs to all: it is where the log of this node ends now.
type Input struct {
	Kind        InputKind
	Log         Log
	Message     Message
	Members     []Member
	Settled     bool
	Apart       bool
	Name        string
	Incarnation uint64
	Reason      Reason
	Aside       time.Duration
	Term        uint64
	Eligible    bool
	Choice      Choice
	Rule        Rule
}

// Output is what the caller must do after a Step, in the order of the fields.
// It is valid until the next Step; the caller copies what it keeps.
type Output struct {
	// Persist, when not zero, is a term to store durably before anything below
	// is done, with PersistOf, the claimant that it is confirmed to, and MaxLease, the
	// longest lease that this run may have promised: what former runs promised has run
	// out.
	Persist   uint64
	PersistOf Holder
	MaxLease  time.Duration
	// Status is the new state. While Status.Leading, the caller extends the
	// deadline word to Status.Deadline before it sends or publishes; if the
	// word has fired, it feeds Fired instead and drops the rest.
	Status Status
	// Messages are to be sent, in order; each may be lost.
	Messages []Message
	// Notes tell of what happened, for logs, streams and counters.
	Notes []Note
	// Refused, when not None, says why a StepDown or an Elect did nothing.
	Refused Reason
	// Wake is the boot time at which to Step with Tick at the latest; zero
	// means that nothing is pending.
	Wake time.Duration
}

// Phase is what this node is doing.
type Phase uint8

// The phases.
const (
	// Following: there is a leader, or none and nothing to do about it.
	Following Phase = iota
	// Waiting: there is no leader; this node claims when its turn comes.
	Waiting
	// Claiming: this node has claimed and waits for confirms.
	Claiming
	// Holding: this node leads.
	Holding
	// Yielding: this node has stopped leading and its release is under way.
	Yielding
)

// Status is the state of a core after a Step. It is a value.
type Status struct {
	Phase Phase
	// Leader is the member that leads as far as this node can vouch for it,
	// or "". It is "" on a leader that is stepping down.
	Leader string
	// Term is the term of Leader, or without one the highest term known.
	Term uint64
	// Leading is true while this node leads; only until Deadline.
	Leading bool
	// Deadline is when this node stops saying that it leads unless renewed,
	// LeaseEnd when the lease itself ends: by then release has ended or is
	// killed. In available mode both are the same and always ahead.
	Deadline, LeaseEnd time.Duration
	// Doubtful is true while this node leads and won after a leader had fallen silent,
	// without the votes of all: that leader may be well; and while it hears of a leader that
	// is preferred when the two meet, or only members that follow one.
	Doubtful bool
	// AloneAt is when this node, without a leader, may lead although no member answers it
	// (boot time); 0: as soon as its claim has gone unanswered for three confirm time-outs.
	AloneAt time.Duration
	// Lapse is, on a member that follows Leader, when it takes it for gone
	// unless it hears of it again (boot time).
	Lapse time.Duration
	// Since is when the leadership began (boot time), while Leading.
	Since time.Duration
	// Reason says why the leader last changed.
	Reason Reason
	// Previous is the leader before Leader.
	Previous string
	// Electing: an election is under way as far as this node knows.
	Electing bool
	// Releasing is the term whose release must be run and answered with
	// Released, or 0; ReleaseBy is when it must have ended (boot time; 0: the
	// hook's own limit). Successor is who is to lead next, if planned.
	Releasing uint64
	ReleaseBy time.Duration
	Successor string
	// Lasted is how long the leadership has lasted, as it counts where two meet.
	Lasted time.Duration
	// Join is this node's join number, to be published in its meta.
	Join Join
	// Eligible is what to publish in its meta: it may lead, does not stand aside,
	// and runs no release.
	Eligible bool
	// Will is the secret of the term led, for the keeper.
	Will [32]byte
	// Highest is the highest term known.
	Highest uint64
	// Terms says what is wrong with the terms that this node would claim, or None:
	// ClockBeyond, which in quorum mode keeps it from claiming while it knows of no
	// term, or TermsUsedUp, which keeps it from claiming.
	Terms Reason
	// AsideUntil is until when this node stands aside (boot time; 0: it does not).
	AsideUntil time.Duration
	// AbstainTill is until when this node, just started, promises nothing (boot
	// time; 0: it is over).
	AbstainTill time.Duration
	// Answers is how many voters, itself included, answered this node's last claim
	// if that came to nothing for want of votes; 0: none did since the last leader.
	Answers int
}

// NoteKind says what a Note tells.
type NoteKind uint8

// The kinds of note.
const (
	// Claimed: this node claims Term.
	Claimed NoteKind = iota + 1
	// Confirmed: Peer confirmed this node's claim of Term.
	Confirmed
	// Objected: Peer objected to this node's claim of Term for Reason.
	Objected
	// Promised: this node promised Term to Peer.
	Promised
	// RefusedClaim: this node refused Peer's claim of Term for Reason.
	RefusedClaim
	// Ignored: a message of Peer was dropped for Reason.
	Ignored
	// Won: this node leads Term.
	Won
	// Lost: this node's leadership or claim of Term ended for Reason.
	Lost
	// LeaderChanged: the leader this node follows is now Peer ("": none).
	LeaderChanged
	// OtherLeader: while this node leads there is a sign that Peer leads too.
	OtherLeader
	// Numbered: this node got a join number.
	Numbered
	// Awoke: this node was paused for longer than its lease.
	Awoke
	// OtherYielded: Peer, which led Term as well, has yielded to this node.
	OtherYielded
	// Stayed: a hand-over was due for Reason and no other member may lead.
	Stayed
	// Unanswered: too few members answered this node's claim of Term. It has led in vain
	// before, so it does not lead without them before Status.AloneAt.
	Unanswered
)

// Note is one thing that happened in a Step.
type Note struct {
	Kind   NoteKind
	Peer   string
	Term   uint64
	Reason Reason
	Paused time.Duration // of Awoke: for how long at least
}
