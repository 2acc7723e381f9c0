//go:build linux

package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent/process"
)

// TestMain is also the program of adopting: a keeper process as far as hooks
// are concerned; and an agent, as far as health checks are.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "checking" {
		(&Health{Path: os.Args[2], Node: "n", Run: "killed"}).Check(context.Background(), time.Hour)
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == "adopting" {
		os.Exit(adopting(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// outcome is what adopting prints.
type outcome struct {
	Exit     int
	Err      string
	Output   string
	Children []int // of the process, after the run
}

// adopting runs a hook once as a child subreaper; when the file kill appears,
// the run is killed.
func adopting(path, kill string) int {
	reaper, err := Adopt()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		for ; ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(kill); err == nil {
				cancel(errTest)
				return
			}
		}
	}()
	r := Runner{Path: path, Owner: Owner{"adopting", "n", "group", 0}, Reaper: reaper}
	res := r.Run(ctx, Env{Event: Check})
	o := outcome{Exit: res.Exit, Output: res.Output, Children: process.Children(os.Getpid())}
	if res.Err != nil {
		o.Err = res.Err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(o)
	return 0
}

var errTest = errors.New("killed by the test")

// runAdopting runs a hook in a process that adopts, and calls meanwhile, with a
// function that has the run killed.
func runAdopting(t *testing.T, path string, meanwhile func(kill func())) outcome {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kill := filepath.Join(t.TempDir(), "kill")
	cmd := exec.Command(exe, "adopting", path, kill)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if meanwhile != nil {
		meanwhile(func() { touch(t, kill) })
	}
	stuck := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	var o outcome
	if err := json.NewDecoder(out).Decode(&o); err != nil {
		t.Fatalf("the run did not end: %v", err)
	}
	return o
}

// script writes an executable shell script.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// awaitLine waits until a file has a whole line, and returns it.
func awaitLine(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(path); strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatalf("%s was not written", path)
	return ""
}

// alive reports whether a process runs; a dead one that was not reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := stat[strings.LastIndexByte(string(stat), ')')+1:]
	return !strings.HasPrefix(strings.TrimSpace(string(rest)), "Z")
}

func wantDead(t *testing.T, pids string) {
	t.Helper()
	for _, word := range strings.Fields(pids) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("%q is no process", word)
		}
		if alive(pid) {
			t.Errorf("process %d of the hook still runs", pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// awaitDeath waits until processes are dead that have been killed: without a subreaper a
// run does not wait for those of its group that have no environment.
func awaitDeath(t *testing.T, pids string) {
	t.Helper()
	lives := func(word string) bool {
		pid, _ := strconv.Atoi(word)
		return alive(pid)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(strings.Fields(pids), lives) {
			break
		}
	}
	wantDead(t, pids)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("DOYEN_API_TOKEN_FILE", "/etc/token")
	t.Setenv("DOYEN_RULE", "from-the-flag")
	t.Setenv("FLOATING_IP", "192.0.2.1/24")
	r := Runner{
		Path:  script(t, `echo "arg=$*"; env | grep -E '^(DOYEN_|FLOATING_IP|PATH=)' | sort`),
		Owner: Owner{Cluster: "prod", Node: "a:1", Election: "web"},
	}
	res := r.Run(t.Context(), Env{
		Event: Change, Term: 7, Addr: "a:1", API: "127.0.0.1:1", Leader: "b:2", LeaderAddr: "[::1]:2", Previous: "c:3",
		Reason: "elected", Rule: "bully", Limit: 1500 * time.Millisecond,
	})
	want := `arg=change
DOYEN_ADDR=a:1
DOYEN_API=127.0.0.1:1
DOYEN_CLUSTER=prod
DOYEN_DEADLINE_MS=1500
DOYEN_ELECTION=web
DOYEN_EVENT=change
DOYEN_LEADER=b:2
DOYEN_LEADER_ADDR=[::1]:2
DOYEN_NODE=a:1
DOYEN_PREVIOUS_LEADER=c:3
DOYEN_REASON=elected
DOYEN_RULE=bully
DOYEN_TERM=7
FLOATING_IP=192.0.2.1/24
PATH=` + os.Getenv("PATH")
	if res.Err != nil || res.Output != want {
		t.Errorf("want\n%s\ngot\n%s\n%v", want, res.Output, res.Err)
	}
}

func TestHowARunEnds(t *testing.T) {
	noShebang := filepath.Join(t.TempDir(), "hook")
	os.WriteFile(noShebang, []byte("exit 0\n"), 0o755)
	notExecutable := filepath.Join(t.TempDir(), "hook")
	os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o644)
	for _, c := range []struct {
		name, path string
		exit       int
		err        string
		unusable   bool
	}{
		{"success", script(t, "exit 0"), 0, "", false},
		{"failure", script(t, "exit 3"), 3, "exit status 3", false},
		{"death", script(t, "kill -SEGV $$"), -1, "signal: segmentation fault", false},
		{"missing", "/nonexistent/hook", -1, "no such file or directory", true},
		{"under a file", script(t, "exit 0") + "/hook", -1, "", true},
		{"no first line", noShebang, -1, "#!/bin/sh", true},
		{"not executable", notExecutable, -1, "executable", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Runner{Path: c.path}
			res := r.Run(t.Context(), Env{Event: Release})
			if res.Exit != c.exit || res.Unusable != c.unusable {
				t.Errorf("want exit %d, unusable %v; got %+v", c.exit, c.unusable, res)
			}
			if (res.Err == nil) != (c.exit == 0) || res.Err != nil && !strings.Contains(res.Err.Error(), c.err) {
				t.Errorf("want an error with %q, got %v", c.err, res.Err)
			}
		})
	}
}

func TestFloodIsDrainedAndCutOff(t *testing.T) {
	r := Runner{Path: script(t, "yes 0123456789 | head -c 30000000; echo the end >&2; exit 4")}
	res := r.Run(t.Context(), Env{Event: Check})
	if res.Exit != 4 {
		t.Errorf("want exit 4, got %d (%v)", res.Exit, res.Err)
	}
	if len(res.Output) > MaxOutput+100 || !strings.HasSuffix(res.Output, "[the rest is left out]") {
		t.Errorf("want %d bytes and a remark, got %d bytes ending in %q", MaxOutput, len(res.Output), res.Output[len(res.Output)-40:])
	}
}

func TestRunAfterItsEndDoesNotStart(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTest)
	r := Runner{Path: script(t, "touch "+ran)}
	if res := r.Run(ctx, Env{Event: Acquire}); !errors.Is(res.Err, errTest) || res.Exit != -1 {
		t.Errorf("want %v, got %+v", errTest, res)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the hook ran")
	}
}

// The hook of these tests ignores every signal it can, and so do its children:
// one in its group without an environment, one in a session of its own, and one whose parent is dead
// as well. All keep the pipe open. The last shell may outlive its child and then says
// "Killed", which is no output of the hook.
const stubborn = `trap '' TERM INT HUP
env -i sleep 1000 &
a=$!
setsid sh -c 'trap "" TERM HUP; echo $$ >'$D/b'; exec sleep 1000' &
( setsid sh -c '( trap "" TERM HUP; sh -c "echo \$PPID" >'$D/c'; sleep 1000; : ) 2>/dev/null & exit' & )
while ! [ -s $D/b ] || ! [ -s $D/c ]; do sleep 0.01; done
echo $$ $a $(cat $D/b $D/c) >$D/pids
`

func TestKilledWhole(t *testing.T) {
	d := t.TempDir()
	t.Setenv("D", d)
	var pids string
	o := runAdopting(t, script(t, stubborn+"sleep 1000"), func(kill func()) {
		pids = awaitLine(t, d+"/pids")
		kill()
	})
	wantDead(t, pids)
	if o.Exit != -1 || o.Err != errTest.Error() || len(o.Children) != 0 {
		t.Errorf("want a run killed by the test without children, got %+v", o)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	d := t.TempDir()
	t.Setenv("D", d)
	o := runAdopting(t, script(t, stubborn+"echo done; exit 0"), nil)
	wantDead(t, awaitLine(t, d+"/pids"))
	if o.Exit != 0 || o.Err != "" || o.Output != "done" || len(o.Children) != 0 {
		t.Errorf("want a successful run without children, got %+v", o)
	}
}

func TestOfManyProcessesLeftSomeAreNamed(t *testing.T) {
	r := Runner{Owner: Owner{"c", t.Name(), "group", 0}, Path: script(t, "for i in $(seq 60); do sleep 1000 & done; exit 1")}
	res := r.Run(t.Context(), Env{Event: Acquire})
	if len(res.Left) != maxLeft+1 || res.Left[maxLeft] != "and 10 more" {
		t.Errorf("want %d processes named and 10 counted, got %q", maxLeft, res.Left)
	}
}

func TestFugitiveIsCaught(t *testing.T) {
	// Every process of this chain starts the next in a session of its own and
	// ends, so that none lives for long.
	d := t.TempDir()
	t.Setenv("D", d)
	o := runAdopting(t, script(t, `echo $$ >>$D/pids
setsid "$0" & [ "$1" ] || exit 0
while ! [ $(wc -l <$D/pids) -gt 5 ]; do sleep 0.01; done`), nil)
	if o.Exit != 0 || len(o.Children) != 0 {
		t.Errorf("want a successful run without children, got %+v", o)
	}
	wantDead(t, strings.ReplaceAll(awaitLine(t, d+"/pids"), "\n", " "))
}

func TestKilledWholeWithoutAdopting(t *testing.T) {
	d := t.TempDir()
	t.Setenv("D", d)
	ctx, cancel := context.WithCancelCause(t.Context())
	r := Runner{Path: script(t, stubborn+"sleep 1000"), Owner: Owner{"c", t.Name(), "group", 0}}
	done := make(chan Result, 1)
	go func() { done <- r.Run(ctx, Env{Event: Acquire}) }()
	pids := awaitLine(t, d+"/pids")
	cancel(errTest)
	res := <-done
	awaitDeath(t, pids)
	if res.Exit != -1 || !errors.Is(res.Err, errTest) {
		t.Errorf("want a run killed by the test, got %+v", res)
	}
}

func TestPipeHeldOpenDoesNotHoldTheRun(t *testing.T) {
	// Without a subreaper there is no way to find a process that has left the group and
	// cleared its environment.
	d := t.TempDir()
	r := Runner{Owner: Owner{"c", t.Name(), "group", 0}, Path: script(t, "env -i setsid sh -c 'echo $$ >"+d+"/pid; exec sleep 1000' & "+
		"while ! [ -s "+d+"/pid ]; do sleep 0.01; done; echo said")}
	done := make(chan Result, 1)
	go func() { done <- r.Run(t.Context(), Env{Event: Acquire}) }()
	pid, err := strconv.Atoi(awaitLine(t, d+"/pid"))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	select {
	case res := <-done:
		if res.Exit != 0 || res.Output != "said" {
			t.Errorf("want what was said, got %+v", res)
		}
	case <-time.After(time.Minute):
		t.Error("the run has not ended")
	}
	if !alive(pid) {
		t.Error("the test is no test: the process was found")
	}
}

func TestSweepKnowsItsOwn(t *testing.T) {
	start := func(node, cluster string) *exec.Cmd {
		e := Env{Event: Acquire, Node: node, Cluster: cluster}
		cmd := exec.Command("sh", "-c", "echo; trap '' TERM; exec sleep 1000")
		cmd.Env = e.environ(os.Environ())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it has been executed
			t.Fatal(err)
		}
		return cmd
	}
	mine := start("node-1", "c")
	others := []*exec.Cmd{start("node-12", "c"), start("node-1", "cc"), start("node", "c")}
	if err := Sweep(Owner{Cluster: "c", Node: "node-1"}); err != nil {
		t.Fatal(err)
	}
	if alive(mine.Process.Pid) {
		t.Error("what was left behind still runs")
	}
	for _, o := range others {
		if !alive(o.Process.Pid) {
			t.Error("a process of another node was killed")
		}
	}
}

func TestSweepCatchesWhatIsJustBeingExecuted(t *testing.T) {
	// These execute themselves again and again, so that some are always between
	// two programs.
	hop := script(t, `[ -e "$1" ] || echo >"$1"; exec "$0" "$1"`)
	e := Env{Event: Acquire, Node: "hopping", Cluster: "c"}
	var all []*exec.Cmd
	for i := range 8 {
		began := filepath.Join(t.TempDir(), fmt.Sprint(i))
		cmd := exec.Command(hop, began)
		cmd.Env = e.environ(os.Environ())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		awaitLine(t, began)
		all = append(all, cmd)
	}
	if err := Sweep(Owner{Cluster: "c", Node: "hopping"}); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range all {
		if alive(cmd.Process.Pid) {
			t.Errorf("process %d was missed", cmd.Process.Pid)
		}
	}
}
