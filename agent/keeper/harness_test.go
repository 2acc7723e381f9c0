//go:build linux

package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
)

// TestMain is also the program of a keeper process, and of an agent that tests
// can kill or stop.
func TestMain(m *testing.M) {
	if os.Getenv(diesAtOnce) != "" && len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(7)
	}
	orderWait = 5 * time.Second // a busy machine may delay the order that gives the reason
	tools := Tools{Deliver: deliver}
	if os.Getenv(startsSlowly) != "" {
		tools.Addresses = slowAddresses
	}
	Init(tools)
	if len(os.Args) == 3 && os.Args[1] == "agent" {
		os.Exit(agentMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// diesAtOnce is the variable that makes a keeper process of a test end before it
// has said a word.
const diesAtOnce = "DOYEN_TEST_KEEPER_DIES"

// slowAddresses are addresses of a keeper process that take as long to be prepared as
// startsSlowly says, and nothing else.
func slowAddresses(Config, Election, func() bool, func(floatingip.Event)) (*Addresses, error) {
	pause, err := time.ParseDuration(os.Getenv(startsSlowly))
	if err != nil {
		return nil, err
	}
	time.Sleep(pause)
	nothing := func() error { return nil }
	until := func(time.Duration) error { return nil }
	return &Addresses{
		Begin: nothing, Take: until, Renew: until, Check: nothing, Announce: func() {}, Ended: func() {},
		Cut: nothing, Drop: nothing, Change: func([]string) error { return nil }, Close: nothing,
	}, nil
}

// startsSlowly is the variable that gives a keeper process of a test slowAddresses.
const startsSlowly = "DOYEN_TEST_KEEPER_STARTS_SLOWLY"

// deliver appends the will to the files that are its targets.
func deliver(will []byte, targets []string) {
	for _, path := range targets {
		appendLine(path, "will "+string(will))
	}
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// cannotRun skips the test for a reason, or fails it where it is required.
func cannotRun(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// limit is how long tests wait for what must happen.
const limit = 60 * time.Second

// stage is a hook and what it writes to: each run first looks whether anything
// of the runs before it lives, and then writes a line.
type stage struct {
	t   *testing.T
	dir string
	cfg Config
}

const preamble = `#!/bin/sh
for p in $(cat $D/pids 2>/dev/null); do
	if { read -r _ _ state _ </proc/$p/stat; } 2>/dev/null && [ $state != Z ]; then
		echo "OVERLAP of $DOYEN_EVENT with $(cat $D/last)" >>$D/log
	fi
done
echo $$ >$D/pids
echo $DOYEN_EVENT >$D/last
echo $DOYEN_EVENT $DOYEN_TERM $DOYEN_REASON >>$D/log
`

// stubborn is the end of a hook that never ends, ignores signals, and has a
// child in another session.
const stubborn = `trap '' TERM INT HUP
setsid sh -c 'trap "" TERM; echo $$ >>$D/pids; echo >$D/hangs; exec sleep 1000' &
sleep 1000`

// newStage returns a stage whose hook goes on with body.
func newStage(t *testing.T, body string) *stage {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "hook")
	if err := os.WriteFile(path, []byte(preamble+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("D", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return &stage{t: t, dir: dir, cfg: Config{
		Node: t.Name(), Addr: "127.0.0.1:1", Cluster: "test", RetryAfter: ms,
		Elections: []Election{{Name: Group, Rule: "seniority", Hook: path, HookTimeout: 10 * time.Second, CheckInterval: -1}},
	}}
}

// election is the only one, unless the test adds others.
func (s *stage) election() *Election { return &s.cfg.Elections[0] }

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// read returns a file of the stage; "" if it is not there.
func (s *stage) read(name string) string {
	b, err := os.ReadFile(s.path(name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(b)
}

// log is what the hook has written, and wills.
func (s *stage) log() []string { return strings.Split(strings.TrimSuffix(s.read("log"), "\n"), "\n") }

// await waits until the log ends with the lines wanted.
func (s *stage) await(want ...string) {
	s.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		log := s.log()
		if i := slices.IndexFunc(log, func(l string) bool { return strings.HasPrefix(l, "OVERLAP") }); i >= 0 {
			s.t.Fatalf("%s in\n%s", log[i], strings.Join(log, "\n"))
		}
		log = counted(log, want)
		if n := len(log) - len(want); n >= 0 && slices.Equal(log[n:], want) {
			return
		}
	}
	s.t.Fatalf("want the log to end with\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(s.log(), "\n"))
}

// counted returns the log as it is compared with what is wanted. Runs of
// change, which come when nothing else is to be done, count only if some are
// wanted.
func counted(log, want []string) []string {
	isChange := func(line string) bool { return strings.HasPrefix(line, "change ") }
	if slices.ContainsFunc(want, isChange) {
		return log
	}
	return slices.DeleteFunc(log, isChange)
}

// whole checks that the log is what is wanted, from its beginning.
func (s *stage) whole(want ...string) {
	s.t.Helper()
	got := counted(s.log(), want)
	if !slices.Equal(got, want) {
		s.t.Fatalf("want the log\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// awaitFile waits until a file of the stage is there, not empty, and returns it.
func (s *stage) awaitFile(name string) string {
	s.t.Helper()
	return awaitText(s.t, s.path(name))
}

func awaitText(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		if b, _ := os.ReadFile(path); strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatalf("%s was not written", path)
	return ""
}

func (s *stage) touch(name string) {
	if err := os.WriteFile(s.path(name), nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// rig is a keeper with its agent played by the test.
type rig struct {
	*Keeper
	s   *stage
	got []Report
}

// start starts a keeper on a stage and waits for its release at start.
func (s *stage) start(begin func(Config) (*Keeper, error)) *rig {
	s.t.Helper()
	k, err := begin(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &rig{Keeper: k, s: s}
	s.t.Cleanup(func() { r.close() })
	r.until("the release at start", func(r Report) bool { return r.StartupDone })
	return r
}

func inProcess(cfg Config) (*Keeper, error) { return Local(cfg, Tools{Deliver: deliver}) }

// close closes the keeper, whose last reports are not read.
func (r *rig) close() {
	r.s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.s.t.Error(err)
	}
}

// until reads reports up to the first that is wanted.
func (r *rig) until(what string, wanted func(Report) bool) Report {
	r.s.t.Helper()
	stuck := time.After(limit)
	for {
		select {
		case rep := <-r.Reports():
			r.got = append(r.got, rep)
			if wanted(rep) {
				return rep
			}
		case <-stuck:
			r.s.t.Fatalf("no report of %s; there were\n%+v\nand the log\n%s", what, r.got, strings.Join(r.s.log(), "\n"))
		}
	}
}

// ended waits for the end of a run of the hook.
func (r *rig) ended(event string) Report {
	r.s.t.Helper()
	return r.until("the end of "+event, func(r Report) bool { return r.Event == event && !r.Running })
}

// lead begins or goes on with a leadership, for an hour or what is given.
func (r *rig) lead(term uint64, lease ...time.Duration) Order {
	r.s.t.Helper()
	left := time.Hour
	if len(lease) > 0 {
		left = lease[0]
	}
	if !r.Deadline(Group).Extend(term, clock.Boot()+left) {
		r.s.t.Fatalf("cannot lead term %d", term)
	}
	o := Order{
		Lead: true, Term: term, Leader: r.s.cfg.Node, LeaderAddr: r.s.cfg.Addr, Reason: "elected",
		Will: fmt.Appendf(nil, "of %d", term), WillTargets: []string{r.s.path("log")},
	}
	r.Order(o)
	return o
}

// stepDown ends the leadership.
func (r *rig) stepDown(term uint64, by time.Duration) {
	r.Deadline(Group).Disarm()
	r.Order(Order{Term: term, ReleaseTerm: term, ReleaseBy: by, Previous: r.s.cfg.Node, Reason: "requested"})
}

func (r *rig) leads() bool { return r.Deadline(Group).Leads(clock.Boot()) }

// agentMain is an agent that leads term 1 until it is killed or too late. Its
// configuration comes on the command line; it prints reports.
func agentMain(text string) int {
	var a agentConfig
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		panic(err)
	}
	k, err := Start(a.Config)
	if err != nil {
		panic(err)
	}
	print := json.NewEncoder(os.Stdout)
	renew := time.NewTicker(a.Lease / 4)
	leading := false
	for {
		select {
		case r := <-k.Reports():
			print.Encode(r)
			if r.StartupDone && !a.Follow {
				leading = k.Deadline(Group).Extend(1, clock.Boot()+a.Lease)
				k.Order(Order{
					Lead: true, Term: 1, Leader: a.Node, Reason: "elected",
					Will: []byte("of 1"), WillTargets: []string{a.Will},
				})
			}
		case <-renew.C:
			if leading && !k.Deadline(Group).Extend(1, clock.Boot()+a.Lease) {
				leading = false
				k.Deadline(Group).Disarm()
				k.Order(Order{Term: 1, ReleaseTerm: 1, Reason: "asleep"})
			}
		}
	}
}

type agentConfig struct {
	Config
	Lease  time.Duration
	Will   string
	Follow bool // never lead
}

// agent is an agent process.
type agent struct {
	*exec.Cmd
	s       *stage
	reports chan Report
	printed chan string // what commands have printed on its standard output
}

// startAgent starts an agent that leads as soon as its keeper lets it.
func (s *stage) startAgent(lease time.Duration) *agent {
	s.t.Helper()
	return s.startAgentOf(agentConfig{Config: s.cfg, Lease: lease, Will: s.path("log")})
}

func (s *stage) startAgentOf(c agentConfig) *agent {
	s.t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	a := &agent{Cmd: exec.Command(exe, "agent", string(text)), s: s, reports: make(chan Report, 1000), printed: make(chan string, 1000)}
	out, err := a.StdoutPipe()
	if err == nil {
		err = a.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(a.reports)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r Report
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				a.reports <- r
			} else {
				a.printed <- lines.Text()
			}
		}
	}()
	s.t.Cleanup(func() { a.kill() })
	return a
}

func (a *agent) signal(sig syscall.Signal) {
	if err := a.Process.Signal(sig); err != nil {
		a.s.t.Fatal(err)
	}
}

// kill kills the agent and waits until its keeper has ended as well.
func (a *agent) kill() {
	if a.ProcessState != nil {
		return
	}
	keepers := keepersOf(a.Process.Pid)
	a.Process.Kill()
	a.Wait()
	for _, pid := range keepers {
		awaitDeath(a.s.t, pid)
	}
}

// killBoth kills the agent and its keeper, so that neither sees the other die.
func (a *agent) killBoth() {
	both := append(keepersOf(a.Process.Pid), a.Process.Pid)
	for _, pid := range both {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	for _, pid := range both {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	a.Wait()
}

// until waits for a report of the agent.
func (a *agent) until(what string, wanted func(Report) bool) Report {
	a.s.t.Helper()
	stuck := time.After(limit)
	for {
		select {
		case r, ok := <-a.reports:
			if ok && wanted(r) {
				return r
			}
			if ok {
				continue
			}
		case <-stuck:
		}
		a.s.t.Fatalf("no report of %s", what)
	}
}

// keepersOf lists the children of a process.
func keepersOf(pid int) []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		text := string(b)
		var child, parent int
		var state string
		if i := strings.LastIndexByte(text, ')'); i > 0 {
			fmt.Sscan(text, &child)
			fmt.Sscan(text[i+1:], &state, &parent)
		}
		if parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	text := string(b)
	return err == nil && !strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " Z")
}

func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		if !alive(pid) {
			return
		}
	}
	t.Fatalf("process %d still runs", pid)
}
