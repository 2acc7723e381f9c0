package realtime

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMissing(t *testing.T) {
	runtime.LockOSThread() // the policy is a thread's; it ends with the goroutine
	set := func(policy uint32, priority uint32) error {
		return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}, 0)
	}
	if err := set(unix.SCHED_NORMAL, 0); err != nil {
		t.Fatal(err)
	}
	if got := Missing(); !strings.Contains(got, "like any other program") {
		t.Errorf("an ordinary program misses: got %q", got)
	}
	for _, policy := range []uint32{unix.SCHED_RR, unix.SCHED_FIFO} {
		if err := set(policy, 1); err != nil {
			t.Skipf("this user may not ask for real-time scheduling: %v", err)
		}
		if got := Missing(); got != "" {
			t.Errorf("under policy %d it misses: got %q, want nothing", policy, got)
		}
	}
}
