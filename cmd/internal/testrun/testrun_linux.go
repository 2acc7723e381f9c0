// Package testrun keeps tests of real processes apart from the machine that they run on:
// it starts processes ahead of ordinary ones, and notices when the machine stands still.
package testrun

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
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
	if goFirst() {
		defer unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	} else if unix.Setpriority(unix.PRIO_PROCESS, 0, -10) == nil {
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	}
	return start()
}

// goFirst has this thread scheduled in real time, if that is permitted.
func goFirst() bool {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0) == nil
}

// Stall is how late a thread that goes first may run on a machine that is fit for tests
// with leases of a second.
const Stall = 100 * time.Millisecond

// WatchStalls notices when a thread that goes first runs late by more than Stall: then the
// machine, not the program under test, was slow. The function it returns ends the watch
// and says so in one line, that ends with a new line; "" if it never happened.
func WatchStalls() (end func() string) {
	stop, said := make(chan struct{}), make(chan string)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		goFirst()
		const pause = 5 * time.Millisecond
		var stalls []string
		for {
			select {
			case <-stop:
				if len(stalls) > 0 {
					const enough = 10
					said <- fmt.Sprintf("the machine stood still, at and for: %s (%d times in all)\n",
						strings.Join(slices.Clone(stalls[:min(enough, len(stalls))]), ", "), len(stalls))
				} else {
					said <- ""
				}
				return
			default:
			}
			began := time.Now()
			// Not time.Sleep, which waits for the scheduler of Go.
			sleep := unix.NsecToTimespec(int64(pause))
			unix.Nanosleep(&sleep, nil)
			if late := time.Since(began) - pause; late > Stall {
				stalls = append(stalls, fmt.Sprintf("%s %v", began.UTC().Format("15:04:05.000"), late.Round(time.Millisecond)))
			}
		}
	}()
	return func() string {
		close(stop)
		return <-said
	}
}
