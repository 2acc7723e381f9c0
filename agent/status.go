package agent

import (
	"encoding/json"
	"time"

	"doyen/agent/history"
	"doyen/agent/members"
	"doyen/gossip/findings"
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
	// Command is the command that runs while this member leads; null: none.
	Command *CommandState `json:"command"`
	// Watchdog is how the watchdog of the host goes; null: none.
	Watchdog *WatchdogState `json:"watchdog,omitempty"`
	// Addresses are the floating addresses, and whether this member has them on
	// its interfaces, as its keeper said last.
	Addresses []AddressState `json:"addresses"`
	PID       int            `json:"pid"`
	KeeperPID *int           `json:"keeper_pid"`
	Version   string         `json:"version"`

	// Beyond the contract.

	// Cluster is the name of the cluster.
	Cluster string `json:"cluster"`
	// VoterEntries are the voters as the list of this member has them; Voters are the
	// names of the members that they are, as far as those are known.
	VoterEntries []string `json:"voter_entries,omitempty"`
	// Phase is following, waiting, claiming, holding or yielding.
	Phase string `json:"phase"`
	// Eligible is false while this member may not be elected, as no witness or observer may.
	Eligible bool `json:"eligible"`
	// MaintenanceUntil is until when this member stands aside because somebody
	// asked it to for a time; null: it was not asked to, or the time is over.
	MaintenanceUntil *time.Time `json:"maintenance_until"`
	// Health is how the health check goes; null without one, and before its
	// first result.
	Health *Health `json:"health"`
	// LeaderSince is when the leadership began; null without a leader.
	LeaderSince *time.Time `json:"leader_since"`
	// Reason says why the leader last changed.
	Reason string `json:"reason,omitempty"`
	// Previous is who led before, as far as this member has seen.
	Previous string `json:"previous_leader,omitempty"`
	// WallTime is this member's clock in Unix seconds when it answered.
	WallTime float64 `json:"wall_time"`
	// LeaderHeardMS is how long ago this member last heard its leader, in
	// milliseconds; 0 on the leader, -1 when it has none.
	LeaderHeardMS int64 `json:"leader_heard_ms"`
	// JoinedSeeds are the seeds that were added while this member ran, by Join or
	// POST /join; a restart forgets them.
	JoinedSeeds []string `json:"joined_seeds,omitempty"`
	// Elections are all elections that this member knows, by name; the group's own
	// is group. They are in the state of the group's own alone.
	Elections map[string]ElectionInfo `json:"elections,omitempty"`
	// Findings are what this member itself has noticed and a person should know.
	Findings []Finding `json:"findings"`
}

// ElectionInfo is one election as a member sees it: an entry of GET /elections.
type ElectionInfo struct {
	Leader *string    `json:"leader"` // null: none that this member can vouch for
	Addr   string     `json:"addr"`   // of the leader
	Term   uint64     `json:"term"`
	Since  *time.Time `json:"since"`  // null without a leader
	Self   bool       `json:"self"`   // the answering member leads it
	Placed *string    `json:"placed"` // the member that the placement wants to lead it; null: none
	// Candidates are the members that may lead it now, the first first.
	Candidates []string `json:"candidates"`
	// Addresses are its floating addresses, as the answering member holds them.
	Addresses []AddressState `json:"addresses"`
	Command   *CommandState  `json:"command"`
}

// AddressState is one floating address on a member.
type AddressState struct {
	Address   string    `json:"address"` // with the length of its network
	Interface string    `json:"interface"`
	Held      bool      `json:"held"`
	Since     time.Time `json:"since"` // since when Held is as it is
}

// AddressEvent is one thing that happened to a member's floating addresses: the
// event "address" of GET /events.
type AddressEvent struct {
	What      string         `json:"what"` // taken, put-back, not-held, given-up, or the name of a finding
	Evidence  string         `json:"evidence,omitempty"`
	Over      bool           `json:"over,omitempty"` // the finding has ended
	Addresses []AddressState `json:"addresses"`
}

// HookRun is the last run of the hook on a member.
type HookRun struct {
	Event      string  `json:"event"`
	Term       uint64  `json:"term"`
	Exit       int     `json:"exit"` // exit status; -1: it did not exit by itself or did not start
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
	Running    bool    `json:"running"`
	// Overtaken: it was ended because something newer made it pointless, which
	// is no failure.
	Overtaken bool `json:"overtaken,omitempty"`
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
type Finding = findings.Finding

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
	// LeadMS is how long a leader goes on saying that it leads, unless it renews:
	// in quorum mode the release budget ends the lease. 0 on a follower.
	LeadMS int64 `json:"lead_ms"`
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
	Eligible  bool    `json:"eligible"` // it may be elected, which no witness or observer may
	// Leads is true of the leader that the answering member follows or is.
	Leads bool `json:"leads"`
	// Unfit is why a candidate is not eligible, in a word such as unhealthy.
	Unfit string `json:"unfit,omitempty"`
	// Voter is the entry of voters that the member found itself to be.
	Voter string `json:"voter,omitempty"`
	// Died: it is not alive, and its keeper has told so; it leads nowhere.
	Died bool `json:"died,omitempty"`
}

// memberInfo is a member as the API shows it.
func memberInfo(m *members.Info) MemberInfo {
	return MemberInfo{
		Name: m.Name, Addr: m.Addr, ID: m.ID, Role: m.Role.String(), Rank: m.Rank, StartTime: seconds(m.Start),
		Alive: m.Alive, Eligible: m.Eligible, Unfit: m.Unfit, Voter: m.Voter, Died: m.Died,
	}
}

// Leadership is one entry of the history: who led under which term, from when to when,
// why it began and ended, and how long the failover took.
type Leadership = history.Leadership

// Readiness is what GET /ready answers.
type Readiness struct {
	Ready           bool     `json:"ready"`
	WouldLead       *string  `json:"would_lead"`
	WorstFailoverMS int64    `json:"worst_failover_ms"`
	LeastFailoverMS int64    `json:"least_failover_ms"` // when the leader's host dies, usually,
	UsualFailoverMS int64    `json:"usual_failover_ms"` // between this and that
	ReleaseBudgetMS int64    `json:"release_budget_ms"`
	DriftPPM        int      `json:"drift_ppm"` // by how much clock rates may differ, parts per million
	Hook            bool     `json:"hook"`      // there is a hook, whose own time comes on top
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
	// Kind is state, leader, member, election, hook, command, address, health or
	// maintenance.
	Kind string `json:"kind"`
	// Time is when it happened, by this member's wall clock.
	Time time.Time `json:"time"`
	// Data is the event itself; it must marshal to a JSON object.
	Data any `json:"data"`
}

// The data of the events.
type (
	// LeaderEvent: the leader this member follows changed, or its term.
	LeaderEvent struct {
		Leader *string `json:"leader"`
		// Previous is who led before; the same when the leader has only raised its term.
		Previous *string `json:"previous"`
		Term     uint64  `json:"term"`
		Reason   string  `json:"reason"`
		Self     bool    `json:"self"`
		// Since is when the leadership began; null without a leader. It is the
		// same when the leader has only raised its term.
		Since *time.Time `json:"since"`
	}
	// MemberEvent: a member joined, left, or changed.
	MemberEvent struct {
		Change string `json:"change"` // join, leave, update
		// Reason of a leave is lost if the member did not say that it leaves, of
		// an update restarted if it is another run.
		Reason string     `json:"reason,omitempty"`
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
