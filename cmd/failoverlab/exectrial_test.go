//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// trialLease is the lease of the agents.
const trialLease = 3 * time.Second

var execFaults = []fault{
	{"exec killed", func(l *trial, former *host) { l.execKilled(former, l.rest.Process.Pid, -1) }},
	{"guard of exec killed", func(l *trial, former *host) { l.execKilled(former, l.guard(), exitLost) }},
	{"agent of exec killed", func(l *trial, former *host) { (*trial).agentKilled(l, former); l.execEnds(exitLost) }},
	{"agent of exec stopped", func(l *trial, former *host) { (*trial).agentStopped(l, former); l.execEnds(exitLost) }},
	{"lease lost under exec", func(l *trial, former *host) { (*trial).partition(l, former); l.execEnds(exitLost) }},
}

// exitLost is the exit code of agent exec when the lead was lost; see package main of
// the agent.
const exitLost = 3

// All that agent exec runs is dead before another leads and before the lease is over,
// however the leadership or exec itself ends.
func TestExecOnHosts(t *testing.T) { onTrial(t, 0, execFaults, (*trial).beginExec) }

// beginExec starts agent exec with a tree at the leader.
func (l *trial) beginExec(leader *host) {
	l.t.Helper()
	cmd := exec.Command(l.agent, "exec", "--addr", fmt.Sprintf("127.0.0.1:%d", agentPort), "--", l.command, nameOf(leader))
	l.execSaid = new(bytes.Buffer)
	cmd.Stderr = l.execSaid
	l.must(leader.do(func() error { return startChild(cmd) }))
	l.rest, l.execEnded = cmd, make(chan struct{})
	go func() {
		waitChild(cmd)
		close(l.execEnded)
	}()
}

// guard is the guard of agent exec, its child.
func (l *trial) guard() (pid int) {
	l.t.Helper()
	l.eventually("agent exec has a guard", func() error {
		for _, pid = range processes() {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
			if bytes.HasPrefix(line, []byte("doyen-guard\x00")) {
				return nil
			}
		}
		return errors.New("none is there")
	})
	return pid
}

// execKilled kills exec, or its guard, whose leader leads on: what lives of the tree a
// lease later is a fault.
func (l *trial) execKilled(former *host, pid, exit int) {
	l.t.Helper()
	fault := now()
	l.must(unix.Kill(pid, unix.SIGKILL))
	l.execEnds(exit)
	l.eventually("the tree is dead", func() error {
		if alive := l.table.alive(nameOf(former)); len(alive) > 0 {
			return fmt.Errorf("%v live", alive)
		}
		return nil
	})
	for _, x := range l.table.processes(nameOf(former)) {
		if x.last > fault+trialLease {
			l.errorf("%v lives %v after the kill, more than a lease", &x, x.last-fault)
		}
	}
}

// execEnds checks how agent exec ends. On a busy machine it may have ended before the
// fault, because the lead was lost: then it has said so.
func (l *trial) execEnds(exit int) {
	l.t.Helper()
	select {
	case <-l.execEnded:
	case <-time.After(settleTime):
		l.t.Fatal("agent exec does not end")
	}
	if got := l.rest.ProcessState.ExitCode(); !slices.Contains([]int{exit, exitLost}, got) {
		l.errorf("agent exec exits with %d and says %q, want %d", got, l.execSaid, exit)
	}
	l.rest = nil
}
