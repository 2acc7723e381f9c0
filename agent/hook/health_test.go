//go:build linux

package hook

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHealthEnvironment(t *testing.T) {
	t.Setenv("DOYEN_HEALTH", "/from/the/flag")
	h := Health{Path: script(t, `echo "args=$#"; env | grep ^DOYEN_ | sort; exit 3`), Cluster: "c", Node: "n", Addr: "a:1", API: "127.0.0.1:1", Run: "r"}
	res := h.Check(t.Context(), 1500*time.Millisecond)
	want := "args=0\nDOYEN_ADDR=a:1\nDOYEN_API=127.0.0.1:1\nDOYEN_CLUSTER=c\nDOYEN_DEADLINE_MS=1500\nDOYEN_NODE=n\nDOYEN_RUN=r"
	if res.Exit != 3 || res.Output != want {
		t.Errorf("want\n%s\ngot\n%s\n%+v", want, res.Output, res)
	}
}

// A check that runs into its limit is killed whole, with what has left its
// group; hooks are none of its business, nor checks of the hooks'.
func TestHealthIsKilledWhole(t *testing.T) {
	d := t.TempDir()
	t.Setenv("D", d)
	ctx, cancel := context.WithCancelCause(t.Context())
	h := Health{Path: script(t, stubborn+"sleep 1000"), Cluster: "c", Node: t.Name(), Run: t.Name()}
	done := make(chan Result, 1)
	go func() { done <- h.Check(ctx, time.Hour) }()
	pids := awaitLine(t, d+"/pids")
	if err := Sweep(Owner{Cluster: "c", Node: t.Name()}); err != nil { // of the hook
		t.Fatal(err)
	}
	select {
	case res := <-done:
		t.Fatalf("the sweep for hooks has killed the health check: %+v", res)
	case <-time.After(20 * time.Millisecond):
	}
	cancel(errTest)
	res := <-done
	awaitDeath(t, pids)
	if res.Exit != -1 || !errors.Is(res.Err, errTest) {
		t.Errorf("want a run killed by the test, got %+v", res)
	}
}

// What is left in the group of a check that has ended is killed.
func TestHealthLeavesNothingInItsGroup(t *testing.T) {
	d := t.TempDir()
	h := Health{Path: script(t, "sleep 1000 & echo $! >"+d+"/pid; exit 0"), Node: t.Name()}
	if res := h.Check(t.Context(), time.Hour); res.Err != nil {
		t.Error(res.Err)
	}
	wantDead(t, awaitLine(t, d+"/pid"))
}

// An agent that is killed takes the program with it; the sweep takes the rest.
func TestHealthOfAKilledAgent(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, sweep := range map[string]func() error{
		"by its keeper":     func() error { return SweepHealth("killed") },
		"by its next start": func() error { return SweepHealthOf("", "n") },
	} {
		t.Run(name, func(t *testing.T) {
			d := t.TempDir()
			t.Setenv("D", d)
			agent := exec.Command(exe, "checking", script(t, `setsid sh -c 'echo $$ >'$D/other'; exec sleep 1000' &
sleep 1000 &
while ! [ -s $D/other ]; do sleep 0.01; done
echo $$ $! $(cat $D/other) >$D/pids
wait`))
			if err := agent.Start(); err != nil {
				t.Fatal(err)
			}
			pids := awaitLine(t, d+"/pids")
			agent.Process.Signal(syscall.SIGKILL)
			agent.Wait()
			program, err := strconv.Atoi(strings.Fields(pids)[0])
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); alive(program); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the program outlives the agent")
				}
			}
			if err := sweep(); err != nil {
				t.Fatal(err)
			}
			wantDead(t, pids)
		})
	}
}
