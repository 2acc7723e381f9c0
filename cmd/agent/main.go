package main

import (
	"context"
	"os"

	"doyen/agent"
)

func main() {
	// The keeper is this program again: it must not wait for, or fail on,
	// anything that a command line needs.
	agent.Init()
	if os.Getpid() == 1 {
		os.Exit(runFirst(os.Args, os.Stderr))
	}
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
