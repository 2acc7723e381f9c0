package main

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// needsLinux is nil: an agent runs here.
func needsLinux() error { return nil }

// dieTogether has the kernel end a process when the thread that has started it ends,
// and keeps the terminal's signals from it.
func dieTogether() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// monotonic is the time of the clock that systemd compares with.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
