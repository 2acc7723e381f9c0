package hook

import (
	"context"
	"os"
	"runtime"
	"time"
)

// Health runs the health check. Its runs must not overlap.
type Health struct {
	// Path is the program, as an absolute path. It gets no arguments.
	Path string
	// Cluster, Node and Addr are what it is told of this member.
	Cluster, Node, Addr string
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
		{"DEADLINE_MS", deadline(limit)},
		{runMark, h.Run},
	})}
	p.clean = func() error {
		if ctx.Err() == nil {
			return nil // it ended by itself, and its group with it
		}
		return SweepHealth(h.Run)
	}
	return p.run(ctx)
}

// runMark is the variable that only processes of health checks have, and hooks
// do not.
const runMark = "RUN"
