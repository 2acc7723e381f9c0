package agent

import (
	"errors"
	"time"
)

// ErrRefused is wrapped by the errors of requests that cannot be carried out
// now; the error's text gives the reason as one sentence.
var ErrRefused = errors.New("refused")

// ErrNotStored is wrapped by the errors of requests that have been carried out, and that the
// state directory could not take in: a restart would forget them. It is tried again.
var ErrNotStored = errors.New("it is done, but a restart would forget it")

// Result is what a request that changes something answers.
type Result struct {
	OK     bool   `json:"ok"`
	Leader string `json:"leader,omitempty"` // who leads, or is to lead, now
	Self   bool   `json:"self,omitempty"`   // Leader is this member
	Term   uint64 `json:"term,omitempty"`
	Note   string `json:"note,omitempty"`
	// To is the name of the member that a hand-over was to. If Leader is another, that
	// member has not taken the lead.
	To string `json:"to,omitempty"`
	// Until is when a time of standing aside ends that was asked for.
	Until *time.Time `json:"until,omitempty"`
	// StillLeads and MayLead are what standing aside in the group's own election leaves
	// as it is: the further elections that this member leads, and the others that it is
	// a candidate of. StillAside are those in which it stands aside on request after the
	// end of that in the group's own.
	StillLeads []string `json:"still_leads,omitempty"`
	MayLead    []string `json:"may_lead,omitempty"`
	StillAside []string `json:"still_aside,omitempty"`
}

// Counters are running totals since the start, for metrics.
type Counters struct {
	Elections     uint64            // claims this node made
	LeaderChanges uint64            // times the leader it follows changed
	Wins          uint64            // leaderships it won
	Losses        map[string]uint64 // leaderships it lost, by reason
	Messages      map[string]uint64 // election messages, by "sent|received" + "/" + kind
	Dropped       map[string]uint64 // messages refused or ignored, by reason
	// AddressEvents counts what happened to the floating addresses, by Event.What.
	AddressEvents map[string]uint64
	HookRuns      map[string]uint64 // by event + "/" + "ok|failed|overtaken"
	HookSeconds   map[string]float64
	GossipDropped map[string]uint64 // packets and streams refused by the gossip layer, by reason
	Health        HealthCounters
	Failover      FailoverSeconds
}

// HealthCounters are what the health checks have come to.
type HealthCounters struct {
	OK, Failed uint64
	Seconds    float64
}

// FailoverSeconds are the parts of the last election this node won.
type FailoverSeconds struct {
	Detection, Confirm, Hook float64
}
