package keeper

import (
	"fmt"
	"os"
)

// Command is the first argument of a keeper process.
const Command = "keeper"

// initialised is set by Init, which main calls before anything else runs.
var initialised bool

// Init must come first in the main of a program that runs agents with a keeper
// process. In that process, which is the same program again, it does not
// return.
func Init(tools Tools) {
	initialised = true
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(Main(tools))
	}
}

// Available reports whether Init was called, so that Start can work.
func Available() bool { return initialised }

// Main runs a keeper process and returns its exit status. Init calls it.
func Main(tools Tools) int {
	if err := serve(tools); err != nil {
		fmt.Fprintf(os.Stderr, "keeper: %v\n", err)
		return 2
	}
	return 0
}
