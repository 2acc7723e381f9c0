package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/cmd/internal/testrun"
)

// patience is how long a test of real processes waits for what takes a second
// on a quiet machine. Nothing asserts how long it really took.
const patience = 60 * time.Second

// binary is the program under test, built once.
var binary string

// portsTaken are the ports that tests of this run were given, so that no two
// tests at a time use the same.
var (
	portsLock  sync.Mutex
	portsTaken = map[string]bool{}
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "doyen-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "agent")
	args := append(append([]string{"build"}, buildFlags...), "-o", binary, ".")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program under test: %v: %s\n", err, out)
		os.Exit(1)
	}
	// A program built with the race detector sleeps for a second before it exits, by default.
	os.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE"))
	if len(buildFlags) > 0 {
		// With the race detector it starts with fifteen collections. While one goes on, threads
		// wait in a loop for others: in real time, beside agents in real time, for whole slices.
		os.Setenv("GOGC", cmp.Or(os.Getenv("GOGC"), "1600"))
	}
	// A test mostly waits. On two cores three leave room for each other; a given flag
	// overrides it.
	flag.Set("test.parallel", "3")
	flag.Parse()
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A group is some agents as real processes on this host, with a hook that
// writes down what it is told.
type group struct {
	t     *testing.T
	dir   string
	exe   string
	nodes []*node
}

type node struct {
	g    *group
	name string
	args []string
	env  []string // besides the test's
	// within is the command that runs another in the node's own network
	// namespace; nil: it has none.
	within []string
	at     string // where it is asked; "": at its name
	// ordinary: it is scheduled like any other program.
	ordinary bool
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process has ended
	err      error         // how; read after done
}

// recordingHook writes a line when an event begins and one when it ends. Lines
// are appended in one write, so their order in the file is the order of time.
const recordingHook = `#!/bin/sh
echo "$DOYEN_NODE $1 begin $DOYEN_REASON $DOYEN_TERM" >>"${0%/*}/events"
[ -x "${0%/*}/also" ] && "${0%/*}/also" "$@"
echo "$DOYEN_NODE $1 end $DOYEN_REASON $DOYEN_TERM" >>"${0%/*}/events"
`

// newGroup prepares agents named localhost:PORT on free ports; none is started.
// When the test ends they are stopped, and no process of theirs may be left.
func newGroup(t *testing.T, count int) *group {
	t.Helper()
	g := &group{t: t, dir: t.TempDir()}
	// A name of its own for the program tells this test's processes from those
	// of another.
	g.exe = filepath.Join(g.dir, "agent")
	if err := os.Link(binary, g.exe); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.hook(), []byte(recordingHook), 0o700); err != nil {
		t.Fatal(err)
	}
	portsLock.Lock()
	defer portsLock.Unlock()
	for len(g.nodes) < count {
		ports, err := freePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		port := ports[0]
		if portsTaken[port] {
			continue
		}
		portsTaken[port] = true
		g.nodes = append(g.nodes, &node{g: g, name: "localhost:" + port})
	}
	for _, n := range g.nodes {
		_, port, _ := net.SplitHostPort(n.name)
		n.args = []string{"--bind-port", port, "--advertise-addr", n.name, "--seeds", strings.Join(g.names(), ",")}
	}
	t.Cleanup(g.cleanUp)
	return g
}

func (g *group) hook() string { return filepath.Join(g.dir, "hook.sh") }

func (g *group) names() []string {
	var names []string
	for _, n := range g.nodes {
		names = append(names, n.name)
	}
	return names
}

// start starts the agents one after another, each when the one before has
// joined, so that this is the line of succession: a member that started earlier
// and joined later ranks later.
func (g *group) start(more ...string) *group {
	g.t.Helper()
	for i, n := range g.nodes {
		n.start(more...)
		g.eventually(func() error {
			if got := len(n.state().Members); got != i+1 {
				return fmt.Errorf("%s: got %d members, want %d", n.name, got, i+1)
			}
			return nil
		})
	}
	return g
}

// cleanUp stops what still runs and checks that nothing stays behind.
func (g *group) cleanUp() {
	for _, n := range g.nodes {
		if n.cmd != nil {
			n.signal(syscall.SIGTERM)
		}
	}
	for _, n := range g.nodes {
		if n.cmd != nil {
			n.wait()
		}
	}
	var left []string
	if !poll(func() bool { left = processesOf(g.dir); return len(left) == 0 }) {
		g.t.Errorf("these processes are left: %q", left)
	}
	if g.t.Failed() {
		for _, n := range g.nodes {
			g.t.Logf("log of %s:\n%s", n.name, n.log())
		}
		g.t.Logf("hook events:\n%s", strings.Join(g.events(), "\n"))
	}
}

// processesOf lists the command lines of processes that run anything in dir.
func processesOf(dir string) []string {
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range dirs {
		// A process that has just ended cannot be read, and is none of ours.
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		exe, _ := os.Readlink(filepath.Join(p, "exe"))
		if bytes.Contains(line, []byte(dir)) || strings.HasPrefix(exe, dir) {
			found = append(found, fmt.Sprintf("%s: %s", filepath.Base(p), bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// events returns the hook's lines so far.
func (g *group) events() []string {
	data, err := os.ReadFile(filepath.Join(g.dir, "events"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// event returns the index of the last line that begins with prefix, or -1.
func (g *group) event(prefix string) int {
	events := g.events()
	for i, e := range slices.Backward(events) {
		if strings.HasPrefix(e, prefix) {
			return i
		}
	}
	return -1
}

func (n *node) start(more ...string) {
	n.g.t.Helper()
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.g.t.Fatal(err)
	}
	defer log.Close()
	line := slices.Concat(n.within, []string{n.g.exe}, n.args, more)
	n.cmd = exec.Command(line[0], line[1:]...)
	n.cmd.Stderr = log
	// What voters promise is recorded in the test's directory, not on the host.
	n.cmd.Env = append(withoutSettings(os.Environ()), "RUNTIME_DIRECTORY="+n.g.dir)
	n.cmd.Env = append(n.cmd.Env, n.env...)
	start := n.cmd.Start
	if !n.ordinary { // the tests are about the faults that they cause, not about a host without CPU
		start = func() error { return testrun.First(n.cmd.Start) }
	}
	if err := start(); err != nil {
		n.g.t.Fatal(err)
	}
	cmd, done := n.cmd, make(chan struct{})
	n.done = done
	go func() {
		n.err = cmd.Wait()
		close(done)
	}()
}

func (n *node) logFile() string {
	return filepath.Join(n.g.dir, strings.ReplaceAll(n.name, ":", "_")+".log")
}

func (n *node) log() string {
	data, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// signal sends a signal to the agent; one that has ended needs none.
func (n *node) signal(s syscall.Signal) { n.cmd.Process.Signal(s) }

// wait waits for the agent's end and returns its exit code; -1 for one that a
// signal ended, or that had to be killed.
func (n *node) wait() int {
	n.g.t.Helper()
	select {
	case <-n.done:
	case <-time.After(patience):
		n.g.t.Errorf("%s does not end", n.name)
		n.signal(syscall.SIGKILL)
		<-n.done
		return -1
	}
	return n.cmd.ProcessState.ExitCode()
}

// command runs the program as a process of its own, scheduled as the agents are.
func (g *group) command(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	cmd := exec.Command(g.exe, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = withoutSettings(os.Environ())
	if testrun.First(cmd.Start) == nil {
		_ = cmd.Wait() // its exit code says how it went
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (n *node) client() *client { return &client{addr: n.name, timeout: answerTime} }

// get asks the agent for JSON; it reports whether that was answered.
func (n *node) get(path string, into any, want ...int) bool {
	if n.within != nil {
		// Only a process in the namespace can ask: the test's threads stay out.
		line := append(slices.Clone(n.within), "curl", "-s", "-m", "10", "http://"+cmp.Or(n.at, n.name)+path)
		out, err := exec.Command(line[0], line[1:]...).Output()
		return err == nil && json.Unmarshal(out, into) == nil
	}
	a, err := n.client().get(context.Background(), path, append(want, http.StatusOK)...)
	return err == nil && a.decode(into) == nil
}

// state is the agent's own state, empty if it does not answer.
func (n *node) state() agent.State {
	var s agent.State
	if !n.get("/state", &s) {
		return agent.State{}
	}
	return s
}

// leader is the one that the agent names; "": none.
func (n *node) leader() string {
	if s := n.state(); s.Leader != nil {
		return *s.Leader
	}
	return ""
}

// checkLeader waits until all of nodes follow want, and only it says it leads.
func (g *group) checkLeader(want *node, nodes ...*node) {
	g.t.Helper()
	g.eventually(func() error {
		term := want.state().Term
		for _, n := range nodes {
			s := n.state()
			if s.Leader == nil || *s.Leader != want.name || s.IsLeader != (n == want) || s.Term != term {
				return fmt.Errorf("%s: got leader %q, is_leader %v and term %d, want %q to lead under term %d", n.name, n.leader(), s.IsLeader, s.Term, want.name, term)
			}
			if got := len(s.Members); got != len(nodes) {
				return fmt.Errorf("%s: got %d members, want %d", n.name, got, len(nodes))
			}
		}
		return nil
	})
}

// checkHeir waits until all of nodes agree who would lead next: a leader that
// ends in its first milliseconds takes the line of succession with it.
func (g *group) checkHeir(want *node, nodes ...*node) {
	g.t.Helper()
	g.eventually(func() error {
		for _, n := range nodes {
			var r agent.Readiness
			if !n.get("/ready", &r, http.StatusServiceUnavailable) || r.WouldLead == nil || *r.WouldLead != want.name {
				return fmt.Errorf("%s: got /ready %+v, want %s to lead next", n.name, r, want.name)
			}
		}
		return nil
	})
}

// eventually fails the test if check does not succeed within patience.
func (g *group) eventually(check func() error) {
	g.t.Helper()
	var err error
	if !poll(func() bool { err = check(); return err == nil }) {
		g.t.Fatal(err)
	}
}

// eventuallyEvent waits for a line of the hook.
func (g *group) eventuallyEvent(prefix string) {
	g.t.Helper()
	g.eventually(func() error {
		if g.event(prefix) < 0 {
			return fmt.Errorf("the hook has written no line %q", prefix)
		}
		return nil
	})
}

// poll waits until something holds. It looks seldom enough that the agents asked, which go
// before other programs, leave the processors to those of other tests.
func poll(holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
