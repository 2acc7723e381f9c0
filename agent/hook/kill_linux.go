package hook

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the program has ended, and leaves it to be reaped.
func awaitExit(program *os.Process) *os.ProcessState {
	for {
		err := unix.Waitid(unix.P_PID, program.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return nil
		}
	}
}

// Adopt makes this process the parent of every descendant whose own parent
// dies, so that none can get away from a Runner with Subreaper set.
func Adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a child subreaper: %w", err)
	}
	return nil
}

// killChildren kills and reaps children of this process until there are none:
// those of a child that dies become children of this process, and are seen in
// the next round. Only what may not be killed is left, and named.
func killChildren() error {
	for {
		if reapAll() {
			return nil
		}
		children := children()
		var denied []int
		for _, pid := range children {
			if unix.Kill(pid, unix.SIGKILL) == unix.EPERM {
				denied = append(denied, pid)
			}
		}
		switch {
		case len(children) == 0: // one was born or died while the list was read
			time.Sleep(time.Millisecond)
		case len(denied) == len(children):
			return fmt.Errorf("processes %v of the hook may not be killed by this user and go on", denied)
		default:
			unix.Wait4(-1, nil, 0, nil)
		}
	}
}

// reapAll reaps what has died, and reports whether no child is left.
func reapAll() bool {
	for {
		switch pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case err == unix.ECHILD:
			return true
		case pid == 0:
			return false
		}
	}
}

// children lists the children of this process.
func children() []int {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	if len(lists) == 0 {
		return childrenByParent() // a kernel without CONFIG_PROC_CHILDREN
	}
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// childrenByParent lists the children of this process by asking every process.
func childrenByParent() []int {
	self := os.Getpid()
	return slices.DeleteFunc(processes(), func(pid int) bool { return parent(pid) != self })
}

// processes lists all processes.
func processes() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent returns the parent of a process, or 0 if there is no such process.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}

// sweepLimit is how long Sweep waits for what it has killed.
const sweepLimit = 10 * time.Second

// Sweep kills what runs of this node's hook have left behind, of whatever
// former keeper, and waits until it is gone. It knows them by their
// environment. The caller holds the node-wide lock, or is the only runner, so
// that no run is under way.
func Sweep(cluster, node string) error {
	marks := [][]byte{
		[]byte(prefix + "EVENT="),
		[]byte(prefix + "NODE=" + node + "\x00"),
		[]byte(prefix + "CLUSTER=" + cluster + "\x00"),
	}
	kin := ancestors()
	deadline := time.Now().Add(sweepLimit)
	for {
		var found []int
		for _, pid := range processes() {
			if !slices.Contains(kin, pid) && killMarked(pid, marks) {
				found = append(found, pid)
			}
		}
		switch {
		case len(found) == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("processes %v of the hook have been killed and do not end", found)
		}
		time.Sleep(time.Millisecond)
	}
}

// killMarked kills a process whose environment has all the marks, and reports
// whether it was there. The descriptor makes sure that the process killed is
// the one looked at.
func killMarked(pid int, marks [][]byte) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false // another user's, or gone
	}
	for _, mark := range marks {
		if !bytes.HasPrefix(env, mark) && !bytes.Contains(env, append([]byte{0}, mark...)) {
			return false
		}
	}
	return !errors.Is(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0), unix.EPERM)
}

// ancestors is this process and those it descends from: an agent may itself
// have been started by a hook.
func ancestors() []int {
	var pids []int
	for pid := os.Getpid(); pid > 0; pid = parent(pid) {
		pids = append(pids, pid)
	}
	return pids
}
