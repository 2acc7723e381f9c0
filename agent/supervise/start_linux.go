package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"doyen/agent/clock"
	"doyen/agent/process"

	"golang.org/x/sys/unix"
)

// Config says what to run.
type Config struct {
	// Path is the program and Args its arguments, the first of which is its name.
	Path string
	Args []string
	// Env is its environment.
	Env []string
	// Deadline is the boot time (clock.Boot) at which all of it is killed unless
	// Extend moves it.
	Deadline time.Duration
	// Connection, if not nil, is a socket that the guard keeps open until all of the
	// command is dead, and then shuts down: its peer learns of the end by it, also
	// if this process has been killed or stopped.
	Connection *os.File
	// Foreground leaves the command in the process group of this process, so that it
	// can read from the terminal and gets the signals that are typed there.
	Foreground bool
}

// Command is a command that runs. Its methods are safe for concurrent use.
type Command struct {
	guard   *os.Process
	control *os.File
	before  []int // children of this process that it had before

	done chan struct{} // closed when the guard has ended
	// The guard's last report, and whether there was one; read after done.
	report   report
	reported bool

	kill sync.Once
	left error // what Kill returns
}

// program is the command as the guard is told of it.
type program struct {
	Path string
	Args []string
}

// order is what the guard is told: each field that is not zero.
type order struct {
	Deadline time.Duration  `json:",omitempty"`
	Signal   syscall.Signal `json:",omitempty"`
}

// report is how the command has ended.
type report struct {
	Status  syscall.WaitStatus // of the command, if it ended by itself
	Err     string             // why it could not be started
	Killed  bool               // by the guard
	Remains int                // how many processes it left running, which were killed
}

// Start starts the command. The caller has no child that it starts later itself.
func Start(c Config) (*Command, error) {
	if err := adopt(); err != nil {
		return nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "guard"), os.NewFile(uintptr(fds[1]), "supervisor")
	defer theirs.Close()
	s := &Command{control: ours, before: process.Children(os.Getpid()), done: make(chan struct{})}
	if err := s.tell(order{Deadline: c.Deadline}); err != nil {
		ours.Close()
		return nil, err
	}
	command, err := pass(program{Path: c.Path, Args: c.Args})
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer command.Close()
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs, command}
	how := "-"
	if c.Connection != nil {
		files = append(files, c.Connection)
		how += argConnection
		// Handing it over makes it a blocking one, and the caller's with it.
		defer unix.SetNonblock(int(c.Connection.Fd()), true)
	}
	if c.Foreground {
		how += argForeground
	}
	// Its command line has nothing in common with that of the caller or the command, so
	// that pkill -f with a pattern that fits one of them does not kill the guard as well.
	s.guard, err = os.StartProcess("/proc/self/exe", []string{"doyen-guard", guardCommand, how, strconv.Itoa(os.Getpid())}, &os.ProcAttr{
		Env: append(slices.Clone(c.Env), guardMark+"=1"), Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: !c.Foreground},
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting the guard of the command: %w", err)
	}
	go s.listen()
	return s, nil
}

// pass puts the program into a file that the guard reads: a command line may be
// longer than a message.
func pass(p program) (*os.File, error) {
	fd, err := unix.MemfdCreate("doyen-command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("passing the command on: %w", err)
	}
	file := os.NewFile(uintptr(fd), "command")
	err = json.NewEncoder(file).Encode(p)
	if _, back := file.Seek(0, io.SeekStart); err != nil || back != nil {
		file.Close()
		return nil, fmt.Errorf("passing the command on: %w", errors.Join(err, back))
	}
	return file, nil
}

// listen takes the guard's report in and waits for its end.
func (s *Command) listen() {
	defer close(s.done)
	buf := make([]byte, maxMessage)
	if n, err := s.control.Read(buf); err == nil && n > 0 {
		s.reported = json.Unmarshal(buf[:n], &s.report) == nil
	}
	s.guard.Wait() // its report says how the command ended
}

// Extend moves the deadline.
func (s *Command) Extend(deadline time.Duration) { _ = s.tell(order{Deadline: deadline}) }

// Signal passes a signal on to the command.
func (s *Command) Signal(sig syscall.Signal) { _ = s.tell(order{Signal: sig}) }

// tell writes an order, and waits for nothing: a time limit may pass before the write is
// tried, where this process waits for a processor. A guard that cannot be told has
// ended, or is stopped and gets no order for which its socket has no room: the deadline
// it knows then counts.
func (s *Command) tell(o order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	control, err := s.control.SyscallConn()
	if err != nil {
		return err
	}
	written := control.Control(func(fd uintptr) { _, err = unix.Write(int(fd), b) })
	if err = errors.Join(written, err); err != nil {
		return fmt.Errorf("telling the guard of the command: %w", err)
	}
	return nil
}

// Done is closed when the guard has ended: after the command, or killed.
func (s *Command) Done() <-chan struct{} { return s.done }

// Kill kills all of the command that is left, and returns when it is dead. It must
// be called at the end in any case, since the guard may have been killed. Only what
// may not be killed goes on, and the error names it.
func (s *Command) Kill() error {
	s.kill.Do(func() {
		s.guard.Kill() // which changes nothing if it has ended
		<-s.done
		s.control.Close()
		s.left = killChildren(s.before, func() []int { return process.Children(os.Getpid()) })
	})
	return s.left
}

// Result is how the command ended; it is valid after Kill. ended is false if it was
// killed, and err says why it could not be started.
func (s *Command) Result() (status syscall.WaitStatus, remains int, ended bool, err error) {
	switch {
	case s.reported && s.report.Err != "":
		return 0, 0, false, errors.New(s.report.Err)
	case !s.reported || s.report.Killed:
		return 0, 0, false, nil
	}
	return s.report.Status, s.report.Remains, true, nil
}

// Late reports whether the guard has killed the command at its deadline; it is valid
// after Kill.
func (s *Command) Late() bool { return s.reported && s.report.Killed }

// adopt makes this process the parent of descendants whose own parents die.
func adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a child subreaper: %w", err)
	}
	return nil
}

// past reports whether a deadline has passed.
func past(deadline time.Duration) bool { return clock.Boot() >= deadline }
