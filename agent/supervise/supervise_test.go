//go:build linux

package supervise

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/clock"
	"doyen/agent/process"
)

// patience is how long a test waits for what takes milliseconds on a quiet machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	Init()
	if len(os.Args) == 3 && os.Args[1] == "starter" {
		c, err := Start(Config{Path: "/bin/sh", Args: []string{"sh", "-c", os.Args[2]}, Env: os.Environ(), Deadline: clock.Boot() + time.Hour})
		if err != nil {
			panic(err)
		}
		<-c.Done()
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "teller" {
		tellOn()
	}
	os.Exit(m.Run())
}

// tellOn moves the deadline of a command again and again, until it cannot, or until the
// standard input ends. A guard that has no room for an order says so, and is told later.
func tellOn() {
	c, err := Start(Config{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Env: os.Environ(), Deadline: clock.Boot() + time.Hour})
	if err != nil {
		panic(err)
	}
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	for err == nil || errors.Is(err, syscall.EAGAIN) {
		select {
		case <-over:
			c.Kill()
			os.Exit(0)
		default:
		}
		err = c.tell(order{Deadline: clock.Boot() + time.Hour})
	}
	c.Kill()
	os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

// A process that gets no processor between two of its instructions tells its guard all
// the same: here it is stopped again and again, for longer than a write takes.
func TestOrderIsWrittenHoweverLate(t *testing.T) {
	teller := exec.Command(os.Args[0], "teller")
	input, err := teller.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	teller.Stderr = &said
	if err := teller.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		teller.Process.Signal(syscall.SIGSTOP)
		time.Sleep(3 * time.Millisecond)
		teller.Process.Signal(syscall.SIGCONT)
		time.Sleep(time.Millisecond)
	}
	input.Close()
	if err := teller.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
}

// start runs a script that is to end by the deadline. What it prints is read from
// the file returned.
func start(t *testing.T, deadline time.Duration, script string) *Command {
	t.Helper()
	c, err := Start(Config{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ(), Deadline: deadline})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Kill() })
	return c
}

func await(t *testing.T, c *Command) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the guard does not end")
	}
}

// The status is the command's own, and the environment has nothing of the guard's.
func TestStatus(t *testing.T) {
	c := start(t, clock.Boot()+time.Hour, "env | grep EXEC_GUARD && exit 1; exit 7")
	await(t, c)
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if status, remains, ended, err := c.Result(); !ended || err != nil || status.ExitStatus() != 7 || remains != 0 {
		t.Errorf("got status %d, %d processes left, ended %v and %v, want 7, 0, true and no error", status.ExitStatus(), remains, ended, err)
	}
}

// What the command leaves running is killed before its end is told, and counted.
func TestWhatTheCommandLeavesIsKilled(t *testing.T) {
	c := start(t, clock.Boot()+time.Hour, "sleep 1000 & setsid sleep 1000 & exit 7")
	await(t, c)
	if left := process.Children(os.Getpid()); len(left) != 0 {
		t.Errorf("processes %v have come to this one when the guard ends, want none", left)
	}
	c.Kill()
	if status, remains, ended, err := c.Result(); !ended || err != nil || status.ExitStatus() != 7 || remains != 2 {
		t.Errorf("got status %d, %d processes left, ended %v and %v, want 7, 2, true and no error", status.ExitStatus(), remains, ended, err)
	}
}

// A guard that was itself stopped beyond its deadline finds the order that has moved it.
func TestOrderThatWaitsMovesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard{orders: make(chan order), deadline: clock.Boot()}
		go func() { g.orders <- order{Deadline: clock.Boot() + time.Hour} }()
		if g.isOver() {
			t.Error("the deadline counts as passed, although it was moved")
		}
		g.deadline = clock.Boot()
		if !g.isOver() {
			t.Error("the deadline does not count as passed, and was not moved")
		}
	})
}

// All is killed when the deadline has passed, and not before if it was moved.
func TestDeadline(t *testing.T) {
	const first, moved = 2 * time.Second, 4 * time.Second // the guard starts before the first
	began := clock.Boot()
	c := start(t, began+first, "trap '' TERM; sleep 1000 & setsid sleep 1000")
	c.Extend(began + moved)
	await(t, c)
	if took := clock.Boot() - began; took < moved {
		t.Errorf("killed after %v, before the deadline of %v", took, moved)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if _, _, ended, err := c.Result(); ended || err != nil {
		t.Errorf("got ended %v and %v, want it killed", ended, err)
	}
	if late := start(t, clock.Boot(), "exit 7"); true {
		await(t, late)
		if _, _, ended, _ := late.Result(); ended {
			t.Error("a command was run whose deadline had passed")
		}
	}
}

// What cannot be started is an error that says so.
func TestNotStarted(t *testing.T) {
	c, err := Start(Config{Path: "/no/such/program", Args: []string{"x"}, Deadline: clock.Boot() + time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c)
	c.Kill()
	if _, _, ended, err := c.Result(); ended || err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got ended %v and %v, want an error that names the program", ended, err)
	}
}

// A child that this process had before is none of the command's.
func TestOtherChildrenLive(t *testing.T) {
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Process.Kill()
	c := start(t, clock.Boot()+time.Hour, "sleep 1000")
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a child that was there before is gone: %v", err)
	}
}

// A child that one look at the kernel's list does not find is killed all the same.
func TestAHiddenChildIsKilled(t *testing.T) {
	hidden := exec.Command("sleep", "1000")
	if err := hidden.Start(); err != nil {
		t.Fatal(err)
	}
	defer hidden.Process.Kill()
	looks := 0
	err := killChildren(nil, func() []int {
		if looks++; looks == 1 {
			return nil
		}
		return process.Children(os.Getpid())
	})
	if parent := process.Parent(hidden.Process.Pid); err != nil || parent == os.Getpid() {
		t.Errorf("got %v, and the child has the parent %d, want it reaped", err, parent)
	}
}

// The command dies with its guard, although the process that has started both is killed
// as well and can clean nothing up.
func TestGuardAndItsStarterKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/pid"
	starter := exec.Command(exe, "starter", "echo $$ >"+file+".new; mv "+file+".new "+file+"; exec sleep 1000")
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	within := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(patience / 4); !holds(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within %v: %s", patience/4, what)
			}
		}
	}
	var pid int
	within("the command runs", func() bool {
		text, _ := os.ReadFile(file)
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	defer func() {
		if t.Failed() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	both := []int{starter.Process.Pid, process.Parent(pid)}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, p := range both {
			if err := syscall.Kill(p, sig); err != nil {
				t.Error(err)
			}
		}
	}
	starter.Wait()
	within("the command is dead", func() bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(pid))
		return err != nil || process.IsZombie(pid)
	})
}

// A signal goes to the command.
func TestSignal(t *testing.T) {
	ready := t.TempDir() + "/ready"
	c := start(t, clock.Boot()+time.Hour, "trap 'exit 5' TERM; : >"+ready+"; while :; do sleep 0.02; done")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
	}
	c.Signal(syscall.SIGTERM)
	await(t, c)
	c.Kill()
	if status, _, ended, err := c.Result(); !ended || err != nil || status.ExitStatus() != 5 {
		t.Errorf("got status %d, ended %v and %v, want 5", status.ExitStatus(), ended, err)
	}
}
