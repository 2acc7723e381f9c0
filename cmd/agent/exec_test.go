package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doyen/cmd/internal/testrun"

	"golang.org/x/sys/unix"
)

// lockedBuffer is a buffer that is read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// A leaf ignores what asks it to end, and lives on without its parent.
const leaf = `trap '' TERM HUP INT
while :; do sleep 1; done
`

// A tree starts leaves in its own group, in a session of their own, and as
// orphans, and does not end by itself.
const tree = `trap '' TERM HUP INT
leaf=${0%/*}/leaf
sh $leaf own &
setsid sh $leaf session &
(sh $leaf orphan &)
setsid setsid sh -c "(setsid sh $leaf deep &)" &
echo up
sh $leaf foreground
`

// leaves is how many leaves a tree has.
const leaves = 5

// writeTree writes the programs of a tree and returns the one to run.
func (g *group) writeTree() string {
	g.t.Helper()
	for name, text := range map[string]string{"leaf": leaf, "tree": "#!/bin/sh\n" + tree} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o700); err != nil {
			g.t.Fatal(err)
		}
	}
	return filepath.Join(g.dir, "tree")
}

// leavesAlive lists the leaves that live.
func (g *group) leavesAlive() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // it may have ended
		args := bytes.Split(line, []byte{0})
		var pid int
		if len(args) > 2 && string(args[1]) == filepath.Join(g.dir, "leaf") {
			fmt.Sscan(filepath.Base(dir), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// run is agent exec with a tree.
type execRun struct {
	*exec.Cmd
	stderr lockedBuffer
	guard  int
	leaves []unix.PollFd // each is readable once its leaf is dead
}

// execTree starts agent exec at a member that leads, and returns when all of the
// tree lives.
func (g *group) execTree(at *node) *execRun {
	g.t.Helper()
	r := &execRun{Cmd: exec.Command(g.exe, "exec", "--addr", at.name, "--", g.writeTree())}
	r.Env, r.Stderr = withoutSettings(os.Environ()), &r.stderr
	r.Stdout = io.Discard
	if err := testrun.First(r.Start); err != nil { // as the agents are started
		g.t.Fatal(err)
	}
	var pids []int
	g.eventually(func() error {
		if pids = g.leavesAlive(); len(pids) != leaves {
			return fmt.Errorf("the tree has %d leaves, want %d: %s", len(pids), leaves, r.stderr.String())
		}
		return nil
	})
	r.guard = childOf(r.Process.Pid)
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { unix.Close(fd) })
		r.leaves = append(r.leaves, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return r
}

// alive is how many leaves of the tree live at the moment.
func (r *execRun) alive() int {
	leaves := slices.Clone(r.leaves)
	for {
		if dead, err := unix.Poll(leaves, 0); err != unix.EINTR {
			return len(leaves) - dead
		}
	}
}

// childOf is the first child of a process.
func childOf(pid int) (child int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		fmt.Sscan(string(text), &child)
	}
	return child
}

// awaitDead returns when the tree is dead.
func (r *execRun) awaitDead(t *testing.T) {
	t.Helper()
	if !poll(func() bool { return r.alive() == 0 }) {
		t.Fatalf("the tree lives on: %s", r.stderr.String())
	}
}

// succession is what was seen when another member led.
type succession struct {
	at    time.Time
	alive int // the leaves of the tree that lived then
}

// succeeded polls until one of nodes leads, and looks at the tree at once. A leaf that
// lives then has lived while that member led, no matter how late the look is.
func (r *execRun) succeeded(nodes []*node, stop *atomic.Bool) <-chan succession {
	seen := make(chan succession, len(nodes))
	for _, n := range nodes {
		go func() {
			client := &http.Client{Timeout: time.Second}
			for !stop.Load() {
				if resp, err := client.Get("http://" + n.name + "/is-leader"); err == nil {
					s := succession{alive: r.alive(), at: time.Now()}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == http.StatusOK {
						seen <- s
						return
					}
				}
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
	return seen
}

// leading waits until a member leads, the next one would follow it, and all follow it
// under one term: a member that meets the leader late may have it raise its term, which
// ends what runs under the one before.
func (g *group) leading() *node {
	g.t.Helper()
	var found *node
	g.eventually(func() error {
		found = nil
		for _, n := range g.nodes {
			var r struct{ Ready bool }
			if n.get("/ready", &r, http.StatusServiceUnavailable) && r.Ready && n.state().IsLeader {
				found = n
			}
		}
		if found == nil {
			return fmt.Errorf("no member leads and is ready")
		}
		term := found.state().Term
		for _, n := range g.nodes {
			if s := n.state(); s.Leader == nil || *s.Leader != found.name || s.Term != term {
				return fmt.Errorf("%s does not follow %s under term %d", n.name, found.name, term)
			}
		}
		return nil
	})
	return found
}

// In quorum mode all of the tree is dead before another member leads, no matter what ends
// the leadership.
func TestExecTreeDiesFirst(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	settings := []string{"--voters", "seeds", "--lease", "2s"}
	g.start(settings...)
	for _, test := range []struct {
		name string
		end  func(*node, *execRun)
		mend func(*node, *execRun)
		exit int // -1: a signal ended it
	}{
		{"step-down", func(n *node, _ *execRun) {
			go g.command("step-down", "--addr", n.name)
		}, func(n *node, _ *execRun) { g.command("resume", "--addr", n.name) }, exitLost},
		{"agent stopped", func(n *node, _ *execRun) { n.signal(syscall.SIGSTOP) },
			func(n *node, _ *execRun) { n.signal(syscall.SIGCONT) }, exitLost},
		{"agent and exec stopped", func(n *node, r *execRun) { r.Process.Signal(syscall.SIGSTOP); n.signal(syscall.SIGSTOP) },
			func(n *node, r *execRun) { r.Process.Signal(syscall.SIGCONT); n.signal(syscall.SIGCONT) }, exitLost},
		{"agent and guard stopped", func(n *node, r *execRun) { unix.Kill(r.guard, unix.SIGSTOP); n.signal(syscall.SIGSTOP) },
			func(n *node, _ *execRun) { n.signal(syscall.SIGCONT) }, exitLost},
		{"agent stopped and exec killed", func(n *node, r *execRun) { r.Process.Kill(); n.signal(syscall.SIGSTOP) },
			func(n *node, _ *execRun) { n.signal(syscall.SIGCONT) }, -1},
		{"agent killed", func(n *node, _ *execRun) { n.signal(syscall.SIGKILL) },
			func(n *node, _ *execRun) { n.wait(); n.start(settings...) }, exitLost},
	} {
		leader := g.leading()
		r := g.execTree(leader)
		var stop atomic.Bool
		others := r.succeeded(slices.DeleteFunc(slices.Clone(g.nodes), func(n *node) bool { return n == leader }), &stop)
		began := time.Now()
		test.end(leader, r)
		r.awaitDead(t)
		dead := time.Since(began)
		select {
		case other := <-others:
			if other.alive > 0 {
				t.Errorf("%s: %d leaves of the tree lived on while another member led", test.name, other.alive)
			}
			t.Logf("%s: seen dead after %v, another leads after %v", test.name, dead, other.at.Sub(began))
		case <-time.After(patience):
			t.Errorf("%s: no other member leads", test.name)
		}
		stop.Store(true)
		test.mend(leader, r)
		r.Wait()
		if got := r.ProcessState.ExitCode(); got != test.exit {
			t.Errorf("%s: got exit %d and %q, want %d", test.name, got, r.stderr.String(), test.exit)
		}
	}
}

// Killing exec or its guard kills the tree, although the agent leads on.
func TestExecKilled(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	g.start("--lone-wait", "0s", "--lease", "5s")
	n := g.nodes[0]
	g.checkLeader(n, n)
	for _, test := range []struct {
		name string
		kill func(*execRun)
	}{
		{"exec", func(r *execRun) { r.Process.Kill() }},
		{"guard", func(r *execRun) { unix.Kill(r.guard, unix.SIGKILL) }},
		// As pkill does with the name of the command: the guard has another.
		{"exec and the command", func(r *execRun) {
			for _, line := range processesOf(filepath.Join(g.dir, "tree")) {
				var pid int
				fmt.Sscan(line, &pid)
				unix.Kill(pid, unix.SIGKILL)
			}
		}},
	} {
		r := g.execTree(n)
		test.kill(r)
		r.awaitDead(t)
		r.Wait()
		if !n.state().IsLeader {
			t.Errorf("%s killed: the agent leads no more", test.name)
		}
	}
}

// Exit codes, environment, input and signals are what scripts rely on.
func TestExec(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	g.start("--lease", "5s")
	leader, follower := g.nodes[0], g.nodes[1]
	g.checkLeader(leader, leader, follower)
	plain := filepath.Join(g.dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at     *node
		args   []string
		code   int
		stdout string // all of it
		stderr string // a part of it; "": nothing
	}{
		{leader, []string{"--", "sh", "-c", "exit 7"}, 7, "", ""},
		{leader, []string{"true"}, 0, "", ""},
		{leader, []string{"--", "sh", "-c", `echo "$DOYEN_NODE $DOYEN_LEADER $DOYEN_ELECTION $DOYEN_CLUSTER"`}, 0, leader.name + " " + leader.name + " group default\n", ""},
		{leader, []string{"--", "sh", "-c", "kill -9 $$"}, 128 + 9, "", ""},
		{leader, []string{"--", "sh", "-c", "sleep 1000 & exit 4"}, 4, "", "left running was killed"},
		{follower, []string{"--", "echo", "run"}, exitNoLeader, "", ""},
		{follower, []string{"--json", "--", "echo", "run"}, exitNoLeader, "", `"ran":false`},
		{follower, []string{"--wait", "300ms", "--", "echo", "run"}, exitNoLeader, "", ""},
		{leader, []string{"--election", "web", "--", "echo", "run"}, exitFailed, "", "no election web"},
		{leader, nil, exitUsage, "", "the command is missing"},
		{leader, []string{"--", "no-such-program"}, 127, "", "no-such-program is nowhere in PATH"},
		{leader, []string{"--", "/nope"}, 127, "", "/nope is not there"},
		{follower, []string{"--", "/nope"}, 127, "", "/nope is not there"},
		{leader, []string{"--", plain}, 126, "", plain},
		{leader, []string{"--", g.dir}, 126, "", g.dir},
		{leader, []string{"--wait", "-1s", "--", "true"}, exitUsage, "", "--wait"},
		{&node{name: "127.0.0.1:1"}, []string{"--", "echo", "run"}, exitFailed, "", "connection refused"},
	} {
		stdout, stderr, code := g.command(append([]string{"exec", "--addr", test.at.name}, test.args...)...)
		if code != test.code || stdout != test.stdout || !strings.Contains(stderr, test.stderr) || test.stderr == "" && stderr != "" {
			t.Errorf("exec %q at %s: got exit %d, %q and %q, want %d, %q and %q", test.args, test.at.name, code, stdout, stderr, test.code, test.stdout, test.stderr)
		}
	}

	// With --wait it runs as soon as the member leads.
	waiting := exec.Command(g.exe, "exec", "--addr", follower.name, "--wait", "1m", "--", "sh", "-c", "read line; echo $line $DOYEN_EVENT $DOYEN_NODE $DOYEN_PREVIOUS_LEADER $DOYEN_HOOK")
	// What is a setting of an agent is none of the command's.
	waiting.Env, waiting.Stdin = append(withoutSettings(os.Environ()), "DOYEN_HOOK=/bin/true"), strings.NewReader("now\n")
	var out, errs bytes.Buffer
	waiting.Stdout, waiting.Stderr = &out, &errs
	if err := testrun.First(waiting.Start); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := g.command("step-down", "--addr", leader.name); code != 0 {
		t.Fatal(stderr)
	}
	if err := waiting.Wait(); err != nil || out.String() != "now run "+follower.name+" "+leader.name+"\n" {
		t.Errorf("with --wait: got %v, %q and %q, want it run by %s after %s", err, out.String(), errs.String(), follower.name, leader.name)
	}

	// A signal is the command's to answer.
	ready := filepath.Join(g.dir, "ready")
	told := exec.Command(g.exe, "exec", "--addr", follower.name, "--", "sh", "-c", `trap "exit 5" TERM; : >"$0"; while :; do sleep 0.05; done`, ready)
	told.Env = withoutSettings(os.Environ())
	if err := testrun.First(told.Start); err != nil {
		t.Fatal(err)
	}
	g.eventually(func() error { _, err := os.Stat(ready); return err })
	told.Process.Signal(syscall.SIGTERM)
	if told.Wait(); told.ProcessState.ExitCode() != 5 {
		t.Errorf("told SIGTERM: got %v, want exit 5, the command's own", told.ProcessState)
	}
}

// With --election the lead of that election counts, and its lease.
func TestExecOfAnElection(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	g.start("--elections", "web", "--lease", "5s")
	var leader *node
	g.eventually(func() error {
		for _, n := range g.nodes {
			if _, _, code := g.command("is-leader", "--addr", n.name, "--election", "web"); code == 0 {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("no member leads web")
	})
	args := []string{"exec", "--addr", leader.name, "--election", "web", "--wait", "1m", "--", "sh", "-c", "echo $DOYEN_NODE leads $DOYEN_ELECTION"}
	if stdout, stderr, code := g.command(args...); code != 0 || stdout != leader.name+" leads web\n" {
		t.Errorf("got exit %d, %q and %q", code, stdout, stderr)
	}
}
