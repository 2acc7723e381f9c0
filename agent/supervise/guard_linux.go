package supervise

import (
	"encoding/json"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"doyen/agent/clock"

	"golang.org/x/sys/unix"
)

const (
	// guardCommand is the first argument of a guard.
	guardCommand = "guard-of"
	// guardMark is the variable by which a guard knows that Start has started it.
	// The command never sees it.
	guardMark = "DOYEN_EXEC_GUARD"
	// What the second argument of a guard consists of.
	argConnection = "c"
	argForeground = "f"
	// maxMessage limits one message between the two processes.
	maxMessage = 4 << 10

	// lastLook is how long a guard whose deadline has passed looks for an order that
	// has moved it: enough to read one that is there.
	lastLook = 2 * time.Millisecond

	controlFD    = 3
	programFD    = 4
	connectionFD = 5
)

// Init must come first in the main of a program that calls Start. In the guard,
// which is the same program again, it does not return.
func Init() {
	if len(os.Args) > 2 && os.Args[1] == guardCommand && os.Getenv(guardMark) != "" {
		os.Exit(serve(os.Args[2]))
	}
}

// guard is the process between the caller of Start and the command.
type guard struct {
	control *os.File
	orders  chan order
	pid     int  // the command's
	own     bool // the command is in a process group of its own
	// deadline is the newest that the caller of Start has told.
	deadline time.Duration

	// mu is held while children are reaped and while they are killed, so that no
	// number of a child is reused in between.
	mu    sync.Mutex
	ended chan syscall.WaitStatus // the command's status; capacity one
	none  chan struct{}           // closed when no child is left
}

// serve is a guard from its first to its last line.
func serve(how string) int {
	// The kernel kills the command when the thread that has started it ends.
	runtime.LockOSThread()
	unix.CloseOnExec(controlFD)
	// Caught, not ignored: what is ignored stays so in the command. None of these
	// ends the guard, which has to outlive the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
	unix.SetNonblock(controlFD, true)
	g := &guard{
		control: os.NewFile(controlFD, "supervisor"), orders: make(chan order), own: !strings.Contains(how, argForeground),
		ended: make(chan syscall.WaitStatus, 1), none: make(chan struct{}),
	}
	if strings.Contains(how, argConnection) {
		unix.CloseOnExec(connectionFD)
		defer unix.Shutdown(connectionFD, unix.SHUT_RDWR)
	}
	if err := adopt(); err != nil {
		return g.report(report{Err: err.Error()})
	}
	var p program
	file := os.NewFile(programFD, "command")
	if err := json.NewDecoder(file).Decode(&p); err != nil {
		return g.report(report{Err: err.Error()})
	}
	file.Close()
	go g.listen()
	first := <-g.orders
	g.deadline = first.Deadline
	if g.isOver() {
		return g.report(report{Killed: true})
	}
	command, err := os.StartProcess(p.Path, p.Args, &os.ProcAttr{
		Env: commandEnv(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Setpgid: g.own, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return g.report(report{Err: err.Error()})
	}
	g.pid = command.Pid
	go g.reap()
	return g.report(g.watch())
}

// commandEnv is the environment of the command.
func commandEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, guardMark+"=") {
			env = append(env, kv)
		}
	}
	return env
}

// listen takes orders until the caller of Start has ended, or closed its end.
func (g *guard) listen() {
	defer close(g.orders)
	buf := make([]byte, maxMessage)
	for {
		var o order
		n, err := g.control.Read(buf)
		if err != nil || n == 0 || json.Unmarshal(buf[:n], &o) != nil {
			return
		}
		g.orders <- o
	}
}

// watch returns when nothing of the command is left, and how it ended.
func (g *guard) watch() report {
	alarm := clock.NewAlarm()
	defer alarm.Close()
	for {
		alarm.Set(g.deadline)
		select {
		case o, ok := <-g.orders:
			if !ok {
				g.killAll()
				return report{Killed: true}
			}
			g.obey(o)
		case <-alarm.C():
			if g.isOver() {
				g.killAll()
				return report{Killed: true}
			}
		case status := <-g.ended:
			return report{Status: status, Remains: g.killAll()}
		}
	}
}

func (g *guard) obey(o order) {
	g.deadline = max(g.deadline, o.Deadline)
	if o.Signal != 0 && g.pid != 0 {
		g.signal(o.Signal)
	}
}

// isOver reports whether the deadline has passed. An order that moves it may wait
// to be read, if it was this process that was late.
func (g *guard) isOver() bool {
	for past(g.deadline) {
		select {
		case o, ok := <-g.orders:
			if !ok {
				return true
			}
			g.obey(o)
		case <-time.After(lastLook):
			return true
		}
	}
	return false
}

// signal passes a signal on to the command. What a terminal sends goes to a whole
// process group, what a program sends to one process.
func (g *guard) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.ended) > 0: // its number may have been reused
	case g.own && (s == syscall.SIGINT || s == syscall.SIGQUIT):
		unix.Kill(-g.pid, s)
	default:
		unix.Kill(g.pid, s)
	}
}

// reap reaps every child when it dies, and keeps the status of the command.
func (g *guard) reap() {
	defer close(g.none)
	for {
		var info unix.Siginfo
		switch err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil); err {
		case nil:
			g.reapOne()
		case unix.EINTR:
		default:
			return // no child is left
		}
	}
}

// reapOne reaps one child that has died.
func (g *guard) reapOne() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if err == nil && pid == g.pid {
		g.ended <- syscall.WaitStatus(status)
	}
}

// killAll kills children until none is left: those of a child that dies become
// children of this process, and are seen in the next round. It returns how many
// there were. What may not be killed is left to the caller of Start, and named there.
func (g *guard) killAll() int {
	return killRounds(&g.mu, g.none)
}

// report sends the last report, and returns the exit status of the guard.
func (g *guard) report(r report) int {
	b, err := json.Marshal(r)
	if err == nil {
		_, err = g.control.Write(b)
	}
	if err != nil {
		return 1
	}
	return 0
}
