//go:build !linux

package hook

import (
	"errors"
	"os"
	"syscall"
)

// awaitExit returns when the program has ended, and reaps it.
func awaitExit(program *os.Process) (state *os.ProcessState, success bool) {
	state = reap(program)
	return state, state.Success()
}

// Reaper needs Linux.
type Reaper struct{}

// Adopt fails: only Linux has child subreapers.
func Adopt() (*Reaper, error) { return nil, errors.New("a keeper process needs Linux") }

func (*Reaper) start(_ *tree, start func() (*os.Process, error)) (*os.Process, error) {
	return start()
}
func (*Reaper) forget(int)                   {}
func (*Reaper) signal(*tree, syscall.Signal) {}
func (*Reaper) list(*tree) []string          { return nil }
func (*Reaper) kill(*tree) error             { return nil }

// The sweeps do nothing: only Linux shows the environment of processes.

func Sweep(Owner) error                        { return nil }
func SweepHealth(run string) error             { return nil }
func SweepHealthOf(cluster, node string) error { return nil }
func sweepClass(*tree) ([]string, error)       { return nil, nil }

// dieWithParent does nothing: only Linux can.
func dieWithParent(*syscall.SysProcAttr) {}
