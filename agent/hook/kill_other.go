//go:build !linux

package hook

import (
	"errors"
	"os"
)

// awaitExit returns when the program has ended.
func awaitExit(program *os.Process) *os.ProcessState { return reap(program) }

// Adopt fails: only Linux has child subreapers.
func Adopt() error { return errors.New("a keeper process needs Linux") }

func killChildren() error { return nil }

// Sweep does nothing: only Linux shows the environment of processes.
func Sweep(cluster, node string) error { return nil }
