package keeper

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"

	"doyen/agent/hook"
	"doyen/agent/journald"
	"doyen/agent/realtime"

	"golang.org/x/sys/unix"
)

// Where a keeper process finds what it shares with its agent.
const (
	socketFD = 3
	memoryFD = 4
)

// serve is a keeper process from its first to its last line.
func serve(tools Tools) error {
	if os.Getenv(mark) == "" {
		return errors.New("the agent starts its keeper by itself; there is nothing to start by hand")
	}
	unix.CloseOnExec(socketFD)
	unix.CloseOnExec(memoryFD)
	surviveSignals()
	staySmall()
	if err := unix.SetNonblock(socketFD, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	socket := os.NewFile(socketFD, "agent")
	buf := make([]byte, maxMessage)
	n, err := newServing(socket, buf, tools)
	if err != nil {
		return writeMessage(socket, &Report{Err: errText(err)})
	}
	gone := make(chan struct{})
	go listen(socket, buf, n, gone)
	var teller sync.WaitGroup
	teller.Go(func() { tell(socket, n) })
	debug.FreeOSMemory()
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	n.run(gone)
	for run := range n.healthRuns {
		if err := hook.SweepHealth(run); err != nil {
			n.cfg.Logger.Warn("a health check goes on", "error", err)
		}
	}
	teller.Wait()
	return nil
}

// newServing makes the node of this process, as its agent wants it. Each message is
// answered once it has been obeyed; an error is for the last answer.
func newServing(socket *os.File, buf []byte, tools Tools) (*node, error) {
	var hello message
	if err := readMessage(socket, buf, &hello); err != nil {
		return nil, err
	}
	if hello.Config == nil {
		return nil, errors.New("the agent gave no configuration")
	}
	hello.Config.Logger = logger(hello.Config)
	shared, err := mapMemory(memoryFD)
	if err != nil {
		return nil, err
	}
	reaper, err := hook.Adopt()
	if err != nil {
		return nil, err
	}
	n := newNode(*hello.Config, tools, reaper)
	n.shared = shared
	if n.cfg.LockMemory {
		if err := realtime.LockMemory(); err != nil {
			n.cfg.Logger.Warn("memory may be paged out", "error", err)
		}
	}
	for range hello.Places {
		var m message
		if err := errors.Join(writeMessage(socket, &Report{}), readMessage(socket, buf, &m)); err != nil {
			return nil, err
		}
		if err := n.add(m.Place); err != nil {
			return nil, err
		}
	}
	return n, writeMessage(socket, &Report{})
}

// surviveSignals keeps signals that are meant for the agent from ending the
// keeper, whose work begins when the agent ends: SIGABRT is what a watchdog sends.
// They are caught rather than ignored, because what is ignored stays so in hooks.
func surviveSignals() {
	signal.Notify(make(chan os.Signal, 1),
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
}

// staySmall trades the collector's speed for memory. It sets no limit: a process that
// needs more collects all the time, and is late with everything. It starts on one
// processor, since [debug.FreeOSMemory] waits in a loop for threads that sweep: in real
// time, on a processor that both share, for as long as sched_rr_timeslice_ms (100 ms).
func staySmall() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(50)
}

// listen takes what the agent says until it is gone, which closes its end.
func listen(socket *os.File, buf []byte, n *node, gone chan<- struct{}) {
	defer close(gone)
	for {
		var m message
		if err := readMessage(socket, buf, &m); err != nil {
			return
		}
		n.obey(m)
	}
}

// tell reports to the agent or, once it is gone, to the log.
func tell(socket *os.File, n *node) {
	for {
		r, ok := n.out.take()
		if !ok {
			return
		}
		if writeMessage(socket, &r) != nil && r.Seen == 0 {
			r.log(n.cfg.Logger)
		}
	}
}

// logger logs as the agent did.
func logger(cfg *Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, o)
	switch {
	case cfg.LogJSON:
		handler = slog.NewJSONHandler(os.Stderr, o)
	case journald.Takes(os.Stderr):
		handler = journald.NewHandler(os.Stderr, o)
	}
	return slog.New(handler).With("node", cfg.Node, "from", "keeper")
}

// log logs a report that no agent is left to take.
func (r *Report) log(log *slog.Logger) {
	log = log.With("election", r.Election)
	term := slog.Uint64("term", r.Term)
	switch {
	case r.Note != "":
		log.Warn(r.Note)
	case r.Address != nil:
		r.Address.Log(log)
	case r.Command != nil && !r.Command.Running:
		log.Info("the command has ended", term, slog.Int("pid", r.Command.PID), slog.Int("exit", r.Command.Exit), slog.String("error", r.Command.Err))
	case r.Fired != 0:
		log.Warn("the agent is gone or too late, so its leadership has been ended", term)
	case r.Event != "" && !r.Running:
		if len(r.Left) > 0 {
			log.Warn("the hook left processes running, which were killed", slog.String("event", r.Event), term, slog.Any("processes", r.Left))
		}
		attrs := []any{slog.String("event", r.Event), term, slog.Int("exit", r.Exit), slog.Duration("took", r.Duration)}
		if r.Output != "" {
			attrs = append(attrs, slog.String("output", r.Output))
		}
		if r.Err == "" {
			log.Info("hook done", attrs...)
			return
		}
		log.Warn("hook failed", append(attrs, slog.String("error", r.Err))...)
	case r.Released != 0 && r.ReleaseFailed:
		log.Error("release has failed; this node may still hold something", term)
	case r.Released != 0:
		log.Info("all is released", term)
	}
}
