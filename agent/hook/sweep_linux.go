package hook

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"doyen/agent/process"
)

// awaitExit returns when the program has ended, and leaves it to be reaped. It
// reports whether it has exited with status 0.
func awaitExit(program *os.Process) (state *os.ProcessState, success bool) {
	// What waitid(2) fills in of siginfo_t for a child; the union that begins with
	// pid is aligned like a pointer.
	type childInfo struct {
		signo, errno, code int32
		union              struct {
			_      [0]uintptr
			pid    int32
			uid    uint32
			status int32
		}
	}
	const exited = 1 // CLD_EXITED
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, program.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			child := (*childInfo)(unsafe.Pointer(&info))
			return nil, err == nil && info.Code == exited && child.union.status == 0
		}
	}
}

// dieWithParent has the kernel kill a program when the thread that starts it
// ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

const (
	// sweepLimit is how long Sweep waits for the processes it has killed.
	sweepLimit = 10 * time.Second
	// blankLooks is how often in a row a process must show no environment before
	// it is taken to have none. While a process executes a program there is a
	// moment when the old one is gone and the new one not there.
	blankLooks = 20
	// maxEnviron is how much of an environment is looked at. Ours is at the end
	// of it, and a kernel takes up to 2 MiB with the default stack.
	maxEnviron = 2 << 20
)

// Sweep kills what an election's hook and command have left behind, of any
// former keeper, and waits until it is gone; without Election, what all elections
// of the node have. The caller holds the node-wide lock, or is the only runner, so
// that no run of it is under way.
func Sweep(o Owner) error {
	_, err := sweep(func(tag uint64, env []byte) bool {
		if tag != 0 {
			return o.Election == "" && isOfNode(tag, nodeTag(o.Cluster, o.Node)) ||
				o.Election != "" && tag&^(1<<classBits-1) == (&tree{owner: o}).tag()
		}
		_, ok := classOf(env)
		return ok && o.in(env)
	})
	return err
}

// sweepClass kills what t has started, and names it; t has no Reaper.
func sweepClass(t *tree) (names []string, err error) {
	return sweep(func(_ uint64, env []byte) bool {
		class, ok := classOf(env)
		return ok && class == t.class && t.owner.in(env)
	})
}

// SweepHealth kills what health checks of that run of an agent have left behind,
// and waits until it is gone.
func SweepHealth(run string) error {
	_, err := sweep(func(_ uint64, env []byte) bool { return hasVariable(env, runMark+"="+run+"\x00") })
	return err
}

// SweepHealthOf is SweepHealth for all runs of this node's agent.
func SweepHealthOf(cluster, node string) error {
	o := Owner{Cluster: cluster, Node: node}
	_, err := sweep(func(_ uint64, env []byte) bool { return hasVariable(env, runMark+"=") && o.in(env) })
	return err
}

// sweep kills the processes whose tag or environment matches, and names them.
func sweep(matches func(tag uint64, env []byte) bool) (names []string, err error) {
	kin := ancestors()
	buf := make([]byte, maxEnviron)
	blank := map[int]int{} // how often in a row a process was
	named := map[string]bool{}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		var found []string
		doubt := false
		for _, pid := range process.All() {
			if slices.Contains(kin, pid) {
				continue
			}
			looks := blank[pid]
			delete(blank, pid)
			name, verdict := killMatching(pid, matches, buf)
			switch verdict {
			case matching:
				found = append(found, name)
				if !named[name] {
					named[name], names = true, append(names, name)
				}
			case unclear:
				blank[pid] = looks + 1
				doubt = doubt || looks < blankLooks
			}
		}
		switch {
		case len(found) == 0 && !doubt:
			return names, nil
		case time.Since(began) > sweepLimit:
			return names, fmt.Errorf("processes %s have been killed and do not end", strings.Join(found, ", "))
		}
	}
}

// What killMatching has found.
const (
	strange = iota // none of ours
	matching
	unclear
)

// killMatching kills a process that matches, and names it. The descriptor makes
// sure that the process killed is the one looked at.
func killMatching(pid int, matches func(tag uint64, env []byte) bool, buf []byte) (name string, verdict int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", strange // gone
	}
	defer unix.Close(fd)
	tag := tagOf(pid)
	env, err := environ(pid, buf)
	if tag == 0 && err != nil {
		return "", strange // another user's, or gone
	}
	if tag == 0 && len(env) == 0 {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
			return "", strange // dead, or a part of the kernel
		}
		return "", unclear
	}
	if !matches(tag, env) {
		return "", strange
	}
	if name = nameOf(pid); name == "" {
		return "", strange // dead, and not reaped yet
	}
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == unix.EPERM {
		return "", strange
	}
	// A dying process loses its environment before its files and sockets.
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
	return name, matching
}

// environ reads the environment of a process in one step, since it ends in the
// middle for a reader that goes on after the process has executed another program.
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
	for pid := os.Getpid(); pid > 0; pid = process.Parent(pid) {
		pids = append(pids, pid)
	}
	return pids
}
