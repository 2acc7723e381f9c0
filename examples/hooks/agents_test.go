package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// TestCloudWithAgents runs agents with a hook: the address moves to the leader, comes
// back when another node has taken it, and follows a hand-over.
func TestCloudWithAgents(t *testing.T) {
	t.Parallel()
	m := newMock(t, digitalOcean)
	hook, err := filepath.Abs(m.hook)
	if err != nil {
		t.Fatal(err)
	}
	start := func(node string, seeds ...string) (a *agent.Agent, leave func()) {
		t.Helper()
		wrapper := m.file(node, fmt.Sprintf("#!/bin/sh\nexport no_proxy='*' %s\nexec '%s' \"$@\"\n",
			strings.Join(m.settings(m, node), " "), hook))
		if err := os.Chmod(wrapper, 0o700); err != nil {
			t.Fatal(err)
		}
		c := agent.Config{
			BindAddr: "127.0.0.1", BindPort: new(0), Seeds: seeds, Hook: wrapper,
			CheckInterval: 500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}
		if len(seeds) == 0 {
			c.LoneWait = new(time.Duration(0)) // it starts alone
		}
		a, err := agent.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		leave = func() {
			if cancel(); done != nil {
				if err := <-done; err != nil {
					t.Errorf("%s: %v", node, err)
				}
				done = nil
			}
		}
		t.Cleanup(leave)
		return a, leave
	}
	eventually := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
			ok := false
			if m.do(func() { ok = is() }); ok {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not within %v", what, deadline)
			}
		}
	}
	a, leave := start("a")
	eventually("the address is at a", func() bool { return m.holder == m.a })
	b, _ := start("b", a.Addr())
	eventually("b follows a", func() bool { return b.Status().Leader == a.Name() })
	m.do(func() { m.holder = m.b })
	eventually("the address is at a again", func() bool { return m.holder == m.a })
	leave()
	eventually("the address is at b", func() bool { return m.holder == m.b })
}
