package process

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// One look kills three generations, but for those that are not wanted and what is
// below them.
func TestKillBelow(t *testing.T) {
	const script = "sh -c 'sleep 1000 & sleep 1000; :' & setsid sh -c 'sleep 1000; :' & wait"
	cmd := exec.Command("sh", "-c", script+"; wait; sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	top := cmd.Process.Pid
	below := func() (pids []int) {
		for list := Children(top); len(list) > 0; list = list[1:] {
			if !IsZombie(list[0]) {
				pids = append(pids, list[0])
			}
			list = append(list, Children(list[0])...)
		}
		return pids
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: these live below: %v", what, below())
			}
		}
	}
	until("all started", func() bool { return len(below()) == 5 })
	started := below()
	KillBelow(top, func(int) bool { return false })
	if got := below(); !slices.Equal(got, started) {
		t.Errorf("want %v spared, got %v", started, got)
	}
	KillBelow(top, func(int) bool { return true })
	until("all killed", func() bool {
		return !slices.ContainsFunc(started, func(pid int) bool { return Parent(pid) != 0 && !IsZombie(pid) })
	})
	if IsZombie(top) {
		t.Error("the process itself was killed")
	}
}

func TestChildrenAreFoundEitherWay(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for name, list := range map[string]func(int) []int{"children": Children, "stat": childrenByParent} {
		if !slices.Contains(list(os.Getpid()), cmd.Process.Pid) {
			t.Errorf("%s: the child %d is missing in %v", name, cmd.Process.Pid, list(os.Getpid()))
		}
	}
}
