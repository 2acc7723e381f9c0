//go:build linux

package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doyen/agent/clock"
)

func TestWholeLifeOfAKeeper(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = release ] || exit 0
while ! [ -e $D/go ]; do sleep 0.01; done
echo "released" >>$D/log`)
	k, err := Start(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Keeper: k, s: s}
	r.until("the start of release", func(r Report) bool { return r.Event == "release" })
	if k.Deadline(Group).Extend(1, clock.Boot()+time.Hour) {
		t.Error("a leadership began before the release at start")
	}
	s.touch("go")
	r.until("the release at start", func(r Report) bool { return r.StartupDone })
	pid := r.PID()
	if pid == 0 || !alive(pid) || r.leads() {
		t.Errorf("want a keeper and no leader, got process %d, leads %v", pid, r.leads())
	}
	r.lead(1)
	if rep := r.ended("acquire"); rep.Exit != 0 || !rep.Held || rep.Term != 1 {
		t.Errorf("want term 1 held, got %+v", rep)
	}
	r.stepDown(1, 0)
	if rep := r.until("the release", func(r Report) bool { return r.Released == 1 }); rep.ReleaseFailed || rep.Held {
		t.Errorf("want it released, got %+v", rep)
	}
	r.lead(2)
	r.ended("acquire")
	r.close()
	if alive(pid) {
		t.Error("the keeper still runs")
	}
	if r.leads() {
		t.Error("the deadline says that this node leads, after Close")
	}
	s.whole("release 0 startup", "released", "acquire 1 elected", "release 1 requested", "released",
		"acquire 2 elected", "release 2 leader-died", "released", "will of 2")
}

// A keeper that dies while it starts is noticed when it does, and the error says
// how it ended.
func TestKeeperDiesWhileStarting(t *testing.T) {
	t.Setenv(diesAtOnce, "1")
	began := time.Now()
	_, err := Start(newStage(t, "exit 0").cfg)
	if err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("want the exit status in the error, got %v", err)
	}
	if took := time.Since(began); took >= helloLimit {
		t.Errorf("want the end noticed, got it after the time-out, %v", took)
	}
}

// A keeper with many elections may take longer to start than it may for one step.
func TestKeeperStartsAsLongAsItGoesOn(t *testing.T) {
	cfg := newStage(t, "exit 0").cfg
	const many, slowStart = 10, 500 * ms
	t.Setenv(startsSlowly, slowStart.String())
	for i := range many {
		cfg.Elections = append(cfg.Elections, Election{
			Name: fmt.Sprint("e", i), Rule: "seniority", CheckInterval: -1, Addresses: []string{fmt.Sprintf("192.0.2.%d/24@eth0", i+1)},
		})
	}
	defer func(was time.Duration) { helloLimit = was }(helloLimit)
	helloLimit = (many - 2) * slowStart
	k, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(t.Context()); err != nil {
		t.Error(err)
	}
	t.Setenv(startsSlowly, "1h")
	helloLimit = 5 * time.Second // for the process to start, too
	if _, err := Start(cfg); err == nil || !strings.Contains(err.Error(), "does not answer for the election e") {
		t.Errorf("a keeper that takes too long for one election: want it named, got %v", err)
	}
}

// A keeper process that holds much does not collect garbage all the time.
func TestKeeperCollectsSeldom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	staySmall()
	held := make([]byte, 32<<20)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 1000 {
		used = make([]byte, 64<<10) // as netlink takes for each answer
	}
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(held)
	if n := after.NumGC - before.NumGC; n > 10 {
		t.Errorf("want few collections while 64 MiB are used beside 32 that are held, got %d", n)
	}
}

var used []byte

// A keeper that is scheduled in real time, on a host with one processor, does not use it
// up while it starts: no thread of it waits in a loop for one that cannot run meanwhile.
func TestKeeperInRealTimeStartsAtOnce(t *testing.T) {
	s := newStage(t, "exit 0")
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0); err != nil {
		cannotRun(t, fmt.Sprintf("needs to be scheduled in real time: %v", err))
	}
	for range 8 {
		k, err := Start(s.cfg) // from this thread, so that the keeper is scheduled alike
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{Keeper: k, s: s}
		r.until("the release at start", func(r Report) bool { return r.StartupDone })
		took := processorTime(t, r.PID())
		r.close()
		const slice = 100 * ms // sched_rr_timeslice_ms; a start takes up to 30
		if took >= slice {
			t.Errorf("the keeper has used the processor for %v, want less than a slice, %v", took, slice)
		}
	}
}

// processorTime is what a process has used, of user and system together (proc_pid_stat(5)).
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	const tick = 10 * ms // USER_HZ is 100
	return time.Duration(user+system) * tick
}

func TestAgentKilled(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] && echo "released" >>$D/log; exit 0`)
	a := s.startAgent(time.Hour)
	s.await("release 0 startup", "acquire 1 elected", "change 1 elected")
	a.kill()
	// The will comes after the release: the others may elect at once.
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "release 1 leader-died", "released", "will of 1")
}

func TestAgentKilledDuringAcquire(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = acquire ] || exit 0
`+stubborn)
	a := s.startAgent(time.Hour)
	s.awaitFile("hangs")
	a.kill()
	s.whole("release 0 startup", "acquire 1 elected", "release 1 leader-died", "will of 1")
	s.wantNothingLeft()
}

func TestAgentAndKeeperKilledDuringAcquire(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = acquire ] || exit 0
`+stubborn)
	a := s.startAgent(time.Hour)
	s.awaitFile("hangs")
	a.killBoth()
	// The hook goes on without them, until the next start.
	s.start(Start)
	s.whole("release 0 startup", "acquire 1 elected", "release 0 startup")
}

func TestAgentKilledDuringStart(t *testing.T) {
	s := newStage(t, stubborn)
	a := s.startAgent(time.Hour)
	s.awaitFile("hangs")
	a.kill()
	s.whole("release 0 startup")
	s.wantNothingLeft()
}

func TestAgentStopped(t *testing.T) {
	s := newStage(t, "exit 0")
	a := s.startAgent(2 * time.Second)
	s.await("release 0 startup", "acquire 1 elected", "change 1 elected")
	// It is stopped for as long as patience, so it must know that its order was taken in.
	a.until("the end of change", func(r Report) bool { return r.Event == "change" && !r.Running })
	a.signal(syscall.SIGSTOP)
	s.await("release 1 lease-lost", "will of 1")
	a.signal(syscall.SIGCONT)
	a.until("the firing", func(r Report) bool { return r.Fired == 1 })
	a.until("the release", func(r Report) bool { return r.Released == 1 })
	a.until("the end of change", func(r Report) bool { return r.Event == "change" && !r.Running })
	a.kill()
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "release 1 lease-lost", "will of 1", "change 1 asleep")
}

// A release that was killed because its time was over may have given up nothing: the
// will, which lets the others lead at once, waits for one that succeeds.
func TestNoWillWhileSomethingIsHeld(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] || exit 0
[ -e $D/again ] || { : >$D/again; sleep 1000; }
echo released >>$D/log`)
	s.cfg.Quorum, s.election().ReleaseBudget = true, 100*ms
	a := s.startAgent(3 * time.Second)
	s.await("release 0 startup", "acquire 1 elected", "change 1 elected")
	a.kill()
	s.whole("release 0 startup", "acquire 1 elected", "change 1 elected", "release 1 leader-died", "release 1 leader-died", "released", "will of 1")
}

func TestStoppedAgentDoesNotHoldTheKeeperUp(t *testing.T) {
	// The agent does not read, and the reports soon fill the socket.
	s := newStage(t, `yes | head -c 8000; [ $DOYEN_EVENT = release ] || [ $(wc -l <$D/log) -gt 80 ]`)
	s.cfg.RetryAfter = 100 * time.Microsecond
	a := s.startAgent(time.Hour)
	s.await("acquire 1 elected")
	a.signal(syscall.SIGSTOP)
	for end := time.Now().Add(limit); len(s.log()) <= 80; time.Sleep(ms) {
		if time.Now().After(end) {
			t.Fatalf("the keeper has stopped after %d runs", len(s.log()))
		}
	}
	a.signal(syscall.SIGCONT)
	a.until("the last acquire", func(r Report) bool { return r.Held })
}

func TestSignalsForTheAgentDoNotEndTheKeeper(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(Start)
	pid := r.PID()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGPIPE} {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	r.lead(1)
	r.ended("acquire")
	if !alive(pid) || r.PID() != pid {
		t.Error("the keeper has ended")
	}
}

func TestKeeperKilled(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = acquire1 ] || exit 0
`+stubborn)
	r := s.start(Start)
	r.lead(1)
	s.awaitFile("hangs")
	first := r.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rep := r.until("its death", func(r Report) bool { return r.KeeperDied })
	if !strings.Contains(rep.Err, "killed") {
		t.Errorf("want to know how it died, got %q", rep.Err)
	}
	if r.leads() {
		t.Error("the node leads without a keeper")
	}
	if r.Deadline(Group).Extend(1, clock.Boot()+time.Hour) {
		t.Error("a leadership whose keeper died was extended")
	}
	s.wantNothingLeft()
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	if r.PID() == first {
		t.Error("there is no new keeper")
	}
	r.lead(2)
	r.ended("acquire")
	// The new keeper may start its release before it hears what it is for.
	log := slices.DeleteFunc(s.log(), func(line string) bool { return strings.HasPrefix(line, "change") })
	if len(log) != 4 || !strings.HasPrefix(log[2], "release") || log[3] != "acquire 2 elected" {
		t.Errorf("want release, acquire, release, acquire, got\n%s", strings.Join(log, "\n"))
	}
}

func TestKeeperStoppedDuringAcquire(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = acquire1 ] || exit 0
`+stubborn)
	s.cfg.Quorum = true
	r := s.start(Start)
	r.lead(1)
	s.awaitFile("hangs")
	s.stop(r.PID())
	// It cannot even kill what runs; another may lead at the end of this.
	by := clock.Boot() + 200*ms
	r.stepDown(1, by)
	rep := r.until("its death", func(r Report) bool { return r.KeeperDied })
	if !strings.Contains(rep.Err, "in time") {
		t.Errorf("want to know why it was killed, got %q", rep.Err)
	}
	s.wantNothingLeft()
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	r.lead(2)
	r.ended("acquire")
}

func TestKeeperStoppedWhileItHasNothingToDo(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(Start)
	s.stop(r.PID())
	r.lead(1)
	r.until("its death", func(r Report) bool { return r.KeeperDied })
	if r.leads() {
		t.Error("the node leads without a keeper")
	}
}

func TestSuccessorWaitsForTheKeeperOfTheDead(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] || exit 0
echo >$D/releasing
while ! [ -e $D/go ]; do sleep 0.01; done
echo done >>$D/log`)
	a := s.startAgent(time.Hour)
	s.await("release 0 startup", "acquire 1 elected", "change 1 elected")
	a.Process.Kill()
	s.awaitFile("releasing")
	successor, err := Start(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Keeper: successor, s: s}
	defer r.close()
	log, err := os.Create(s.path("waits"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cfg := s.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	stop := make(chan error, 1)
	go func() { stop <- ReleaseNow(context.Background(), cfg, Tools{}) }()
	s.awaitFile("waits") // for the keeper of the dead; for the successor's it would give up at once
	s.touch("go")
	r.until("the release at start", func(r Report) bool { return r.StartupDone })
	a.kill()
	if got := strings.Join(s.log()[3:], ", "); !strings.HasPrefix(got, "release 1 leader-died, done, ") || strings.Contains(got, "OVERLAP") {
		t.Errorf("want the dead agent's release to be done before any other, got %s", got)
	}
	r.close()
	if err := <-stop; err != nil {
		t.Error(err)
	}
	s.mustContain("release 0 stop")
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	one := func(e Election) Config { return Config{Node: "n", Elections: []Election{e}} }
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no name":        {Config{}, "no name"},
		"no election":    {Config{Node: "n"}, "no election"},
		"relative hook":  {one(Election{Hook: "hook"}), "hook hook is not an absolute path"},
		"no addresses":   {one(Election{Addresses: []string{"192.0.2.1/24@lo"}}), "floating-ip"},
		"negative limit": {one(Election{HookTimeout: -1}), "hook-timeout"},
		"bad name":       {one(Election{Name: "Web"}), `"Web"`},
		"twice":          {Config{Node: "n", Elections: make([]Election, 2)}, "two elections of the name group"},
		"too many":       {Config{Node: "n", Elections: make([]Election, 130)}, "129"},
	} {
		if _, err := Start(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", name, c.want, err)
		}
	}
	t.Setenv(mark, "1")
	if _, err := Start(one(Election{})); err == nil || !strings.Contains(err.Error(), "keeper.Init") {
		t.Errorf("a keeper that starts a keeper: got %v", err)
	}
}

func TestMissingHookEndsTheReleaseAtStart(t *testing.T) {
	s := newStage(t, "")
	s.election().Hook = s.path("nowhere")
	r := s.start(Start)
	rep := r.got[len(r.got)-1]
	if !rep.ReleaseFailed || !strings.Contains(r.got[len(r.got)-2].Err, "no such file") {
		t.Errorf("want a failed release, got %+v", r.got)
	}
	r.lead(1)
	for n := 1; n <= 3; n++ {
		if rep := r.ended("acquire"); rep.AcquireFailures != n || rep.Term != 1 {
			t.Errorf("want failure %d, got %+v", n, rep)
		}
	}
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 && r.ReleaseFailed })
}

// stop stops a process, and waits until it has stopped.
func (s *stage) stop(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); strings.Contains(string(b), "\nState:\tT") {
			return
		}
	}
	s.t.Fatalf("process %d does not stop", pid)
}

// wantNothingLeft checks that no process that a run has noted lives.
func (s *stage) wantNothingLeft() {
	s.t.Helper()
	b, err := os.ReadFile(s.path("pids"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, word := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(word); err != nil || alive(pid) {
			s.t.Errorf("process %s of the hook still runs (%v)", word, err)
		}
	}
}

func (s *stage) mustContain(line string) {
	s.t.Helper()
	if !strings.Contains("\n"+strings.Join(s.log(), "\n")+"\n", "\n"+line+"\n") {
		s.t.Errorf("want the line %q in\n%s", line, strings.Join(s.log(), "\n"))
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	for name, begin := range map[string]func(Config) (*Keeper, error){"process": Start, "local": inProcess} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "exit 0")
			r := s.start(begin)
			r.lead(1)
			r.ended("acquire")
			waiting, err := begin(s.cfg) // never gets the lock
			if err != nil {
				t.Fatal(err)
			}
			if err := waiting.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.close()
			if r.PID() != 0 {
				t.Error("there is still a keeper process")
			}
			for end := time.Now().Add(limit); ; time.Sleep(ms) {
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				ours := 0
				for _, stack := range strings.Split(string(stacks), "\n\n")[1:] {
					if strings.Contains(stack, "doyen/agent/") && !strings.Contains(stack, "testing.") {
						ours++
					}
				}
				if ours == 0 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%d goroutines are left:\n%s", ours, stacks)
				}
			}
		})
	}
}
