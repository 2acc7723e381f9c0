//go:build !linux

package realtime

import "errors"

// Missing says what this process lacks to be scheduled in real time.
func Missing() string { return "real-time scheduling is known on Linux only" }

// LockMemory fails: it is known on Linux only.
func LockMemory() error { return errors.New("locking memory is known on Linux only") }
