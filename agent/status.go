package agent

import (
	"encoding/json"
	"time"
)

// Version is the version of the program; the linker sets it in releases.
var Version = "dev"

// State is one member's own state, as GET /state and /diag show it.
type State struct {
	Name      string   `json:"name"`
	Addr      string   `json:"addr"`
	Members   []string `json:"members"`
	Leader    *string  `json:"leader"`
	Term      uint64   `json:"term"`
	StartTime float64  `json:"start_time"`
	Role      string   `json:"role"`
	Rule      string   `json:"rule"`
	IsLeader  bool     `json:"is_leader"`
	Electing  bool     `json:"electing"`
	Mode      string   `json:"mode"`
	Voters    []string `json:"voters,omitempty"`
	LeaseMS   int64    `json:"lease_ms,omitempty"`
	Hook      *HookRun `json:"hook"`
	PID       int      `json:"pid"`
	KeeperPID *int     `json:"keeper_pid"`
	Version   string   `json:"version"`

	// Beyond the contract.

	// Cluster is the name of the cluster.
	Cluster string `json:"cluster"`
	// Phase is following, waiting, claiming, holding or yielding.
	Phase string `json:"phase"`
	// Eligible is false while this member may not be elected.
	Eligible bool `json:"eligible"`
	// MaintenanceUntil is until when this member stands aside because somebody
	// asked it to for a time; null: nobody did, or the time is over.
	MaintenanceUntil *time.Time `json:"maintenance_until"`
	// Health is how the health check goes; null without one, and before its
	// first result.
	Health *Health `json:"health"`
	// Reason says why the leader last changed.
	Reason string `json:"reason,omitempty"`
	// WallTime is this member's clock in Unix seconds when it answered.
	WallTime float64 `json:"wall_time"`
	// LeaderHeardMS is how long ago this member last heard its leader, in
	// milliseconds; 0 on the leader, -1 when it has none.
	LeaderHeardMS int64 `json:"leader_heard_ms"`
	// Findings are what this member itself has noticed and a person should know.
	Findings []Finding `json:"findings"`
}

// HookRun is the last run of the hook on a member.
type HookRun struct {
	Event      string  `json:"event"`
	Term       uint64  `json:"term"`
	Exit       int     `json:"exit"` // exit status; -1: it did not exit by itself or did not start
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
	Running    bool    `json:"running"`
}

// Health is how the health check of a member goes.
type Health struct {
	Healthy bool `json:"healthy"` // the verdict
	// Exit, Error, DurationMS and At are of the last run; see HookRun.
	Exit       int       `json:"exit"`
	Error      string    `json:"error,omitempty"`
	DurationMS float64   `json:"duration_ms"`
	At         time.Time `json:"at"`
	// InARow is how many runs in a row have gone like it.
	InARow int `json:"in_a_row"`
}

// Finding is something a person should know, and what to do about it.
type Finding struct {
	What     string `json:"what"`   // a stable word, such as "name-clash"
	Member   string `json:"member"` // whom it is about
	Evidence string `json:"evidence"`
	Advice   string `json:"advice"`
	// Degrades is true when the finding needs a hand: the verdict is then at
	// best "degraded".
	Degrades bool `json:"degrades"`
}

// Leader is what GET /leader answers in JSON.
type Leader struct {
	Leader string    `json:"leader"`
	Addr   string    `json:"addr"`
	Term   uint64    `json:"term"`
	Since  time.Time `json:"since"`
	Self   bool      `json:"self"`
}

// Lease is how the leadership is held at one instant, as one member sees it:
// the event "lease" of GET /events.
type Lease struct {
	Leader   *string `json:"leader"`
	Term     uint64  `json:"term"`
	IsLeader bool    `json:"is_leader"`
	Electing bool    `json:"electing"`
	Phase    string  `json:"phase"`
	// LeftMS is how long the leader leads, or on a follower is taken to lead,
	// unless it renews. OfMS is how long that was when it last renewed.
	LeftMS int64 `json:"left_ms"`
	OfMS   int64 `json:"of_ms"`
}

// MemberInfo is one member in the line of succession.
type MemberInfo struct {
	Name      string  `json:"name"`
	Addr      string  `json:"addr"`
	ID        uint64  `json:"id"`
	Role      string  `json:"role"`
	Rank      int     `json:"rank"` // 1 is the first in the line of succession
	StartTime float64 `json:"start_time"`
	Alive     bool    `json:"alive"`
	Eligible  bool    `json:"eligible"`
}

// Leadership is one entry of the history, newest first.
type Leadership struct {
	Term        uint64     `json:"term"`
	Leader      string     `json:"leader"`
	From        time.Time  `json:"from"`
	To          *time.Time `json:"to"`
	Reason      string     `json:"reason"`               // why it began
	EndReason   string     `json:"end_reason,omitempty"` // why it ended
	DetectionMS float64    `json:"detection_ms"`         // from the last sign of the old leader to the start of the election
	ConfirmMS   float64    `json:"confirm_ms"`           // from the claim to the win
	HookMS      float64    `json:"hook_ms"`              // how long acquire took
}

// Readiness is what GET /ready answers.
type Readiness struct {
	Ready           bool     `json:"ready"`
	WouldLead       *string  `json:"would_lead"`
	WorstFailoverMS int64    `json:"worst_failover_ms"`
	LeastFailoverMS int64    `json:"least_failover_ms"` // when the leader's host dies, usually,
	UsualFailoverMS int64    `json:"usual_failover_ms"` // between this and that
	ReleaseBudgetMS int64    `json:"release_budget_ms"`
	DriftPPM        int      `json:"drift_ppm"` // by how much clock rates may differ, parts per million
	Reasons         []string `json:"reasons"`
}

// Answer is what one member said when all were asked: its state as JSON, or
// an error.
type Answer struct {
	State json.RawMessage
	Err   error
	// UDP is false when the member answered over TCP and not a UDP probe.
	UDP bool
	// RTT is how long the answer took.
	RTT time.Duration
}

// Event is one entry of the live stream.
type Event struct {
	// Kind is state, leader, member, election, hook, health or maintenance.
	Kind string `json:"kind"`
	// Time is when it happened, by this member's wall clock.
	Time time.Time `json:"time"`
	// Data is the event itself; it must marshal to a JSON object.
	Data any `json:"data"`
}

// The data of the events.
type (
	// LeaderEvent: the leader this member follows changed.
	LeaderEvent struct {
		Leader   *string `json:"leader"`
		Previous *string `json:"previous"`
		Term     uint64  `json:"term"`
		Reason   string  `json:"reason"`
		Self     bool    `json:"self"`
	}
	// MemberEvent: a member joined, left, or changed.
	MemberEvent struct {
		Change string     `json:"change"` // join, leave, update
		Member MemberInfo `json:"member"`
	}
	// MaintenanceEvent: this member stands aside for a time, or no longer.
	MaintenanceEvent struct {
		Until *time.Time `json:"until"`
	}
	// ElectionEvent: a claim, a confirm or an objection.
	ElectionEvent struct {
		What   string `json:"what"` // claimed, confirmed, objected, promised, refused-claim, won, lost, …
		Peer   string `json:"peer,omitempty"`
		Term   uint64 `json:"term"`
		Reason string `json:"reason,omitempty"`
	}
)
