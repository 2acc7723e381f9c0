//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doyen/seniority"
)

var commandRounds = flag.Int("command.rounds", 0, "how often each fault hits a leader that runs a command (default: each once with DOYEN_TEST_REQUIRE=1, in a short form, else never)")

// witness is the role of the third voter where two hosts may lead.
var witness = seniority.Witness.String()

// trial is a trio whose leader runs a tree of processes.
type trial struct {
	*trio
	command string
	table   *processTable
	from    int64 // where the lines of this round begin
	// leftBehind: agent and keeper were killed at one instant, so nothing could kill the
	// tree before another led.
	leftBehind bool
	before     []treeProcess // what lived on the host then
	back       time.Duration // when its agent was started again
	// agent exec, if that runs the tree, the end of it, and what it printed.
	rest      *exec.Cmd
	execEnded chan struct{}
	execSaid  *bytes.Buffer
}

// fault is what happens to the leader. It returns when another leads, and all is
// put right but that the three may still have to settle.
type fault struct {
	name string
	do   func(l *trial, former *host)
}

var commandFaults = []fault{
	{"stop", (*trial).stop},
	{"agent killed", (*trial).agentKilled},
	{"agent and keeper killed", (*trial).bothKilled},
	{"agent stopped", (*trial).agentStopped},
	{"partition", (*trial).partition},
	{"step-down --to", (*trial).stepDown},
	{"command crashing", (*trial).crashing},
}

// Two hosts never run processes of the command at once, by the log that all of them
// write and by the table of processes, and none lives while another host says that it
// leads. Agent and keeper killed at one instant are the exception that package keeper
// names: there the tree is dead before the new agent on that host leads.
func TestCommandOnThreeHosts(t *testing.T) { onTrial(t, 0, commandFaults, nil) }

// The same with two hosts that may lead, and a witness.
func TestCommandOnTwoHosts(t *testing.T) { onTrial(t, 1, commandFaults, nil) }

// onTrial runs rounds of faults. witnesses says how many hosts never lead. begin, if not
// nil, starts the tree on a leader; else the agents do.
func onTrial(t *testing.T, witnesses int, faults []fault, begin func(l *trial, leader *host)) {
	rounds, short := *commandRounds, false
	if rounds == 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") != "1" {
			t.Skip("takes half a minute of real time: -command.rounds runs it")
		}
		rounds, short = 1, true
	}
	needRoot(t)
	if begin != nil {
		besideOthers(t) // agent exec kills in time by itself, on a busy machine too
	}
	if !inSandbox() {
		againInSandbox(t, "command.")
		return
	}
	l := &trial{trio: newTrio(t)}
	debug.SetGCPercent(100) // nothing here is measured to the millisecond
	l.every = 15 * time.Millisecond
	l.command = writeTree(t, l.dir)
	l.table = &processTable{dir: l.dir}
	l.more = func(h *host) (args []string) {
		args = []string{
			// A third of it is the command's, whose leaves ignore SIGTERM.
			"--hook-timeout", "3s",
			// Half of the budget is left for killing the tree.
			"--lease", trialLease.String(), "--release-budget", "1800ms",
		}
		if h.index >= hostCount-witnesses {
			args = append(args, "--role", witness)
		}
		if begin == nil {
			args = append(args, "--", l.command, nameOf(h))
		}
		return args
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go l.table.run(ctx)
	l.build()
	for range rounds {
		for i, f := range faults {
			if short && i%2 == witnesses {
				continue // two and three hosts share them
			}
			l.round(f, begin)
		}
	}
}

// round has one fault hit the leader while its tree lives.
func (l *trial) round(f fault, begin func(*trial, *host)) {
	l.t.Helper()
	l.startRound()
	l.leftBehind, l.before, l.back = false, nil, 0
	var former *host
	l.eventually("a tree lives whole where the leader is", func() error {
		former, _ = l.settled()
		if begin != nil {
			l.again(former, begin)
		}
		if _, ok := l.table.whole(nameOf(former)); !ok {
			return fmt.Errorf("%s leads, and these live: %v", former.name, l.table.alive(""))
		}
		return nil
	})
	l.table.forget()
	if info, err := os.Stat(filepath.Join(l.dir, "runs")); err == nil {
		l.from = info.Size()
	}
	fault := now()
	f.do(l, former)
	l.checkTrees(f.name, former, fault)
	l.checkRound()
}

// again starts what runs the tree, unless it runs.
func (l *trial) again(leader *host, begin func(*trial, *host)) {
	if l.rest != nil {
		select {
		case <-l.execEnded: // the lead was lost before the fault
		default:
			return
		}
	}
	begin(l, leader)
}

// checkTrees looks at what the trees of all hosts did since a fault.
func (l *trial) checkTrees(name string, former *host, fault time.Duration) {
	l.t.Helper()
	said, all := l.said(), l.table.processes("")
	lines := treeLines(l.t, l.tail(filepath.Join(l.dir, "runs"), l.from))
	if old, since, found := stale(lines, l.leftBehind); found {
		l.errorf("%s: %s wrote %q under term %d, %v after %s had started under term %d", name, old.node, old.text, old.term, old.at-since.at, since.node, since.term)
	}
	last := fault // when the former leader's tree lived for sure
	for i, x := range all {
		if x.node == nameOf(former) && x.first < fault {
			last = max(last, x.last)
		}
		if l.leftBehind {
			continue
		}
		for _, y := range all[i+1:] {
			if both := min(x.last, y.last) - max(x.first, y.first); x.node != y.node && both > 0 {
				l.errorf("%s: %v and %v live together for %v", name, &x, &y, both)
			}
		}
		for _, p := range said {
			if nameOf(l.net.hosts[p.host]) != x.node && x.first <= p.sent && x.last >= p.got {
				l.errorf("%s: %v lives while %s says that it leads", name, &x, l.net.hosts[p.host].name)
				break
			}
		}
	}
	for _, x := range l.before {
		for _, p := range said {
			if p.host == former.index && p.got > l.back && l.lived(x, p.got) {
				l.errorf("%s: %v lives when the new agent there leads", name, &x)
				break
			}
		}
	}
	l.figure(name+": the old tree lives for", last-fault)
	if first, ok := l.firstElsewhere(former, fault); ok {
		l.figure(name+": another leads after", first.got-fault)
		if l.leftBehind {
			l.figure(name+": the old tree lives beside the next leader for", max(0, last-first.got))
		}
	}
}

// lived reports whether a process was alive at a moment.
func (l *trial) lived(x treeProcess, at time.Duration) bool {
	return slices.ContainsFunc(l.table.processes(x.node), func(y treeProcess) bool {
		return y.pid == x.pid && y.first == x.first && y.last >= at
	})
}

// firstElsewhere is the first time that another than the former leader said it leads.
func (l *trial) firstElsewhere(former *host, fault time.Duration) (first proof, ok bool) {
	for _, p := range l.said() {
		if p.host != former.index && p.sent > fault && (!ok || p.got < first.got) {
			first, ok = p, true
		}
	}
	return first, ok
}

// moved waits until another host than the former leader leads and, where agents
// start it, has a whole tree.
func (l *trial) moved(former *host, fault time.Duration) {
	l.t.Helper()
	l.successor(former, fault)
	if l.rest != nil {
		return
	}
	l.eventually("another host has a whole tree", func() error {
		for _, h := range l.others(former) {
			if _, ok := l.table.whole(nameOf(h)); ok {
				return nil
			}
		}
		return fmt.Errorf("these live: %v", l.table.alive(""))
	})
}

func (l *trial) stop(former *host) {
	fault := now()
	l.must(former.signal(unix.SIGTERM))
	l.moved(former, fault)
	<-former.main.ended
	l.start(former)
}

func (l *trial) agentKilled(former *host) {
	fault := now()
	l.must(former.signal(unix.SIGKILL))
	l.moved(former, fault)
	<-former.main.ended
	l.start(former)
}

// bothKilled kills agent and keeper at one instant, starts the agent again at once
// or when another leads, and has it lead again.
func (l *trial) bothKilled(former *host) {
	var s struct {
		PID    int  `json:"pid"`
		Keeper *int `json:"keeper_pid"`
	}
	l.must(l.get(former, "/state", &s, http.StatusOK))
	if s.Keeper == nil {
		l.t.Fatalf("%s has no keeper", former.name)
	}
	l.leftBehind, l.before = true, l.table.alive(nameOf(former))
	fault := now()
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		l.must(errors.Join(unix.Kill(s.PID, sig), unix.Kill(*s.Keeper, sig)))
	}
	<-former.main.ended
	l.deaths = append(l.deaths, hookLine{at: now(), node: nameOf(former), event: "death"})
	if l.dice.IntN(2) == 0 {
		l.moved(former, fault)
	}
	l.back = now()
	l.start(former)
	l.moved(former, fault)
	l.settled()
	l.handOverTo(former)
	l.eventually(former.name+" leads again", func() error {
		if leader, _ := l.settled(); leader != former {
			l.handOverTo(former)
			return fmt.Errorf("%s leads", leader.name)
		}
		if _, ok := l.table.whole(nameOf(former)); !ok {
			return fmt.Errorf("%s leads, and these live: %v", former.name, l.table.alive(""))
		}
		return nil
	})
}

func (l *trial) agentStopped(former *host) {
	fault := now()
	l.must(former.signal(unix.SIGSTOP))
	l.moved(former, fault)
	l.must(former.signal(unix.SIGCONT))
}

func (l *trial) partition(former *host) {
	fault := now()
	var peers []*node
	for _, h := range l.others(former) {
		peers = append(peers, h.node)
	}
	l.must(l.net.cables.set(both(former.node, peers...)...))
	l.moved(former, fault)
	l.must(l.net.cables.set())
}

func (l *trial) stepDown(former *host) {
	fault := now()
	for _, h := range l.others(former) {
		if l.more != nil && slices.Contains(l.more(h), witness) {
			continue
		}
		l.handOverTo(h)
		break
	}
	l.moved(former, fault)
	l.resume(former)
}

// crashing has the command end at once on the former leader until it hands over.
func (l *trial) crashing(former *host) {
	mark := filepath.Join(l.dir, "crash-"+nameOf(former))
	l.must(os.WriteFile(mark, nil, 0o600))
	fault := now()
	for _, x := range l.table.alive(nameOf(former)) {
		if x.what == "command" {
			unix.Kill(x.pid, unix.SIGKILL) // it may be a short-lived copy before exec
		}
	}
	l.moved(former, fault)
	l.must(os.Remove(mark))
	l.resume(former)
}

// handOverTo has the leader hand over to h. On a busy machine another may lead
// by now, or h may not be able to take over yet: it is tried again.
func (l *trial) handOverTo(h *host) {
	l.t.Helper()
	l.eventually("a hand-over to "+h.name, func() error {
		leader, _ := l.settled()
		if leader == h {
			return nil
		}
		return ask(l.http[leader.index], http.MethodPost, onLoopback(agentPort), "/step-down?to="+nameOf(h), nil, http.StatusOK)
	})
	for _, other := range l.others(h) {
		l.resume(other)
	}
}

// resume has a host stand aside no longer.
func (l *trial) resume(h *host) {
	l.t.Helper()
	l.must(ask(l.http[h.index], http.MethodPost, onLoopback(agentPort), "/resume", nil, http.StatusOK, http.StatusConflict))
}

func (l *trial) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}
