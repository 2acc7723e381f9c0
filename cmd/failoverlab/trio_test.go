//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/agent"
)

var (
	quorumRounds = flag.Int("quorum.rounds", 0, "how often each test of quorum mode does what it does (default: twice with DOYEN_TEST_REQUIRE=1, else not at all)")
	quorumAlone  = flag.Duration("quorum.alone", 4*time.Second, "how long a node is isolated that then comes back")
	quorumStrict = flag.Bool("quorum.strict", false, "check how long things took, too; for a machine that does nothing else")
)

// A trio is three voters, as real processes on three hosts, with a hook that
// notes when it runs. Every host is asked all the time whether it leads.
type trio struct {
	t     *testing.T
	dir   string
	agent string
	env   []string
	// more are arguments that a host's agent gets besides; nil: none.
	more  func(h *host) []string
	every time.Duration // how often a host is asked whether it leads
	net   *network
	dice  *rand.Rand
	http  [hostCount]*http.Client

	mu  sync.Mutex
	yes []proof // the answers of hosts that say that they lead

	deaths  []hookLine // hosts of which no process is left
	read    int64      // where the hook's lines of this round begin
	logs    [hostCount]int64
	bad     bool // something is wrong with this round
	rounds  int
	wrong   int // of the rounds
	killed  int // releases that took too long
	figures map[string][]time.Duration
	order   []string // of the figures
}

// noteHook writes a line when an event begins and one when it ends. It uses
// bash for its clock, which takes no other process.
const noteHook = `#!/bin/bash
note() { echo "${EPOCHREALTIME/[.,]/} $DOYEN_NODE $DOYEN_EVENT $1 $DOYEN_TERM $DOYEN_REASON" >>"${0%/*}/events"; }
note begin
[ "$1" = release ] && [ -n "$RELEASE_TAKES" ] && sleep "$RELEASE_TAKES"
note end
`

// onTrio runs rounds of a test in a sandbox, so that, however it ends, no
// process is left. RELEASE_TAKES in env is how many seconds a release takes.
func onTrio(t *testing.T, round func(l *trio, number int), env ...string) {
	rounds := *quorumRounds
	if rounds == 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") != "1" {
			t.Skip("takes half a minute of real time: -quorum.rounds runs it")
		}
		rounds = 2
	}
	needRoot(t)
	besideOthers(t)
	if !inSandbox() {
		againInSandbox(t, "quorum.")
		return
	}
	l := newTrio(t, env...)
	l.build()
	for number := range rounds {
		l.startRound()
		round(l, number)
		l.checkRound()
	}
}

// newTrio returns a trio in this sandbox; build starts it.
func newTrio(t *testing.T, env ...string) *trio {
	t.Helper()
	if err := prepareSandbox(); err != nil {
		t.Fatal(err)
	}
	l := &trio{t: t, dir: t.TempDir(), agent: theAgent(t), env: env, every: watchEvery, figures: make(map[string][]time.Duration)}
	l.dice = rand.New(rand.NewPCG(uint64(os.Getppid()), uint64(time.Now().UnixNano())))
	t.Cleanup(l.print)
	return l
}

func (l *trio) build() {
	var err error
	if l.net, err = newNetwork(hostCount); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "hook"), []byte(noteHook), 0o700); err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var polls sync.WaitGroup
	for i, h := range l.net.hosts {
		l.http[i] = clientOn(h)
		l.start(h)
		polls.Go(func() { l.poll(ctx, h) })
	}
	l.t.Cleanup(func() {
		stop()
		l.net.close()
		polls.Wait()
	})
}

func nameOf(h *host) string { return netip.AddrPortFrom(h.ip, agentPort).String() }

func (l *trio) start(h *host) {
	l.t.Helper()
	var seeds []string
	for _, p := range l.net.hosts {
		seeds = append(seeds, nameOf(p))
	}
	log, err := os.OpenFile(l.logName(h), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	args := []string{"--bind-port", fmt.Sprint(agentPort), "--advertise-addr", nameOf(h), "--seeds", strings.Join(seeds, ","),
		"--voters", "seeds", "--hook", filepath.Join(l.dir, "hook"), "--log-level", "debug"}
	if l.more != nil {
		args = append(args, l.more(h)...)
	}
	cmd := exec.Command(l.agent, args...)
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.start(cmd); err != nil {
		l.t.Fatal(err)
	}
}

// notes is the file that the hook writes.
func (l *trio) notes() string { return filepath.Join(l.dir, "events") }

func (l *trio) logName(h *host) string { return filepath.Join(l.dir, h.name+".log") }

// get asks a host; it reports whether it answered with one of the wanted codes.
func (l *trio) get(h *host, path string, into any, want ...int) error {
	return ask(l.http[h.index], http.MethodGet, onLoopback(agentPort), path, into, want...)
}

// poll asks one host all the time whether it leads.
func (l *trio) poll(ctx context.Context, h *host) {
	for sleep(ctx, l.every) == nil {
		sent := now()
		if l.get(h, "/is-leader", nil, http.StatusOK) == nil {
			l.mu.Lock()
			l.yes = append(l.yes, proof{h.index, sent, now()})
			l.mu.Unlock()
		}
	}
}

// said returns the answers of hosts that said they lead, of this round so far.
func (l *trio) said() []proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.yes)
}

// eventually waits until what returns no error; it ends the test with the last
// error if that takes longer than any machine needs.
func (l *trio) eventually(what string, f func() error) {
	l.t.Helper()
	const patience = 90 * time.Second
	var err error
	for end := now() + patience; now() < end; time.Sleep(2 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	l.show()
	l.t.Fatalf("not within %v: %s: %v", patience, what, err)
}

// settled waits until all agree on a leader, that one's acquire has ended, and
// a failover would work. It returns the leader and its term.
func (l *trio) settled() (leader *host, term uint64) {
	l.t.Helper()
	l.eventually("all three settle under one leader", func() error {
		time.Sleep(20 * time.Millisecond) // asking costs time that the agents need
		var states [hostCount]agent.State
		for i, h := range l.net.hosts {
			if err := errors.Join(l.get(h, "/state", &states[i], http.StatusOK), l.get(h, "/ready", nil, http.StatusOK)); err != nil {
				return err
			}
			s := &states[i]
			if s.Leader == nil || s.Electing || !s.Eligible && s.Role != witness || len(s.Members) != hostCount || s.KeeperPID == nil ||
				*s.Leader != *states[0].Leader || s.Term != states[0].Term {
				return fmt.Errorf("%s says %+v", h.name, *s)
			}
			if s.IsLeader {
				leader, term = h, s.Term
			}
		}
		if leader == nil || nameOf(leader) != *states[0].Leader {
			return errors.New("the leader does not say that it leads")
		}
		// A leader that takes a higher term checks what it holds.
		notes, held := l.tail(l.notes(), 0), func(event string) string { return fmt.Sprintf(" %s %s end %d ", nameOf(leader), event, term) }
		if !strings.Contains(notes, held("acquire")) && !strings.Contains(notes, held("check")) {
			return errors.New("the leader's acquire has not ended")
		}
		return nil
	})
	return leader, term
}

// others are the hosts but the given ones.
func (l *trio) others(but ...*host) (list []*host) {
	for _, h := range l.net.hosts {
		if !slices.Contains(but, h) {
			list = append(list, h)
		}
	}
	return list
}

// die kills every process on a host at one instant.
func (l *trio) die(h *host) {
	h.kill()
	l.deaths = append(l.deaths, hookLine{at: now(), node: nameOf(h), event: "death"})
}
