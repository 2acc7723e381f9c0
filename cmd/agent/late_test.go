package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A keeper that its host kept from running, and so released late, is named as that, and
// not as a loss of confirms.
func TestLateKeeperIsFound(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.start("--voters", "seeds", "--hook", g.hook())
	leader := g.leading()
	g.eventually(func() error {
		if phase := leader.state().Phase; phase != "holding" {
			return fmt.Errorf("the leader is %s", phase)
		}
		return nil
	})
	s := leader.state()
	stop := func(sig syscall.Signal, pids ...int) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop(syscall.SIGSTOP, *s.KeeperPID, s.PID)
	time.Sleep(2 * time.Duration(s.LeaseMS) * time.Millisecond) // the fault: the host does not run them for so long
	stop(syscall.SIGCONT, *s.KeeperPID)
	g.eventually(func() error {
		if g.event(leader.name+" release end lease-lost") < 0 {
			return fmt.Errorf("the keeper has not released")
		}
		return nil
	})
	stop(syscall.SIGCONT, s.PID)
	g.eventually(func() error {
		if f := leader.finding("keeper-late"); f == nil || !strings.Contains(f.Evidence, "after its deadline") {
			return fmt.Errorf("no finding keeper-late: %+v", leader.state().Findings)
		}
		return nil
	})
}
