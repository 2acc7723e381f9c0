package hook

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doyen/agent/process"
)

// Reaper is a process that has become the parent of every descendant whose own
// parent died. It starts programs for several elections at once, and knows whose
// each descendant is. Its methods are safe for concurrent use.
type Reaper struct {
	// mu is held while a program is started and while the dead are reaped: so a
	// program is known before it can be taken for an orphan, and no number of a
	// child is reused while it is looked at.
	mu       sync.Mutex
	programs map[int]bool    // the running programs, which their starters reap
	owners   map[string]bool // the elections that have started one
	buf      []byte          // for an environment
}

// Adopt makes this process a Reaper: no descendant can get away from it. It has
// no other children than those that it starts.
func Adopt() (*Reaper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("becoming a child subreaper: %w", err)
	}
	r := &Reaper{programs: map[int]bool{}, owners: map[string]bool{}}
	go r.reapOrphans()
	return r, nil
}

// reapOrphans reaps orphans when they die, however long their election's program
// goes on.
func (r *Reaper) reapOrphans() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	for range died {
		r.mu.Lock()
		r.reap()
		r.mu.Unlock()
	}
}

// start starts a program of t and marks it.
func (r *Reaper) start(t *tree, start func() (*os.Process, error)) (*os.Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer mark(t.tag())()
	proc, err := start()
	if err == nil {
		r.programs[proc.Pid] = true
		r.owners[t.owner.Election] = true
	}
	return proc, err
}

// forget says that a program has been reaped by its starter.
func (r *Reaper) forget(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.programs, pid)
}

// looks is how often the children are listed at most before they are listed anew
// after a pause: processes that start one another and end would keep mu for ever.
const looks = 20

// reap reaps the orphans that have died, and returns those that live; sure is false
// if there may be others. The kernel's list of children is read while they come and
// go (proc_pid_task_children(5)): one that ends may hide others, and the child that
// it started a moment before becomes one of this process. So it counts only when two
// looks in a row find none dead. The caller holds mu.
func (r *Reaper) reap() (alive []int, sure bool) {
	calm := 0
	for range looks {
		alive = alive[:0]
		calm++
		for _, pid := range process.Children(os.Getpid()) {
			if r.programs[pid] {
				continue
			}
			switch dead, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); {
			case err == nil && dead == 0:
				alive = append(alive, pid)
			case err == nil:
				calm = 0
			}
		}
		if calm == 2 {
			return alive, true
		}
	}
	return alive, false
}

// orphansOf returns the orphans of t that live; sure is false if there may be
// others. The caller holds mu.
func (r *Reaper) orphansOf(t *tree) (orphans []int, sure bool) {
	orphans, sure = r.reap()
	return slices.DeleteFunc(orphans, func(pid int) bool { return !r.isOf(t, pid) }), sure
}

// isOf reports whether a descendant of this process is of t. The caller holds mu.
func (r *Reaper) isOf(t *tree, pid int) bool {
	switch t.owns(pid, r.buffer) {
	case ours:
		return true
	case unmarked:
		return len(r.owners) == 1 // else it may be another election's
	default:
		return false
	}
}

// buffer returns room for an environment. The caller holds mu.
func (r *Reaper) buffer() []byte {
	if r.buf == nil {
		r.buf = make([]byte, maxEnviron)
	}
	return r.buf
}

// list names what lives of t besides its program.
func (r *Reaper) list(t *tree) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	queue, _ := r.orphansOf(t)
	for ; len(queue) > 0; queue = queue[1:] {
		if name := nameOf(queue[0]); name != "" {
			names = append(names, name)
		}
		queue = append(queue, process.Children(queue[0])...)
	}
	return names
}

// kill kills what lives of t besides its program, and waits until it is dead. What is
// started while it looks becomes a child of this process when its parent dies, and is
// seen in the next round. Only what may not be killed is left, and named.
func (r *Reaper) kill(t *tree) error {
	for {
		denied, left, sure := r.killOnce(t)
		switch {
		case !sure:
		case left == 0:
			return nil
		case len(denied) == left:
			return fmt.Errorf("processes %v may not be killed by this user and go on", denied)
		}
		time.Sleep(time.Millisecond)
	}
}

// killOnce signals the orphans of t, and waits a little for one of them. It
// returns those that may not be killed, and how many there are; sure is false if
// there may be more.
func (r *Reaper) killOnce(t *tree) (denied []int, left int, sure bool) {
	r.mu.Lock()
	orphans, sure := r.orphansOf(t)
	fd := -1
	for _, pid := range orphans {
		process.KillBelow(pid, func(pid int) bool { return r.isOf(t, pid) })
		if unix.Kill(pid, unix.SIGKILL) == unix.EPERM {
			denied = append(denied, pid)
		} else if fd < 0 {
			fd, _ = unix.PidfdOpen(pid, 0)
		}
	}
	r.mu.Unlock()
	if fd >= 0 {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		unix.Close(fd)
	}
	return denied, len(orphans), sure
}

// signal sends sig to what lives of t besides its program.
func (r *Reaper) signal(t *tree, sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	orphans, _ := r.orphansOf(t)
	for _, pid := range orphans {
		unix.Kill(pid, sig)
	}
}

// nameOf is the name of a process that lives, and its number, for a person.
func nameOf(pid int) string {
	state, name := "", ""
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		text := string(stat)
		from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		if from >= 0 && to > from {
			name = text[from+1 : to]
			state, _, _ = strings.Cut(strings.TrimSpace(text[to+1:]), " ")
		}
	}
	if name == "" || state == "Z" || state == "X" {
		return ""
	}
	return fmt.Sprintf("%s (%d)", name, pid)
}
