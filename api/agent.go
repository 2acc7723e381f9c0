package api

import (
	"context"
	"time"

	"doyen/agent"
)

// Agent is what the API needs of the agent; *agent.Agent is one. All methods
// are safe for concurrent use and answer from memory, except where a context
// is taken.
type Agent interface {
	// State returns this member's own state, checked against the clock now.
	State() agent.State
	// Leader returns the leader, or false when this member can vouch for none.
	// It allocates nothing.
	Leader() (agent.Leader, bool)
	// Lease returns how the leadership is held now.
	Lease() agent.Lease
	// IsLeader checks the deadline word against the clock.
	IsLeader() bool
	// Members returns the line of succession. Members that are no longer
	// reached and have not left stay in it, not alive.
	Members() []agent.MemberInfo
	// History returns the leaderships, newest first.
	History() []agent.Leadership
	// Ready says whether failover would work now.
	Ready() agent.Readiness
	// Survey asks every member, itself included, for its state, in parallel,
	// and returns when all have answered or ctx ends; a member that has not
	// answered by then has an error.
	Survey(ctx context.Context) map[string]agent.Answer
	// Subscribe streams events, the current state first. The channel is closed
	// when ctx ends or when the reader is too slow.
	Subscribe(ctx context.Context) <-chan agent.Event
	// StepDown hands over and returns once another may lead. The error wraps
	// agent.ErrRefused with the reason when it cannot be done. A ctx that ends
	// ends the waiting, not the hand-over.
	StepDown(ctx context.Context) (agent.Result, error)
	// StandAside hands over if this member leads, and is no candidate for so
	// long, at most agent.MaxAside, or until Resume. The error wraps
	// agent.ErrRefused if it leads and nobody else may; nothing has changed then.
	StandAside(ctx context.Context, d time.Duration) (agent.Result, error)
	// Resume ends the standing aside, for whatever reason it does.
	Resume(ctx context.Context) (agent.Result, error)
	// Leave hands over and leaves the group; Run then returns.
	Leave(ctx context.Context) (agent.Result, error)
	// Elect holds an election now; under a healthy, preferred leader it
	// changes nothing and Result.Note says so.
	Elect(ctx context.Context) (agent.Result, error)
	// Live is nil while the election loop turns; else it says how long it has
	// not.
	Live(limit time.Duration) error
	// Joined is nil once this member has joined and knows a leader, or has
	// decided that there is none; else it says what is missing.
	Joined() error
	// Counters returns the running totals behind /metrics.
	Counters() agent.Counters
}
