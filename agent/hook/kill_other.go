//go:build !linux

package hook

import (
	"errors"
	"os"
	"syscall"
)

// awaitExit returns when the program has ended.
func awaitExit(program *os.Process) *os.ProcessState { return reap(program) }

// Adopt fails: only Linux has child subreapers.
func Adopt() error { return errors.New("a keeper process needs Linux") }

func killChildren() error { return nil }

// The sweeps do nothing: only Linux shows the environment of processes.

func Sweep(cluster, node string) error         { return nil }
func SweepHealth(run string) error             { return nil }
func SweepHealthOf(cluster, node string) error { return nil }

// dieWithParent does nothing: only Linux can.
func dieWithParent(*syscall.SysProcAttr) {}
