package hook

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// dieWithParent has the kernel kill a program when the thread that starts it
// ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

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
			return fmt.Errorf("processes %v may not be killed by this user and go on", denied)
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

const (
	// sweepLimit is how long Sweep waits for what it has killed.
	sweepLimit = 10 * time.Second
	// blankLooks is how often in a row a process must show no environment before
	// it is taken to have none. While a process executes a program there is a
	// moment when the old one is gone and the new one not there.
	blankLooks = 20
	// maxEnviron is how much of an environment is looked at. Ours is at the end
	// of it, and a kernel takes up to 2 MiB with the default stack.
	maxEnviron = 2 << 20
)

// Sweep kills what runs of this node's hook have left behind, of whatever
// former keeper, and waits until it is gone. It knows them by their
// environment. The caller holds the node-wide lock, or is the only runner, so
// that no run is under way.
func Sweep(cluster, node string) error {
	return sweep("EVENT=", "NODE="+node+"\x00", "CLUSTER="+cluster+"\x00")
}

// SweepHealth kills what health checks of that run of an agent have left behind,
// and waits until it is gone.
func SweepHealth(run string) error { return sweep(runMark + "=" + run + "\x00") }

// SweepHealthOf is SweepHealth for whatever run of this node's agent.
func SweepHealthOf(cluster, node string) error {
	return sweep(runMark+"=", "NODE="+node+"\x00", "CLUSTER="+cluster+"\x00")
}

// sweep kills the processes that have all the variables of ours.
func sweep(variables ...string) error {
	var marks [][]byte
	for _, v := range variables {
		marks = append(marks, []byte(prefix+v))
	}
	kin := ancestors()
	buf := make([]byte, maxEnviron)
	blank := map[int]int{} // how often in a row a process was
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		var found []int
		doubt := false
		for _, pid := range processes() {
			if slices.Contains(kin, pid) {
				continue
			}
			looks := blank[pid]
			delete(blank, pid)
			switch killMarked(pid, marks, buf) {
			case marked:
				found = append(found, pid)
			case unclear:
				blank[pid] = looks + 1
				doubt = doubt || looks < blankLooks
			}
		}
		switch {
		case len(found) == 0 && !doubt:
			return nil
		case time.Since(began) > sweepLimit:
			return fmt.Errorf("processes %v have been killed and do not end", found)
		}
	}
}

// What killMarked has found.
const (
	strange = iota // none of ours
	marked
	unclear
)

// killMarked kills a process whose environment has all the marks. The
// descriptor makes sure that the process killed is the one looked at.
func killMarked(pid int, marks [][]byte, buf []byte) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return strange // gone
	}
	defer unix.Close(fd)
	env, err := environ(pid, buf)
	if err != nil {
		return strange // another user's, or gone
	}
	if len(env) == 0 {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
			return strange // dead, or a part of the kernel
		}
		return unclear
	}
	for _, mark := range marks {
		if !bytes.HasPrefix(env, mark) && !bytes.Contains(env, append([]byte{0}, mark...)) {
			return strange
		}
	}
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == unix.EPERM {
		return strange
	}
	// A dying process loses its environment before its files and sockets.
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
	return marked
}

// environ reads the environment of a process in one step, since it ends in the
// middle for whoever reads on after the process has executed another program.
func environ(pid int, buf []byte) ([]byte, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	n, err := file.Read(buf)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
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
