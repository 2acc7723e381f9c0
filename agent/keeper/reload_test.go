//go:build linux

package keeper

import (
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent/clock"
)

// A reload adds, changes and ends elections, and touches no other.
func TestConfigure(t *testing.T) {
	for name, begin := range map[string]func(Config) (*Keeper, error){"process": Start, "local": inProcess} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, `echo $DOYEN_ELECTION $DOYEN_EVENT $DOYEN_TERM $DOYEN_REASON >>$D/log`)
			web := *s.election()
			web.Name = "web"
			s.cfg.Elections = append(s.cfg.Elections, web)
			k, err := begin(s.cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{Keeper: k, s: s}
			defer r.close()
			started := 0
			r.until("both releases at start", func(r Report) bool {
				if r.StartupDone {
					started++
				}
				return started == 2
			})
			for _, name := range []string{Group, "web"} {
				lead(t, k, name, 1)
				r.until("acquire of "+name, func(r Report) bool { return r.Election == name && r.Held })
			}
			former, pid := k.Deadline("web"), k.PID()

			group, mail := s.cfg.Elections[0], web
			group.CheckInterval, mail.Name = 10*ms, "mail"
			next := s.cfg
			next.Elections = []Election{group, mail}
			if err := k.Configure(next); err != nil {
				t.Fatal(err)
			}
			if k.Deadline("web") != nil {
				t.Error("there is still a deadline of web")
			}
			seen := map[string]bool{}
			r.until("the end of web, the start of mail and a check of the group", func(r Report) bool {
				seen["web"] = seen["web"] || r.Election == "web" && r.Released == 1
				seen["mail"] = seen["mail"] || r.Election == "mail" && r.StartupDone
				seen["group"] = seen["group"] || r.Election == Group && r.Event == "check" && r.Held
				return len(slices.DeleteFunc([]string{"web", "mail", "group"}, func(n string) bool { return seen[n] })) == 0
			})
			if !r.leads() || k.PID() != pid {
				t.Errorf("want the group led and keeper %d, got %v and %d", pid, r.leads(), k.PID())
			}
			if former.Leads(clock.Boot()) || former.Extend(2, clock.Boot()+time.Hour) {
				t.Error("web is still led")
			}
			lead(t, k, "mail", 1)
			r.until("acquire of mail", func(r Report) bool { return r.Election == "mail" && r.Held })
			if log := strings.Join(s.log(), "\n"); strings.Contains(log, "group release 1") || !strings.Contains(log, "web release 1 leader-died") {
				t.Errorf("want a release of web and none of the group, got\n%s", log)
			}

			next.Node = "another"
			if err := k.Configure(next); err == nil || !strings.Contains(err.Error(), "cannot change") {
				t.Errorf("another name was taken: %v", err)
			}
		})
	}
}

// Another hook takes what there is to take although the leadership goes on.
func TestAnotherHookAcquires(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(Start)
	r.lead(1)
	r.ended("acquire")
	s.changeHook(r)
	if rep := r.ended("acquire"); rep.Term != 1 || !rep.Held || !r.leads() {
		t.Errorf("want term 1 acquired by the other hook, got %+v", rep)
	}
	if log := s.log(); !slices.Contains(log, "other acquire 1") {
		t.Errorf("want the other hook run, got %q", log)
	}
}

// changeHook gives the election another hook, which writes what it is run for to the log.
func (s *stage) changeHook(r *rig) {
	s.t.Helper()
	next, group := s.cfg, *s.election()
	group.Hook = s.path("other")
	if err := os.WriteFile(group.Hook, []byte("#!/bin/sh\necho other $DOYEN_EVENT $DOYEN_TERM >>$D/log\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	next.Elections = []Election{group}
	if err := r.Configure(next); err != nil {
		s.t.Fatal(err)
	}
}

// Another hook acquires also if the former one's acquire is still under way.
func TestAnotherHookWhileAcquireRuns(t *testing.T) {
	s := newStage(t, "[ $DOYEN_EVENT = acquire ] || exit 0\necho >$D/acquiring; while ! [ -e $D/go ]; do sleep 0.01; done")
	r := s.start(Start)
	r.lead(1)
	s.awaitFile("acquiring")
	s.changeHook(r)
	// Orders and configurations are taken in one after the other.
	r.lead(2)
	time.Sleep(20 * ms)
	s.touch("go")
	r.until("an acquire of the other hook", func(r Report) bool {
		return r.Event == "acquire" && !r.Running && slices.Contains(s.log(), "other acquire 2")
	})
}

// A keeper that replaces one that died serves the elections of the newest
// configuration.
func TestConfigureOutlivesTheKeeper(t *testing.T) {
	s := newStage(t, "exit 0")
	r := s.start(Start)
	web := *s.election()
	web.Name = "web"
	s.cfg.Elections = append(s.cfg.Elections, web)
	if err := r.Configure(s.cfg); err != nil {
		t.Fatal(err)
	}
	r.until("the start of web", func(r Report) bool { return r.Election == "web" && r.StartupDone })
	if err := syscall.Kill(r.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.until("its death", func(r Report) bool { return r.KeeperDied })
	r.until("the start of web", func(r Report) bool { return r.Election == "web" && r.StartupDone })
	lead(t, r.Keeper, "web", 1)
	r.until("acquire of web", func(r Report) bool { return r.Election == "web" && r.Held })
}

// An election that ends and comes back at once starts anew, after the release of
// what it was.
func TestElectionComesBackWhileItEnds(t *testing.T) {
	s := newStage(t, `[ $DOYEN_ELECTION$DOYEN_EVENT$DOYEN_TERM = webrelease1 ] || exit 0
echo >$D/releasing
while ! [ -e $D/go ]; do sleep 0.01; done; echo released >>$D/log`)
	web := *s.election()
	web.Name = "web"
	with := s.cfg
	with.Elections = append(slices.Clone(s.cfg.Elections), web)
	k, err := Start(with)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Keeper: k, s: s}
	defer r.close()
	r.until("the start of web", func(r Report) bool { return r.Election == "web" && r.StartupDone })
	lead(t, k, "web", 1)
	r.until("acquire of web", func(r Report) bool { return r.Election == "web" && r.Held })
	for _, c := range []Config{s.cfg, with} {
		if err := k.Configure(c); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitFile("releasing")
	if k.Deadline("web").Extend(2, clock.Boot()+time.Hour) {
		t.Error("web is led before its release")
	}
	s.touch("go")
	r.until("another start of web", func(r Report) bool { return r.Election == "web" && r.StartupDone })
	lead(t, k, "web", 3)
	r.until("acquire of web", func(r Report) bool { return r.Election == "web" && r.Held && r.Term == 3 })
}

// lead begins a leadership of an election.
func lead(t *testing.T, k *Keeper, election string, term uint64) {
	t.Helper()
	k.Deadline(election).Disarm()
	if !k.Deadline(election).Extend(term, clock.Boot()+time.Hour) {
		t.Fatalf("cannot lead %s", election)
	}
	k.Order(Order{Election: election, Lead: true, Term: term, Reason: "elected"})
}

// Other addresses of an election are taken under its leadership; one that it gives up
// can go to another election at once.
func TestAddressesChange(t *testing.T) {
	s := newStage(t, "exit 0")
	const one, two = "192.0.2.1/24@lo", "192.0.2.2/24@lo"
	s.election().Addresses = []string{one}
	a := &addresses{s: s}
	r := s.start(func(cfg Config) (*Keeper, error) { return Local(cfg, Tools{Addresses: a.functions}) })
	r.lead(1)
	r.ended("acquire")
	r.ended("change") // else it may run beside the release of web
	next := s.cfg
	next.Elections = []Election{*s.election(), {Name: "web", Hook: s.election().Hook, CheckInterval: -1, Addresses: []string{one}}}
	next.Elections[0].Addresses = []string{two}
	if err := r.Configure(next); err != nil {
		t.Fatal(err)
	}
	r.until("the start of web", func(r Report) bool { return r.Election == "web" && r.StartupDone })
	next.Elections[0].Addresses = nil
	if err := r.Configure(next); err != nil {
		t.Fatal(err)
	}
	s.awaitAfter("become ["+two+"]", "become []")
	if !r.leads() {
		t.Error("the group is not led any more")
	}
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Election == Group && r.Released == 1 })
	// web is independent of the rest once the group has given up its address.
	log := slices.DeleteFunc(counted(s.log(), nil)[3:], func(l string) bool { return l == "begin" || l == "release 0 startup" })
	want := "take, acquire 1 elected, become [], become [" + two + "], become [], release 1 requested, drop"
	if got := strings.Join(log, ", "); strings.Replace(got, ", drop", "", 1) != want {
		t.Errorf("want %q and one drop more, got %q", want, got)
	}
}

// awaitAfter waits until the log has a line, and another somewhere after it.
func (s *stage) awaitAfter(first, second string) {
	s.t.Helper()
	there := func() bool {
		log := s.log()
		at := slices.Index(log, first)
		return at >= 0 && slices.Contains(log[at:], second)
	}
	for end := time.Now().Add(limit); !there(); time.Sleep(ms) {
		if time.Now().After(end) {
			s.t.Fatalf("want the line %q after %q in\n%s", second, first, strings.Join(s.log(), "\n"))
		}
	}
}

// The first thing that an election has to hold, and the last that is taken away, do not
// end its leadership. A hook that is taken away releases what it holds, and is then no
// part of the leadership.
func TestLeadershipGoesOnWithTheFirstAndTheLastThing(t *testing.T) {
	for name, begin := range map[string]func(Config) (*Keeper, error){"process": Start, "local": inProcess} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "[ $DOYEN_EVENT != acquire ] || { sleep 1000 & echo $! >$D/left; }")
			program, hook := s.path("command"), s.election().Hook
			if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.election().Hook = ""
			r := s.start(begin)
			configure := func(hook string, run ...string) {
				t.Helper()
				next := s.cfg
				next.Elections = []Election{{CheckInterval: -1, Hook: hook, Run: run}}
				if err := r.Configure(next); err != nil {
					t.Fatal(err)
				}
			}
			r.lead(1)
			r.until("nothing held", func(r Report) bool { return r.Held })
			configure(hook)
			r.ended("acquire")
			configure(hook, program)
			r.until("the command", func(r Report) bool { return r.Command != nil && r.Command.Running })
			configure("", program)
			r.ended("release")
			if left, err := strconv.Atoi(strings.TrimSpace(s.awaitFile("left"))); err != nil || alive(left) {
				t.Errorf("what acquire left running lives after the release, as %d (%v)", left, err)
			}
			configure("")
			r.until("the end of the command", func(r Report) bool { return r.Command != nil && r.Command.Stopped })
			configure("", program)
			r.until("the command again", func(r Report) bool { return r.Command != nil && r.Command.Running })
			configure("")
			r.until("its end", func(r Report) bool { return r.Command != nil && r.Command.Stopped })
			configure(hook)
			r.ended("acquire")
			if !r.leads() {
				t.Error("the leadership has ended")
			}
			r.stepDown(1, 0)
			r.until("the release", func(r Report) bool { return r.Released == 1 })
			want := "acquire 1 elected, release 1 reload, acquire 1 elected, release 1 requested"
			if got := strings.Join(counted(s.log(), nil), ", "); got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		})
	}
}

// The first hook of a leadership waits for another keeper of this node, as one does at the
// start.
func TestFirstThingWaitsForTheLock(t *testing.T) {
	s := newStage(t, "exit 0")
	former := s.start(Start) // has the lock
	without := s.cfg
	without.Elections = []Election{{CheckInterval: -1}}
	k, err := Start(without)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Keeper: k, s: s}
	defer r.close()
	r.until("the start", func(r Report) bool { return r.StartupDone })
	r.lead(1)
	r.until("nothing held", func(r Report) bool { return r.Held })
	if err := r.Configure(s.cfg); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * ms)
	if log := s.log(); slices.Contains(log, "acquire 1 elected") {
		t.Errorf("the hook was run beside another keeper of the node: %q", log)
	}
	former.close()
	if rep := r.ended("acquire"); !rep.Held || !r.leads() {
		t.Errorf("want term 1 held, got %+v", rep)
	}
}

// A hook that comes back before the former one's release has ended takes all anew, and a
// leadership that ends in the midst of it is released with that hook.
func TestHookIsTakenAwayForAMoment(t *testing.T) {
	for name, then := range map[string]func(r *rig, back func()){
		"and comes back": func(r *rig, back func()) {
			back()
			r.ended("release")
			r.ended("acquire")
			if !r.leads() {
				r.s.t.Error("the leadership has ended")
			}
		},
		"and the leadership ends": func(r *rig, _ func()) {
			r.s.touch("go")
			r.stepDown(1, 0)
			r.until("the release", func(r Report) bool { return r.Released == 1 && !r.ReleaseFailed })
			if log := r.s.log(); !slices.Contains(log, "release 1 requested") {
				r.s.t.Errorf("want a release with the old hook, got %q", log)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, `[ $DOYEN_REASON = reload ] || exit 0
echo >$D/releasing; while ! [ -e $D/go ]; do sleep 0.01; done; sleep 1000`)
			hook := s.election().Hook
			r := s.start(Start)
			r.lead(1)
			r.ended("acquire")
			configure := func(hook string) {
				next := s.cfg
				next.Elections = []Election{{CheckInterval: -1, Hook: hook}}
				if err := r.Configure(next); err != nil {
					t.Fatal(err)
				}
			}
			configure("")
			s.awaitFile("releasing")
			then(r, func() { configure(hook) })
		})
	}
}

// A release of a hook that was taken away which always fails is given up, and the
// leadership goes on without the hook.
func TestHookThatIsTakenAwayFails(t *testing.T) {
	s := newStage(t, "[ $DOYEN_REASON != reload ]")
	log, err := os.Create(s.path("said"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := s.start(Start)
	r.lead(1)
	r.ended("acquire")
	next := s.cfg
	next.Elections = []Election{{CheckInterval: -1, HookTimeout: 300 * ms}}
	if err := r.Configure(next); err != nil {
		t.Fatal(err)
	}
	if rep := r.ended("release"); rep.Exit == 0 {
		t.Errorf("want a failure, got %+v", rep)
	}
	const given = "the hook was taken away, and its release has failed to the limit of 300ms"
	for end := time.Now().Add(limit); !strings.Contains(s.read("said"), given); {
		select {
		case <-r.Reports(): // of the tries: a note waits until they are read
		case <-time.After(ms):
		}
		if time.Now().After(end) {
			t.Fatalf("the log does not say that the release is given up, but %q", s.read("said"))
		}
	}
	if !r.leads() {
		t.Error("the leadership has ended")
	}
	r.stepDown(1, 0)
	r.until("the release", func(r Report) bool { return r.Released == 1 })
	if log := s.log(); slices.Contains(log, "release 1 requested") {
		t.Errorf("the hook is run although it has been given up: %q", log)
	}
}
