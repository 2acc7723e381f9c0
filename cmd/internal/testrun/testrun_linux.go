// Package testrun keeps tests of real processes apart from the machine that they run on:
// it starts processes ahead of ordinary ones, and notices when the machine stands still.
package testrun

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// First calls start, which starts a process, such that the process goes before what else
// the machine does: round robin of real time (sched(7)), else a nice value of -10, else as
// any other. A child is scheduled like the thread that starts it. A nice value alone counts
// little where each session has its share of the processors (sched(7), autogroup).
func First(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if goFirst(1) == nil {
		defer unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	} else if unix.Setpriority(unix.PRIO_PROCESS, 0, -10) == nil {
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	}
	return start()
}

// goFirst has this thread scheduled in real time, with a priority of 1 or more.
func goFirst(priority uint32) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: priority}, 0)
}

// WatchStalls calls stood whenever a thread that goes before all that First has started
// has run late by more than limit: then the machine, not a program under test, was slow.
// It returns when ctx is over, or the error with which the thread may not go first.
func WatchStalls(ctx context.Context, limit time.Duration, stood func(from time.Time, late time.Duration)) error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := goFirst(2); err != nil {
		return err
	}
	const pause = 5 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		// Not time.Sleep, which waits for the scheduler of Go.
		sleep := unix.NsecToTimespec(int64(pause))
		unix.Nanosleep(&sleep, nil)
		if late := time.Since(began) - pause; late > limit {
			stood(began, late)
		}
	}
	return nil
}
