package api

import (
	"context"
	"time"

	"doyen/agent"
)

// Agent is what the API needs of the agent; *agent.Agent is one. As an Election it
// is the group's own.
type Agent interface {
	Election
	// Survey asks every member, itself included, for its state, in parallel,
	// and returns when all have answered or ctx ends; a member that has not
	// answered by then has an error.
	Survey(ctx context.Context) map[string]agent.Answer
	// Join adds one more seed until the restart. The error wraps agent.ErrRefused,
	// or says what is wrong with the address.
	Join(ctx context.Context, addr string) (agent.Result, error)
	// Leave hands over and leaves the group; Run then returns.
	Leave(ctx context.Context) (agent.Result, error)
	// Live is nil while the election loop turns; else it says how long it has
	// not.
	Live(limit time.Duration) error
	// Joined is nil once this member has joined and knows a leader, or has
	// decided that there is none; else it says what is missing.
	Joined() error
	// Elections describes all elections, by name; the group's own is group.
	Elections() map[string]agent.ElectionInfo
}

// Election is what the API needs of one election; *agent.Election is one, and so is
// an Agent, of the group's own. All methods are safe for concurrent use and answer
// from memory, except where a context is taken.
type Election interface {
	// State returns this member's own state, checked against the clock now.
	State() agent.State
	// Leader returns the leader, or false when this member can vouch for none.
	// It allocates nothing.
	Leader() (agent.Leader, bool)
	// Lease returns how the leadership is held now.
	Lease() agent.Lease
	// Hold runs f under each leadership of this member until ctx ends; the context
	// given to f carries the term and ends with the leadership, and a planned
	// hand-over waits until f has returned. See agent.Election.Hold.
	Hold(ctx context.Context, f func(context.Context) error) error
	// IsLeader checks the deadline word against the clock.
	IsLeader() bool
	// Members returns the line of succession. Members that are no longer
	// reached and have not left stay in it, not alive.
	Members() []agent.MemberInfo
	// History returns the leaderships, newest first.
	History() []agent.Leadership
	// Ready says whether failover would work now.
	Ready() agent.Readiness
	// Subscribe streams events, the current state first. The channel is closed
	// when ctx ends or when the reader is too slow.
	Subscribe(ctx context.Context) <-chan agent.Event
	// StepDown hands over and returns once another may lead. The error wraps
	// agent.ErrRefused with the reason when it cannot be done. A ctx that ends
	// ends the waiting, not the hand-over.
	StepDown(ctx context.Context) (agent.Result, error)
	// HandOver hands over to a member by its name, and stands aside for so long; 0:
	// a minute. The error wraps agent.ErrRefused with the reason when that member
	// may not lead, or this one does not.
	HandOver(ctx context.Context, to string, aside time.Duration) (agent.Result, error)
	// StandAside hands over if this member leads, and is no candidate for so
	// long, at most agent.MaxAside, or until Resume. The error wraps
	// agent.ErrRefused if it leads and no other member may; nothing has changed then.
	StandAside(ctx context.Context, d time.Duration) (agent.Result, error)
	// Resume ends the standing aside, for any reason.
	Resume(ctx context.Context) (agent.Result, error)
	// Elect holds an election now; under a healthy, preferred leader it
	// changes nothing and Result.Note says so.
	Elect(ctx context.Context) (agent.Result, error)
	// Counters returns the running totals behind /metrics.
	Counters() agent.Counters
}
