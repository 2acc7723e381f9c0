//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Everything runs in a sandbox: this program again, as the first process of a
// new process namespace, with network and mount namespaces of its own. When it
// ends, for any reason, the kernel kills all processes in it and takes the
// networks down: there is nothing to clean up, and nothing can be left over.

// sandboxMark tells the second process what it is.
const sandboxMark = "FAILOVERLAB_SANDBOX"

// inSandbox: the variable alone would not do, an environment is easily copied.
func inSandbox() bool { return os.Getenv(sandboxMark) == "1" && os.Getpid() == 1 }

// sandboxed is this program again, to be run in the sandbox. It ends with the
// thread that starts it, which must therefore be locked.
func sandboxed(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), sandboxMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd
}

// enterSandbox runs this program again in the sandbox and returns its status.
// Its thread is the main one, which init has locked.
func enterSandbox(stderr io.Writer) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(stderr, "failoverlab: needs root to make network namespaces")
		return 1
	}
	cmd := sandboxed(os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, stderr
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "failoverlab: making the namespaces:", err)
		return 1
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(stderr, "failoverlab:", err)
	}
	return max(cmd.ProcessState.ExitCode(), min(1, boolToInt(err != nil)))
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// filesDir is where the sandbox keeps files.
const filesDir = "/mnt"

// prepareSandbox gives the sandbox its own /proc, an empty /run, and a place for
// files. More processors than there are let the threads
// that observe run as soon as the kernel wakes them.
//
// Garbage is not collected before there is a lot of it: while its collector
// looks at the stack of a thread, that thread spins, and one with real-time
// priority then keeps the collector, and all that is measured, from the
// processor until the kernel intervenes after 950 ms (sched_rt_runtime_us).
func prepareSandbox() error {
	runtime.GOMAXPROCS(16)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(4 << 30)
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{"tmpfs", filesDir, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s in the sandbox: %w", m.target, err)
		}
	}
	go reap()
	return nil
}

// children are the processes that somebody waits for.
var children = struct {
	sync.Mutex
	pids map[int]bool
}{pids: make(map[int]bool)}

// startChild starts cmd as one that is waited for by waitChild.
func startChild(cmd *exec.Cmd) error {
	children.Lock()
	defer children.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	children.pids[cmd.Process.Pid] = true
	return nil
}

// runChild runs cmd to its end and returns what it prints.
func runChild(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startChild(cmd); err != nil {
		return nil, err
	}
	err := waitChild(cmd)
	return out.Bytes(), err
}

func waitChild(cmd *exec.Cmd) error {
	err := cmd.Wait()
	children.Lock()
	defer children.Unlock()
	delete(children.pids, cmd.Process.Pid)
	return err
}

// reap collects the orphans, which the kernel gives to the sandbox's first
// process: keepers whose agent was killed, for example.
func reap() {
	for ; ; time.Sleep(100 * time.Millisecond) {
		children.Lock()
		for _, pid := range zombies() {
			if !children.pids[pid] {
				unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
		children.Unlock()
	}
}

// zombies lists this process's children that have ended.
func zombies() []int {
	var list []int
	for _, p := range processes() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		zombie, mine := false, false
		for lines := bufio.NewScanner(f); lines.Scan(); {
			switch key, value, _ := strings.Cut(lines.Text(), ":\t"); key {
			case "State":
				zombie = strings.HasPrefix(value, "Z")
			case "PPid":
				mine = value == "1"
			}
		}
		f.Close()
		if zombie && mine {
			list = append(list, p)
		}
	}
	return list
}

// processes lists the process ids of the sandbox, without this one.
func processes() []int {
	names, _ := filepath.Glob("/proc/[0-9]*")
	var list []int
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil && pid != os.Getpid() {
			list = append(list, pid)
		}
	}
	return list
}

// hogCommand, as the only argument, makes this program keep one core busy.
const hogCommand = "hog"

func hog() {
	var work atomic.Uint64
	for {
		work.Add(1)
	}
}
