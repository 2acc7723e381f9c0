package main

import (
	"context"
	"os"
	"runtime/debug"

	"doyen/agent"
	"doyen/agent/supervise"
)

// gcPercent has the garbage collected earlier than Go's usual 100: the agent
// lives beside what matters on the host, and what strangers make it allocate
// should not show.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// The keeper is this program again, and so is the guard of a command: they must not wait for, or fail on,
	// anything that a command line needs.
	agent.Init()
	supervise.Init()
	if os.Getpid() == 1 {
		os.Exit(runFirst(os.Args, os.Stderr))
	}
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
