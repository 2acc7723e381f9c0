package supervise

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"doyen/agent/process"
)

// killRounds kills the children of this process, which another goroutine reaps
// under mu, until none is closed or only those are left that may not be killed. It
// returns how many of them lived.
func killRounds(mu *sync.Mutex, none <-chan struct{}) int {
	seen := map[int]bool{}
	see := func(pid int) bool {
		if !process.IsZombie(pid) {
			seen[pid] = true
		}
		return true
	}
	for {
		mu.Lock()
		all := process.Children(os.Getpid())
		denied := 0
		for _, pid := range all {
			see(pid)
			process.KillBelow(pid, see)
			if unix.Kill(pid, unix.SIGKILL) == unix.EPERM {
				denied++
			}
		}
		mu.Unlock()
		if denied > 0 && denied == len(all) {
			return len(seen)
		}
		select {
		case <-none:
			return len(seen)
		case <-time.After(time.Millisecond):
		}
	}
}

// killChildren kills and reaps the children of this process that list names, except
// those given, until two looks in a row find none: the kernel's list is read while they
// come and go, and may hide one.
func killChildren(except []int, list func() []int) error {
	for calm := 0; ; {
		var left, denied []int
		for _, pid := range list() {
			if slices.Contains(except, pid) {
				continue
			}
			process.KillBelow(pid, func(int) bool { return true })
			err := unix.Kill(pid, unix.SIGKILL)
			if dead, _ := unix.Wait4(pid, nil, unix.WNOHANG, nil); dead == pid {
				left = append(left, pid) // its children may be ours now
				continue
			}
			left = append(left, pid)
			if err == unix.EPERM {
				denied = append(denied, pid)
			}
		}
		switch {
		case len(left) == 0:
			if calm++; calm == 2 {
				return nil
			}
			continue
		case len(denied) == len(left):
			return fmt.Errorf("processes %v may not be killed by this user and go on", denied)
		}
		calm = 0
		time.Sleep(time.Millisecond)
	}
}
