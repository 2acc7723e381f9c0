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
	"doyen/agent/journal"

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
	h, err := newServing(socket, buf, tools)
	if err != nil {
		return writeMessage(socket, &Report{Err: errText(err)})
	}
	if err := writeMessage(socket, &Report{}); err != nil {
		return err
	}
	gone := make(chan struct{})
	go listen(socket, buf, h.box, gone)
	var teller sync.WaitGroup
	teller.Go(func() { tell(socket, h) })
	debug.FreeOSMemory()
	h.loop(gone)
	if run := h.cfg.HealthRun; run != "" {
		if err := hook.SweepHealth(run); err != nil {
			logger(&h.cfg).Warn("a health check goes on", "error", err)
		}
	}
	teller.Wait()
	return nil
}

// newServing makes the hands of this process, as its agent wants them.
func newServing(socket *os.File, buf []byte, tools Tools) (*hands, error) {
	var cfg Config
	if err := readMessage(socket, buf, &cfg); err != nil {
		return nil, err
	}
	word, err := mapWord(memoryFD)
	if err != nil {
		return nil, err
	}
	if err := hook.Adopt(); err != nil {
		return nil, err
	}
	return newHands(cfg, tools, word, true)
}

// surviveSignals keeps signals that are meant for the agent from ending the
// keeper, whose work begins when the agent ends: SIGABRT is what a watchdog sends.
// They are caught rather than ignored, because what is ignored stays so in hooks.
func surviveSignals() {
	signal.Notify(make(chan os.Signal, 1),
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
}

// staySmall trades the collector's speed, which does not matter here, for
// memory.
func staySmall() {
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(12 << 20)
}

// listen takes orders until the agent is gone, which closes its end.
func listen(socket *os.File, buf []byte, box *mailbox, gone chan<- struct{}) {
	defer close(gone)
	for {
		var o Order
		if err := readMessage(socket, buf, &o); err != nil {
			return
		}
		box.put(o)
	}
}

// tell reports to the agent or, once it is gone, to whoever reads the log.
func tell(socket *os.File, h *hands) {
	log := logger(&h.cfg)
	for {
		r, ok := h.out.take()
		if !ok {
			return
		}
		if writeMessage(socket, &r) != nil && r.Seen == 0 {
			r.log(log)
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
	case journal.Takes(os.Stderr):
		handler = journal.NewHandler(os.Stderr, o)
	}
	return slog.New(handler).With("node", cfg.Node, "from", "keeper")
}

// log logs a report that no agent is left to take.
func (r *Report) log(log *slog.Logger) {
	term := slog.Uint64("term", r.Term)
	switch {
	case r.Note != "":
		log.Warn(r.Note)
	case r.Fired != 0:
		log.Warn("the agent is gone or too late, so its leadership has been ended", term)
	case r.Event != "" && !r.Running:
		log.Info("hook", slog.String("event", r.Event), term, slog.Int("exit", r.Exit), slog.String("error", r.Err),
			slog.Duration("took", r.Duration), slog.String("output", r.Output))
	case r.Released != 0 && r.ReleaseFailed:
		log.Error("release has failed; this node may still hold something", term)
	case r.Released != 0:
		log.Info("all is released", term)
	}
}
