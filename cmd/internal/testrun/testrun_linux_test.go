package testrun

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFirst(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if goFirst(1) == nil {
		unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	} else {
		t.Skip("this user may not ask for real-time scheduling")
	}
	cmd := exec.Command("sleep", "60")
	if err := First(cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if attr, err := unix.SchedGetAttr(cmd.Process.Pid, 0); err != nil || attr.Policy != unix.SCHED_RR {
		t.Errorf("the child: got %+v, %v, want it scheduled by SCHED_RR", attr, err)
	}
	if attr, err := unix.SchedGetAttr(0, 0); err != nil || attr.Policy != unix.SCHED_NORMAL {
		t.Errorf("this thread: got %+v, %v, want it scheduled as before", attr, err)
	}
}

// TestWatchStalls stops this process for a time: from within, the machine stood still.
func TestWatchStalls(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	longest, begun, over := time.Duration(0), make(chan struct{}, 1), make(chan struct{})
	var err error
	go func() {
		defer close(over)
		err = WatchStalls(ctx, -time.Hour, func(_ time.Time, late time.Duration) { // tells of each look
			longest = max(longest, late)
			select {
			case begun <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case <-begun:
	case <-over:
	}
	pid := strconv.Itoa(os.Getpid())
	if out, err := exec.Command("sh", "-c", "kill -STOP "+pid+"; sleep 0.3; kill -CONT "+pid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cancel()
	if <-over; err != nil {
		t.Skipf("this user may not ask for real-time scheduling: %v", err)
	}
	if longest < 200*time.Millisecond {
		t.Errorf("stopped for 300ms: got a stall of %v", longest)
	}
}
