package hook

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"time"

	"doyen/gossip/portable"
)

// Health runs the health check. Its runs must not overlap.
type Health struct {
	// Path is the program, as an absolute path. It gets no arguments.
	Path string
	// Cluster, Node, Addr and API are what it is told of this member, as in Env.
	Cluster, Node, Addr, API string
	// Run names this run of the agent, and marks its processes.
	Run string
}

// Check runs the check once and waits until its process group is dead. When
// ctx ends it is killed, and the cause of ctx is the error. It is killed as well
// when this process dies.
func (h *Health) Check(ctx context.Context, limit time.Duration) Result {
	// The kernel tells a program that its parent has died when the thread that
	// started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := program{path: h.Path, mortal: true, env: overlay(os.Environ(), []variable{
		{"CLUSTER", h.Cluster},
		{"NODE", h.Node},
		{"ADDR", h.Addr},
		{"API", h.API},
		{"DEADLINE_MS", deadline(limit)},
		{runMark, h.Run},
	})}
	p.clean = func(group int) error {
		if ctx.Err() == nil && groupIsEmpty(group) {
			return nil // it ended by itself, and its group with it
		}
		return SweepHealth(h.Run)
	}
	return p.run(ctx)
}

// groupIsEmpty reports whether a process group has no member any more: what has
// been killed is one until it has ended and been reaped.
func groupIsEmpty(group int) bool { return portable.SignalGroup(group, 0) == syscall.ESRCH }

// runMark is the variable that only processes of health checks have, and hooks
// do not.
const runMark = "RUN"
