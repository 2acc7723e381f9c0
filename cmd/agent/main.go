package main

import (
	"context"
	"os"

	"doyen/agent/keeper"
)

func main() {
	// The keeper is this program again, started by the agent: it must not wait
	// for, or fail on, anything that a command line needs.
	if len(os.Args) > 1 && os.Args[1] == keeper.Command {
		os.Exit(keeper.Main(os.Args[2:]))
	}
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
