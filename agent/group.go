package agent

import (
	"context"
	"time"
)

// This file lets a program that has only the group's own election ask the agent
// itself about it.

// Group returns the group's own election.
func (a *Agent) Group() *Election { return a.group }

// IsLeader is Election.IsLeader of the group's own election.
func (a *Agent) IsLeader() bool { return a.group.IsLeader() }

// Leader is Election.Leader of the group's own election.
func (a *Agent) Leader() (Leader, bool) { return a.group.Leader() }

// Lease is Election.Lease of the group's own election.
func (a *Agent) Lease() Lease { return a.group.Lease() }

// State returns this member's own state, checked against the clock now.
func (a *Agent) State() State {
	s := a.group.State()
	s.Elections = a.Elections()
	return s
}

// Members is Election.Members of the group's own election.
func (a *Agent) Members() []MemberInfo { return a.group.Members() }

// History is Election.History of the group's own election.
func (a *Agent) History() []Leadership { return a.group.History() }

// Ready is Election.Ready of the group's own election.
func (a *Agent) Ready() Readiness { return a.group.Ready() }

// Joined is Election.Joined of the group's own election.
func (a *Agent) Joined() error { return a.group.Joined() }

// Counters is Election.Counters of the group's own election.
func (a *Agent) Counters() Counters { return a.group.Counters() }

// Status is Election.Status of the group's own election.
func (a *Agent) Status() Status { return a.group.Status() }

// Watch is Election.Watch of the group's own election.
func (a *Agent) Watch(ctx context.Context) <-chan Status { return a.group.Watch(ctx) }

// Subscribe is Election.Subscribe of the group's own election.
func (a *Agent) Subscribe(ctx context.Context) <-chan Event { return a.group.Subscribe(ctx) }

// Lead is Election.Lead of the group's own election.
func (a *Agent) Lead(ctx context.Context, f func(context.Context) error) error {
	return a.group.Lead(ctx, f)
}

// Hold is Election.Hold of the group's own election.
func (a *Agent) Hold(ctx context.Context, f func(context.Context) error) error {
	return a.group.Hold(ctx, f)
}

// StepDown is Election.StepDown of the group's own election.
func (a *Agent) StepDown(ctx context.Context) (Result, error) { return a.group.StepDown(ctx) }

// HandOver is Election.HandOver of the group's own election.
func (a *Agent) HandOver(ctx context.Context, to string, aside time.Duration) (Result, error) {
	return a.group.HandOver(ctx, to, aside)
}

// StandAside is Election.StandAside of the group's own election.
func (a *Agent) StandAside(ctx context.Context, d time.Duration) (Result, error) {
	return a.group.StandAside(ctx, d)
}

// Resume is Election.Resume of the group's own election.
func (a *Agent) Resume(ctx context.Context) (Result, error) { return a.group.Resume(ctx) }

// Elect is Election.Elect of the group's own election.
func (a *Agent) Elect(ctx context.Context) (Result, error) { return a.group.Elect(ctx) }

// SetHealth is Election.SetHealth of the group's own election.
func (a *Agent) SetHealth(ctx context.Context, fit bool) error { return a.group.SetHealth(ctx, fit) }
