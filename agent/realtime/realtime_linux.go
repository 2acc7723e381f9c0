package realtime

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Missing says what this process lacks to be scheduled in real time, as a
// clause for a sentence; "": nothing. Both round robin and first in, first out
// will do (sched(7)).
func Missing() string {
	attr, err := unix.SchedGetAttr(0, 0)
	switch {
	case err != nil:
		return fmt.Sprintf("the kernel does not tell how it is scheduled (%v)", err)
	case attr.Policy != unix.SCHED_RR && attr.Policy != unix.SCHED_FIFO && attr.Policy != unix.SCHED_DEADLINE:
		return "it is scheduled like any other program"
	}
	return ""
}

// LockMemory keeps what this process has in memory, and what it will have, from
// being paged out (mlock2(2), MLOCK_ONFAULT: only pages that are used count).
// It needs CAP_IPC_LOCK or an RLIMIT_MEMLOCK that suffices.
func LockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("locking the memory of this process: %w", err)
	}
	return nil
}
