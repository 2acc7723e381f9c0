package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"doyen/agent"
	"doyen/agent/journald"
	"doyen/api"

	"github.com/urfave/cli/v2"
)

// httpEnd is how long HTTP calls that are under way when the agent has left may
// still take: the answer to POST /leave is one of them.
const httpEnd = time.Second

// runAgent runs one agent until it is told to leave.
func runAgent(ctx context.Context, values flagValues, stderr io.Writer) error {
	if err := needsLinux(); err != nil {
		return err
	}
	o, err := loadOptions(values)
	if err != nil {
		return err
	}
	token, err := readToken(o.tokenFile)
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	cert, err := o.openTLS()
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	var level slog.LevelVar
	log := o.newLogger(stderr, &level)
	o.Logger = log
	if _, err := o.checkPrograms(); err != nil {
		return cli.Exit(err, exitUsage)
	}
	for _, note := range o.notes(os.Environ()) {
		log.Warn(note)
	}

	manager, err := openNotifier()
	if err != nil {
		log.Warn("the service manager is told nothing", "error", err)
	}
	ctx, stop := leaveOnSignal(ctx, log)
	defer stop()
	a, err := agent.New(o.Config)
	if err != nil {
		return o.unusable(err)
	}
	log.Info("listening on "+a.HTTP().Addr().String(), "http", cmp.Or(o.HTTP, "same port"))
	served := api.Config{Agent: a, Token: token, TLS: cert.config(), Log: log}
	if s := a.Store(); s != nil {
		served.Store = s
	}
	server := api.NewServer(served)
	if cert != nil {
		cert.tell(log)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := serve(o.HTTP, a.HTTP(), server, log, fail); err != nil {
		fail(err) // so that Run only gives back what New has taken
	}
	r := &reloader{values: values, started: &o, agent: a, server: server, cert: cert, level: &level, log: log}
	defer reloadOnSignal(func() { manager.whileReloading(r.reload) })()
	defer manager.follow(a)()

	err = a.Run(ctx)
	end, cancel := context.WithTimeout(context.Background(), httpEnd)
	defer cancel()
	if err := server.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Warn("HTTP did not end cleanly", "error", err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// serve answers HTTP where the configuration has it: on the gossip port, at an
// address of its own, or nowhere. If it cannot go on, fail ends the agent,
// because one that no client can ask is worse than one that is restarted.
func serve(where string, shared net.Listener, server *api.Server, log *slog.Logger, fail context.CancelCauseFunc) error {
	ln := shared
	if where != "" {
		// What speaks HTTP on the gossip port is closed at once.
		if err := shared.Close(); err != nil {
			return fmt.Errorf("--http: closing HTTP on the gossip port: %w", err)
		}
	}
	if where == agent.Off {
		return nil
	}
	if where != "" {
		var err error
		if ln, err = net.Listen("tcp", where); err != nil {
			return fmt.Errorf("--http: %w", err)
		}
		log.Info("answering HTTP on " + ln.Addr().String())
	}
	go func() {
		// The shared listener closes when the agent has left; that is no fault.
		if err := server.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
			fail(fmt.Errorf("answering HTTP: %w", err))
		}
	}()
	return nil
}

// leaveOnSignal returns a context that ends with the first SIGTERM or SIGINT:
// the agent then hands over, releases and leaves. A second one ends the process
// at once; the keeper sees it and releases what is held.
func leaveOnSignal(ctx context.Context, log *slog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case s := <-signals:
				if !first {
					log.Warn("exiting at once", "signal", s.String())
					os.Exit(exitFailed)
				}
				log.Info("leaving; a second signal exits at once", "signal", s.String())
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// newLogger returns a logger in the format of o whose level can change later.
func (o *options) newLogger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(o.logLevel)
	h := &slog.HandlerOptions{Level: level}
	switch {
	case o.logFormat == logJSON:
		return slog.New(slog.NewJSONHandler(w, h))
	case journald.Takes(w):
		return slog.New(journald.NewHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}

// The formats of the log.
const (
	logText = "text"
	logJSON = "json"
)

// release gives up what an agent that has ended still holds, as a service
// manager has it done in the end.
func release(c *cli.Context, values flagValues) error {
	if err := cmp.Or(noArguments(c), needsLinux()); err != nil {
		return err
	}
	o, err := loadOptions(values)
	if err != nil {
		return err
	}
	o.Logger = o.newLogger(c.App.ErrWriter, new(slog.LevelVar))
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return agent.Release(ctx, o.Config)
}
