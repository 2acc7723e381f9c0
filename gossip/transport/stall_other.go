//go:build !linux

package transport

import "syscall"

// endStalled does nothing where no agent runs.
func endStalled(_, _ string, _ syscall.RawConn) error { return nil }
