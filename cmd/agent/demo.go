package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

const (
	demoNodes = 3
	// demoLimit is how long the demonstration waits for what takes a second.
	demoLimit = 30 * time.Second
	// demoRestart is how long a killed agent stays away: long enough to look.
	demoRestart = 5 * time.Second
)

// demoHook appends one line per event, with the time in nanoseconds, to the file
// that the demonstration reads. A file is used because it never makes a hook
// wait.
const demoHook = `#!/bin/sh
[ "$1" = check ] && exit # it comes every few seconds
echo "$(date +%s%N) $DOYEN_NODE $1 reason=$DOYEN_REASON leader=$DOYEN_LEADER term=$DOYEN_TERM" >>"${0%/*}/events"
`

// A demonstration is three agents on this machine and what they do.
type demonstration struct {
	exe   string // this program
	dir   string // the hook and what it reports, and the agents' logs
	nodes []*demoNode
	ended chan *demoNode // an agent's process has ended

	mu  sync.Mutex // guards out: the hook's lines are printed as they come
	out io.Writer
	t0  time.Time // what the hook's lines are timed from
}

func demo(c *cli.Context) error {
	if err := cmp.Or(noArguments(c), needsLinux()); err != nil {
		return err
	}
	// The agents get a signal when the thread that started them ends, so this
	// goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()

	d := &demonstration{out: c.App.Writer, t0: time.Now(), ended: make(chan *demoNode, demoNodes)}
	err := d.run(ctx, c.Bool("keep") || isTerminal(os.Stdin))
	if ctx.Err() != nil {
		return nil // ^C is how a demonstration that stays up ends
	}
	return err
}

// run shows a group electing and failing over, and leaves nothing behind.
func (d *demonstration) run(ctx context.Context, keep bool) error {
	if err := d.setUp(); err != nil {
		return fmt.Errorf("the demonstration: %w", err)
	}
	defer os.RemoveAll(d.dir)
	defer d.stop()
	tail, stopTail := context.WithCancel(ctx)
	defer stopTail()
	go d.printEvents(tail)

	d.say("Starting three agents; each knows the addresses of all:")
	for _, n := range d.nodes {
		if err := d.start(n); err != nil {
			return err
		}
		d.say("  agent %s    (pid %d)", strings.Join(n.args(d), " "), n.pid())
		// One after another, so that it is plain who is the oldest.
		if err := d.await(ctx, n.addr+" to answer", n.answers); err != nil {
			return err
		}
	}
	if err := d.await(ctx, "the three to agree", d.agreed(demoNodes)); err != nil {
		return err
	}
	if err := d.show(ctx, d.nodes[0], "diag"); err != nil {
		return err
	}
	if err := d.failOver(ctx); err != nil {
		return err
	}
	if !keep {
		d.say("\nDone. On a terminal, or with --keep, the agents stay up for you to try.")
		return nil
	}
	d.instructions(ctx)
	return d.watchOver(ctx)
}

// setUp makes the directory with the hook, and picks the ports.
func (d *demonstration) setUp() error {
	var err error
	if d.exe, err = os.Executable(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "doyen-demo-"); err != nil {
		return err
	}
	if err := os.WriteFile(d.hook(), []byte(demoHook), 0o700); err != nil {
		return err
	}
	ports, err := freePorts(demoNodes)
	for _, port := range ports {
		d.nodes = append(d.nodes, &demoNode{addr: net.JoinHostPort("127.0.0.1", port)})
	}
	return err
}

// failOver kills the leader and shows how long the survivors take.
func (d *demonstration) failOver(ctx context.Context) error {
	leader := d.leader(ctx, d.nodes[0])
	i := d.index(leader)
	if i < 0 {
		return fmt.Errorf("the leader %q is none of the three", leader)
	}
	d.say("\nKilling the leader %s with kill -9 %d. Its keeper, the second process, releases\nwhat it held and tells the others:", leader, d.nodes[i].pid())
	t0 := d.restartClock()
	d.nodes[i].signal(syscall.SIGKILL)
	<-d.ended
	if err := d.await(ctx, "the survivors to agree", d.agreedWithout(leader)); err != nil {
		return err
	}
	took := time.Since(t0)
	next := d.nodes[(i+1)%demoNodes]
	// The hook's lines come from a file that is read now and then: let those
	// of this failover come first.
	pause(ctx, 2*tailInterval)
	d.say("%s leads, and both survivors say so, %s after the kill.\n", d.leader(ctx, next), took.Round(time.Millisecond))
	if err := d.show(ctx, next, "diag"); err != nil {
		return err
	}
	d.say("\nStarting the killed agent again: it comes back as the youngest.")
	if err := d.start(d.nodes[i]); err != nil {
		return err
	}
	if err := d.await(ctx, "the three to agree again", d.agreed(demoNodes)); err != nil {
		return err
	}
	return d.show(ctx, next, "members")
}

// watchOver starts killed agents again until the user has seen enough.
func (d *demonstration) watchOver(ctx context.Context) error {
	again := make(chan *demoNode, demoNodes)
	for {
		select {
		case <-ctx.Done():
			d.say("\nStopping the agents.")
			return nil
		case n := <-d.ended:
			d.restartClock()
			d.say("%s has ended; it starts again in %s.", n.addr, demoRestart)
			time.AfterFunc(demoRestart, func() { again <- n })
		case n := <-again:
			if err := d.start(n); err != nil {
				return err
			}
			d.say("%s is back, pid %d.", n.addr, n.pid())
		}
	}
}

func (d *demonstration) instructions(ctx context.Context) {
	a := d.nodes[0].addr
	leader := d.leader(ctx, d.nodes[0])
	var pids []string
	for _, n := range d.nodes {
		what := n.addr
		if n.addr == leader {
			what += ", the leader"
		}
		pids = append(pids, fmt.Sprintf("%d (%s)", n.pid(), what))
	}
	d.say(`
Now it is your turn; the agents stay up until ^C. Look at http://%[1]s/ in a browser, or ask any of them:
  curl -s %[1]s/diag           every member's own view, and a verdict
  curl -s %[1]s/leader         who leads
  curl -si %[1]s/is-leader     200 on the leader only, for a load balancer
  %[2]s watch --addr %[1]s
Kill one, and it is started again after %[3]s:
  kill -9 PID      a crash
  kill -TERM PID   a planned hand-over: release before acquire
The agents: %[4]s.
`, a, d.exe, demoRestart, strings.Join(pids, ", "))
}

// restartClock makes now the time from which the hook's lines are timed.
func (d *demonstration) restartClock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.t0 = time.Now()
	return d.t0
}

func (d *demonstration) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

// tailInterval is how often the hook's file is looked at.
const tailInterval = 20 * time.Millisecond

// printEvents prints what the hooks report, with the time since the last kill.
func (d *demonstration) printEvents(ctx context.Context) {
	var seen int
	for pause(ctx, tailInterval) {
		data, err := os.ReadFile(filepath.Join(d.dir, "events"))
		if err != nil {
			continue // no hook has run yet
		}
		end := bytes.LastIndexByte(data, '\n') + 1
		for line := range strings.Lines(string(data[seen:end])) {
			d.printEvent(line)
		}
		seen = end
	}
}

// printEvent prints one line of the hook.
func (d *demonstration) printEvent(line string) {
	at, what, _ := strings.Cut(line, " ")
	nanos, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		nanos = time.Now().UnixNano() // a date that knows no %N
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "  %8s  hook on %s", "+"+time.Unix(0, nanos).Sub(d.t0).Round(time.Millisecond).String(), what)
}

func (d *demonstration) hook() string { return filepath.Join(d.dir, "hook.sh") }

func (d *demonstration) index(name string) int {
	for i, n := range d.nodes {
		if n.addr == name {
			return i
		}
	}
	return -1
}

// leader is the leader that n names, "" for none.
func (d *demonstration) leader(ctx context.Context, n *demoNode) string {
	a, err := n.client().get(ctx, "/leader?format=json", http.StatusOK)
	var l agent.Leader
	if err != nil || a.decode(&l) != nil {
		return ""
	}
	return l.Leader
}

// agreed returns a condition: all agents know count members and one leader.
func (d *demonstration) agreed(count int) func(context.Context) bool {
	return func(ctx context.Context) bool {
		a, err := d.nodes[0].client().get(ctx, "/diag", http.StatusOK)
		var diag diagAnswer
		if err != nil || a.decode(&diag) != nil {
			return false
		}
		return diag.Verdict.Status == "agreed" && len(diag.MemberStates) == count
	}
}

// agreedWithout returns a condition: the agents other than dead name one
// leader that is not dead.
func (d *demonstration) agreedWithout(dead string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		leaders := make(map[string]bool)
		for _, n := range d.nodes {
			if n.addr != dead {
				leaders[d.leader(ctx, n)] = true
			}
		}
		return len(leaders) == 1 && !leaders[""] && !leaders[dead]
	}
}

// await polls a condition until it holds.
func (d *demonstration) await(ctx context.Context, what string, holds func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	for !holds(ctx) {
		select {
		case n := <-d.ended:
			return fmt.Errorf("%s ended unexpectedly: %s", n.addr, n.lastWords(d))
		default:
		}
		if !pause(ctx, time.Millisecond) {
			return fmt.Errorf("waited %s for %s in vain", demoLimit, what)
		}
	}
	return nil
}

// show runs one of this program's own commands and prints what it says.
func (d *demonstration) show(ctx context.Context, n *demoNode, command string) error {
	out, err := exec.CommandContext(ctx, d.exe, command, "--addr", n.addr).CombinedOutput()
	d.say("\n$ agent %s --addr %s\n%s", command, n.addr, bytes.TrimSpace(out))
	if err != nil {
		return fmt.Errorf("agent %s: %w", command, err)
	}
	return nil
}

// pause waits and reports whether ctx still runs.
func pause(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}
