package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
)

// manager is a service manager that writes down what it is told.
type manager struct {
	mu   sync.Mutex
	told []string
}

func newManager(t *testing.T, socket string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told = append(m.told, strings.Split(string(buf[:n]), "\n")...)
			m.mu.Unlock()
		}
	}()
	return m
}

// lines returns what it was told, without the watchdog's food.
func (m *manager) lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.told), func(l string) bool { return l == "WATCHDOG=1" })
}

func (m *manager) meals() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(m.told), func(l string) bool { return l != "WATCHDOG=1" }))
}

// The life of a service: it starts, follows, leads, reads its files again, and
// stops.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	first, second := g.nodes[0], g.nodes[1]
	first.start()
	g.checkLeader(first, first)
	m := newManager(t, filepath.Join(g.dir, "notify"))
	second.env = []string{"NOTIFY_SOCKET=" + filepath.Join(g.dir, "notify"), "WATCHDOG_USEC=200000"}
	second.start("--hook", g.hook())
	hears := func(want string) {
		t.Helper()
		pattern := regexp.MustCompile(want)
		g.eventually(func() error {
			if all := strings.Join(m.lines(), " | "); !pattern.MatchString(all) {
				return fmt.Errorf("the service manager was told %s, want %s", all, want)
			}
			return nil
		})
	}
	hears("READY=1 \\| STATUS=follows " + first.name + ", term [0-9]+$")
	first.signal(syscall.SIGTERM)
	hears("STATUS=leader, term [0-9]+$")
	fed := m.meals()
	g.eventually(func() error {
		if m.meals() < fed+5 {
			return errors.New("the watchdog is not fed")
		}
		return nil
	})
	second.signal(syscall.SIGHUP)
	hears("RELOADING=1 \\| MONOTONIC_USEC=[0-9]{6,} \\| READY=1$")
	second.signal(syscall.SIGTERM)
	second.wait()
	hears("STOPPING=1 \\| STATUS=leaving the group$")
}

// What the agent starts is not the service, and must not speak for it.
func TestHookIsNotTheService(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	g.also(`env >>"${0%/*}/environment"`)
	newManager(t, filepath.Join(g.dir, "notify"))
	a := g.nodes[0]
	a.env = []string{"NOTIFY_SOCKET=" + filepath.Join(g.dir, "notify"), "WATCHDOG_USEC=200000", "WATCHDOG_PID=1"}
	a.start("--hook", g.hook(), "--lone-wait", "0s")
	g.eventuallyEvent(a.name + " acquire end")
	text, err := os.ReadFile(filepath.Join(g.dir, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	if env := string(text); strings.Contains(env, "NOTIFY_SOCKET") || strings.Contains(env, "WATCHDOG") {
		t.Errorf("the hook was given the service's own environment:\n%s", env)
	}
}

// doll is an agent in any state that a test wants.
type doll struct {
	live, joined error
	status       agent.Status
	leaving      chan struct{}
}

func (d *doll) Live(time.Duration) error                  { return d.live }
func (d *doll) Joined() error                             { return d.joined }
func (d *doll) Status() agent.Status                      { return d.status }
func (d *doll) Leaving() <-chan struct{}                  { return d.leaving }
func (d *doll) Watch(context.Context) <-chan agent.Status { return nil }

// The watchdog is fed while the loop turns, and only then; READY comes with the
// leader, or when it has been waited for long enough.
func TestNotifier(t *testing.T) {
	near, far, err := pipe(t)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	n := &notifier{conn: near, began: start, watchdog: 4 * time.Second}
	hears := func(want ...string) {
		t.Helper()
		buf := make([]byte, 4096)
		wait := patience
		if len(want) == 0 {
			wait = 10 * time.Millisecond
		}
		far.SetReadDeadline(time.Now().Add(wait))
		size, _ := far.Read(buf)
		if got := string(buf[:size]); got != strings.Join(want, "\n") {
			t.Errorf("want %q, got %q", strings.Join(want, "\n"), got)
		}
	}
	d := &doll{joined: errors.New("not every seed has answered yet")}
	n.look(d, start)
	hears("STATUS=not every seed has answered yet", "WATCHDOG=1")
	n.whileReloading(func() {})
	hears() // or it would be taken for ready
	d.live = errors.New("stuck")
	n.look(d, start.Add(joinPatience+1))
	hears()
	d.live = nil
	n.look(d, start.Add(joinPatience+1))
	hears("READY=1", "WATCHDOG=1")
	d.joined, d.status = nil, agent.Status{Leader: "x\nSTOPPING=1", Term: 7}
	n.look(d, start.Add(joinPatience+2))
	hears("STATUS=follows x?STOPPING=1, term 7")
	d.status = agent.Status{Leader: "a", IsLeader: true, Term: 8}
	d.live = errors.New("stuck")
	n.look(d, start.Add(joinPatience+time.Minute))
	hears("STATUS=leader, term 8")
	d.status = agent.Status{}
	n.look(d, start.Add(joinPatience+time.Minute))
	hears("STATUS=there is no leader")
	n.leave()
	hears("STOPPING=1", "STATUS=leaving the group")
	n.whileReloading(func() {})
	hears()
}

// pipe returns both ends of a connection such as a service manager offers.
func pipe(t *testing.T) (near net.Conn, far *net.UnixConn, err error) {
	socket := filepath.Join(t.TempDir(), "notify")
	if far, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { far.Close() })
	near, err = net.Dial("unixgram", socket)
	return near, far, err
}

func TestNoServiceManager(t *testing.T) {
	var n *notifier
	called := false
	n.whileReloading(func() { called = true })
	n.follow(&doll{})()
	if !called {
		t.Error("without a service manager nothing is read again")
	}
}
