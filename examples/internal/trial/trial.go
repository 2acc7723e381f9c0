// Package trial is what tests of the examples repeat: building the agent, an agent on this
// host, a port for a program, and waiting.
package trial

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"doyen/agent"
	"doyen/api"
)

// Build builds the agent in a directory that goes with the test, and returns its path. It
// needs no shared library, so that it runs in a container that has nothing else, too.
func Build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-o", path, "doyen/cmd/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v: %s", err, out)
	}
	return path
}

// Run runs an agent that serves HTTP until stop is called, or until the test ends. It
// listens on loopback, and on a free port, unless c says otherwise.
func Run(t *testing.T, c agent.Config) (a *agent.Agent, stop context.CancelFunc) {
	t.Helper()
	c.BindAddr = cmp.Or(c.BindAddr, "127.0.0.1")
	c.BindPort = cmp.Or(c.BindPort, new(int))
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(api.Config{Agent: a, Log: c.Logger})
	go server.Serve(a.HTTP())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- errors.Join(a.Run(ctx), server.Shutdown(context.Background())) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", a.Addr(), err)
		}
	})
	return a, stop
}

// FreePort is a port that no program had a moment ago, on any address.
func FreePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Patience is how long a test waits for an event that takes a second on a quiet machine.
const Patience = 60 * time.Second

// Holds fails the test if what is described does not hold within Patience.
func Holds(t *testing.T, what string, holds func() bool) {
	t.Helper()
	Eventually(t, Patience, func() error {
		if holds() {
			return nil
		}
		return errors.New(what)
	})
}

// Eventually fails the test if check does not succeed within patience.
func Eventually(t *testing.T, patience time.Duration, check func() error) {
	t.Helper()
	if err := Poll(patience, check); err != nil {
		t.Fatalf("not within %v: %v", patience, err)
	}
}

// Poll waits until check succeeds. After patience it returns the last error.
func Poll(patience time.Duration, check func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
