package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// All lists every process, in no order. It is empty without /proc.
func All() []int {
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

// Children lists the children of a process, dead ones that nothing has reaped
// among them. It is empty if there is no such process.
func Children(of int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
	if len(lists) == 0 {
		return childrenByParent(of) // a kernel without CONFIG_PROC_CHILDREN
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

// childrenByParent lists the children of a process by asking every process.
func childrenByParent(of int) []int {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task", of)); err != nil {
		return nil // it has ended
	}
	return slices.DeleteFunc(All(), func(pid int) bool { return Parent(pid) != of })
}

// Parent returns the parent of a process, or 0 if there is no such process.
func Parent(pid int) int {
	fields := stat(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// KillBelow kills what descends from a process, and not the process itself, as far as
// wanted says so; below one that is not wanted it does not look. What has come about
// meanwhile, or may not be killed, is left: a caller that kills all looks again.
func KillBelow(parent int, wanted func(pid int) bool) {
	for _, pid := range Children(parent) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		// The descriptor is of the child and not of a process that has got its number
		// since: that one has another parent.
		if Parent(pid) == parent && wanted(pid) {
			KillBelow(pid, wanted)
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// IsZombie reports whether a process has died and waits to be reaped.
func IsZombie(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && fields[0] == "Z"
}

// stat is what /proc/PID/stat says of a process after its name, which is in
// parentheses and may contain anything: its state first, then its parent. It is
// empty for a process that has ended.
func stat(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}
