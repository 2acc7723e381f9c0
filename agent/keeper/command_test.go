//go:build linux

package keeper

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent/clock"
)

// command writes a program that begins by noting that it runs, and makes it the
// command of the stage's election.
func (s *stage) command(body string) {
	s.t.Helper()
	path := s.path("command")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho $1 $DOYEN_TERM $DOYEN_ELECTION >>$D/log\n"+body+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.election().Run = []string{path, "run"}
}

// A command that does as it is told starts after acquire, and has ended before the
// release starts.
func TestCommandLivesAsLongAsTheLeadership(t *testing.T) {
	for name, begin := range map[string]func(Config) (*Keeper, error){"process": Start, "local": inProcess} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "exit 0")
			s.command(`trap 'echo told to end >>$D/log; exit 0' TERM
echo >$D/ready
while :; do sleep 0.01; done`)
			r := s.start(begin)
			r.lead(1)
			rep := r.until("the command", func(r Report) bool { return r.Command != nil })
			if !rep.Command.Running || rep.Command.PID == 0 || rep.Term != 1 || !rep.Held {
				t.Errorf("want it to run, got %+v of %+v", rep.Command, rep)
			}
			s.awaitFile("ready")
			s.await("acquire 1 elected", "run 1 group")
			r.stepDown(1, 0)
			rep = r.until("the end of the command", func(r Report) bool { return r.Command != nil })
			if c := rep.Command; c.Running || !c.Stopped || c.Exit != 0 || c.Err != "" || c.Failures != 0 {
				t.Errorf("want it ended as told, got %+v", c)
			}
			r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
			s.whole("release 0 startup", "acquire 1 elected", "run 1 group", "told to end", "release 1 requested")
		})
	}
}

// stubbornCommand ignores what it is told, as do two that it has started: one in a
// session of its own, and one that has cleared its environment and lost its parent.
const stubbornCommand = `trap '' TERM INT HUP
: >$D/command.pids
setsid sh -c 'trap "" TERM; echo $$ >>$D/command.pids; exec sleep 1000' &
env -i D=$D setsid sh -c '(trap "" TERM; sh -c "echo \$PPID" >>$D/command.pids; sleep 1000; :) & exit' &
while [ $(wc -l <$D/command.pids) -lt 2 ]; do sleep 0.01; done
echo $$ $(cat $D/command.pids) >$D/daemons
while :; do sleep 1000; done`

// besideRelease is the end of a hook whose release counts what lives of the command.
const besideRelease = `[ $DOYEN_EVENT = release ] || exit 0
for p in $(cat $D/daemons 2>/dev/null); do
	if { read -r _ _ state _ </proc/$p/stat; } 2>/dev/null && [ $state != Z ]; then n=$((n+1)); fi
done
echo beside ${n:-0} >>$D/log`

// However a leadership ends, all of the command is dead before the release starts.
func TestCommandIsDeadBeforeTheRelease(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *stage, *agent) *rig{
		"the agent is killed": func(_ *testing.T, _ *stage, a *agent) *rig {
			a.kill()
			return nil
		},
		"the agent is stopped": func(_ *testing.T, _ *stage, a *agent) *rig {
			a.signal(syscall.SIGSTOP)
			return nil
		},
		"the keeper is killed": func(t *testing.T, _ *stage, a *agent) *rig {
			for _, pid := range keepersOf(a.Process.Pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			return nil
		},
		"both are killed": func(_ *testing.T, s *stage, a *agent) *rig {
			a.killBoth()
			return s.start(Start)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, besideRelease)
			s.cfg.Quorum, s.election().ReleaseBudget = true, 500*ms
			s.command(stubbornCommand)
			a := s.startAgent(3 * time.Second) // a busy machine may not renew a shorter one
			a.until("the command", func(r Report) bool { return r.Command != nil && r.Command.Running })
			pids := s.left()
			if r := end(t, s, a); r != nil {
				defer r.close()
			}
			// The first release was that at start.
			for stop := time.Now().Add(limit); strings.Count(strings.Join(s.log(), "\n"), "beside") < 2; time.Sleep(ms) {
				if time.Now().After(stop) {
					t.Fatalf("no release in\n%s", strings.Join(s.log(), "\n"))
				}
			}
			if log := s.log(); !slices.Contains(log, "beside 0") || slices.ContainsFunc(log, func(l string) bool {
				return strings.HasPrefix(l, "beside") && l != "beside 0"
			}) {
				t.Errorf("want nothing beside a release, got\n%s", strings.Join(log, "\n"))
			}
			s.wantLeft(pids, false, name)
		})
	}
}

// In quorum mode a command that does not end is killed in time for the release.
func TestStubbornCommandLeavesTimeForTheRelease(t *testing.T) {
	s := newStage(t, besideRelease)
	s.cfg.Quorum = true
	s.command(stubbornCommand)
	r := s.start(Start)
	r.lead(1)
	r.until("the command", func(r Report) bool { return r.Command != nil && r.Command.Running })
	pids := s.left()
	r.stepDown(1, clock.Boot()+6*time.Second)
	rep := r.until("the end of the command", func(r Report) bool { return r.Command != nil })
	if c := rep.Command; !c.Stopped || c.Exit != -1 || !strings.Contains(c.Err, "killed") {
		t.Errorf("want it killed, got %+v", c)
	}
	s.wantLeft(pids, false, "after its end")
	r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
	s.await("release 1 requested", "beside 0")
}

// A command has a part of the time of the release, and on a planned hand-over of the
// whole hand-over, as long as the agent goes on renewing.
func TestTimeThatACommandHas(t *testing.T) {
	const began = 100 * time.Second
	e := &executor{
		node: &node{cfg: Config{Quorum: true}}, cfg: Election{Hook: "/hook", HookTimeout: 30 * time.Second, ReleaseBudget: 200 * ms},
		leadership: &leadership{term: 1, over: true, command: command{stopAt: began}}, release: &release{until: began + 30*time.Second},
	}
	order := func(by, until time.Duration) Order { return Order{ReleaseTerm: 1, ReleaseBy: by, ReleaseUntil: until} }
	for _, test := range []struct {
		name  string
		order Order
		hook  string
		want  time.Duration
	}{
		{"unplanned", order(began+1010*ms, 0), "/hook", began + 500*ms},
		{"without a hook", order(began+1010*ms, 0), "", began + 750*ms},
		{"planned", order(began+time.Hour, began+30*time.Second), "/hook", began + 10*time.Second},
		{"planned, and not renewed", order(began+1010*ms, began+30*time.Second), "/hook", began + 900*ms},
		{"planned in available mode", order(0, began+30*time.Second), "", began + 10*time.Second},
		{"unplanned in available mode", order(0, 0), "/hook", began + 10*time.Second},
	} {
		e.order, e.cfg.Hook = test.order, test.hook
		if got := e.commandLimit(); got != test.want {
			t.Errorf("%s: want %v, got %v", test.name, test.want-began, got-began)
		}
	}
}

// A daemon of the command is asked to end as well, and gets the time to do so.
func TestDaemonOfTheCommandEndsByItself(t *testing.T) {
	s := newStage(t, "exit 0")
	// setsid returns when its parent, who is the keeper then, has the daemon.
	s.command(`trap 'exit 0' TERM
setsid -f sh -c 'trap "sleep 0.3; echo daemon ended >>$D/log; exit" TERM; echo daemon runs >>$D/log; while :; do sleep 0.01; done'
while :; do sleep 0.01; done`)
	r := s.start(Start)
	r.lead(1)
	s.await("acquire 1 elected", "run 1 group", "daemon runs")
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
	s.whole("release 0 startup", "acquire 1 elected", "run 1 group", "daemon runs", "daemon ended", "release 1 requested")
}

// The pause before a command is started again is that of Config.RetryAfter, and doubles.
func TestCommandIsStartedAgainAfterAPause(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.RetryAfter = 200 * ms
	s.command(`read -r up _ </proc/uptime; echo $up >>$D/starts; [ $(wc -l <$D/starts) -lt 3 ] || exec sleep 1000`)
	r := s.start(Start)
	r.lead(1)
	r.until("the third start", func(r Report) bool { return r.Command != nil && r.Command.Running && r.Command.Restarts == 2 })
	var starts []float64 // in seconds
	for end := time.Now().Add(limit); len(starts) < 3 && time.Now().Before(end); time.Sleep(ms) {
		starts = nil
		for _, text := range strings.Fields(s.awaitFile("starts")) {
			at, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			starts = append(starts, at)
		}
	}
	const resolution = 0.01 // of /proc/uptime
	for n, pause := range []float64{0.2, 0.4} {
		if got := starts[n+1] - starts[n]; got < pause-resolution-1e-6 {
			t.Errorf("want start %d at least %v s after the one before, got %v", n+2, pause, got)
		}
	}
}

// A command that ends is started again, with growing pauses; one that ends too soon
// is counted.
func TestCommandThatEndsIsStartedAgain(t *testing.T) {
	s := newStage(t, "exit 0")
	s.command(`setsid sleep 1000 >/dev/null 2>&1 & while [ $(cat /proc/$!/comm) != sleep ]; do :; done; exit 3`)
	r := s.start(Start)
	r.lead(1)
	for n := 1; n <= 3; n++ {
		rep := r.until("the start of the command", func(r Report) bool { return r.Command != nil && r.Command.Running })
		if rep.Command.Restarts != n-1 {
			t.Errorf("want %d restarts, got %+v", n-1, rep.Command)
		}
		rep = r.until("the end of the command", func(r Report) bool { return r.Command != nil })
		if c := rep.Command; c.Failures != n || c.Exit != 3 || c.Stopped || len(c.Left) != 1 || !strings.HasPrefix(c.Left[0], "sleep (") {
			t.Errorf("want end %d with what it left, got %+v", n, c)
		}
	}
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 })
}

// A command that cannot be started is one that ends too soon.
func TestCommandThatIsMissing(t *testing.T) {
	s := newStage(t, "exit 0")
	s.election().Run = []string{s.path("nowhere")}
	r := s.start(Start)
	r.lead(1)
	rep := r.until("the third failure", func(r Report) bool { return r.Command != nil && r.Command.Failures == 3 })
	if !strings.Contains(rep.Command.Err, "no such file") {
		t.Errorf("want to know why, got %+v", rep.Command)
	}
}

// Another command follows the one that runs, and the leadership goes on.
func TestCommandChanges(t *testing.T) {
	s := newStage(t, "exit 0")
	s.command(`while :; do sleep 0.01; done`)
	r := s.start(Start)
	r.lead(1)
	first := r.until("the command", func(r Report) bool { return r.Command != nil && r.Command.Running })
	next := s.cfg
	next.Elections = slices.Clone(s.cfg.Elections)
	next.Elections[0].Run = []string{s.cfg.Elections[0].Run[0], "another"}
	if err := r.Configure(next); err != nil {
		t.Fatal(err)
	}
	second := r.until("another command", func(r Report) bool { return r.Command != nil && r.Command.Running })
	if alive(first.Command.PID) || !alive(second.Command.PID) || !r.leads() {
		t.Errorf("want %d followed by %d, led %v", first.Command.PID, second.Command.PID, r.leads())
	}
	s.await("another 1 group")
}

// What commands print goes to the agent's own outputs.
func TestCommandPrintsOnTheAgentsOutput(t *testing.T) {
	s := newStage(t, "exit 0")
	s.command(`printf 'one '; sleep 0.02; echo line; echo another >&2; printf 'no end'`)
	a := s.startAgent(time.Hour)
	for _, want := range []string{"one line", "no end"} {
		select {
		case got := <-a.printed:
			if got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		case <-time.After(limit):
			t.Fatalf("%q was not printed", want)
		}
	}
}
