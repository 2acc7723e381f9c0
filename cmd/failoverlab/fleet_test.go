//go:build linux

package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

var (
	hostRounds = flag.Int("hosts.rounds", 0, "how often each test of hosts does what it does (default: once with DOYEN_TEST_REQUIRE=1, in a short form, else not at all)")
	hostStrict = flag.Bool("hosts.strict", false, "check times by what is promised, and not by what a busy machine needs; for a machine that does nothing else")
	hostLogs   = flag.String("hosts.logs", "", "directory to keep the agents' logs in")
)

// A fleet is agents that hold the floating address on hosts of a network, with
// clients and a watcher outside. Agents find out their own address, and know
// each other by addresses alone, as the README's first example does it.
type fleet struct {
	t      *testing.T
	shape  shape
	dir    string
	agent  string
	net    *network
	record *record
	http   []*http.Client
	ports  []int    // of the agents
	names  []string // "" for the name that an agent finds by itself
	dice   *rand.Rand
	short  bool
	bad    bool
	totals map[string][]time.Duration
	order  []string // of the totals
}

// shape says what a fleet is like.
type shape struct {
	hosts  int // 0: three
	quorum bool
	rule   string
	// witness is the number of a host that never leads; the first is 1.
	witness int
	// back: the agents talk over a second interface; the address is on the first.
	back bool
	// float is the floating address; the lab's own where it is empty.
	float string
}

// mode is the word for the electorate.
func mode(quorum bool) string {
	if quorum {
		return "quorum"
	}
	return "available"
}

// besideOthers lets a test run beside others: most of the time they wait.
func besideOthers(t *testing.T) {
	if !inSandbox() {
		t.Parallel()
	}
}

// onFleet runs rounds of a test on a fleet in a sandbox, beside those of others.
func onFleet(t *testing.T, s shape, round func(f *fleet, number int)) {
	rounds := *hostRounds
	if rounds == 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") != "1" {
			t.Skip("takes some of real time: -hosts.rounds runs it")
		}
		rounds = 1
	}
	needRoot(t)
	besideOthers(t)
	if !inSandbox() {
		againInSandbox(t, "hosts.")
		return
	}
	if err := prepareSandbox(); err != nil {
		t.Fatal(err)
	}
	// Nothing here is measured to the millisecond, so garbage can be collected.
	debug.SetGCPercent(100)
	s.hosts = cmp.Or(s.hosts, hostCount)
	s.float = cmp.Or(s.float, fmt.Sprintf("%s/%d", floatIP, floatLen))
	f := &fleet{t: t, shape: s, dir: t.TempDir(), agent: theAgent(t), short: *hostRounds == 0, totals: make(map[string][]time.Duration)}
	seed := uint64(time.Now().UnixNano())
	f.dice = rand.New(rand.NewPCG(seed, 0))
	if *hostLogs != "" {
		f.dir = filepath.Join(*hostLogs, strings.ReplaceAll(t.Name(), "/", "-"))
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(f.print)
	f.build()
	bad := 0
	for number := range rounds {
		f.bad = false
		round(f, number)
		bad += boolToInt(f.bad)
		f.record.forget(now())
	}
	t.Logf("seed %d: %d of %d rounds in order", seed, rounds-bad, rounds)
}

const gentlePace = 20 * time.Millisecond

func (f *fleet) build() {
	var err error
	if f.net, err = newNetwork(f.shape.hosts); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.net.close)
	if f.shape.back {
		if err := f.net.backNetwork(); err != nil {
			f.t.Fatal(err)
		}
	}
	f.record = newRecord(gentlePace)
	eyes, err := observe(f.net, f.record, true)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.record.close)
	f.t.Cleanup(eyes.stop)
	f.ports, f.names = make([]int, f.shape.hosts), make([]string, f.shape.hosts)
	for i, h := range f.net.hosts {
		f.http = append(f.http, clientOn(h))
		f.ports[i] = agentPort
		f.start(h)
	}
}

// address is where an agent is reached by the others.
func (f *fleet) address(h *host) string {
	if f.shape.back {
		return fmt.Sprintf("10.78.0.%d", h.index+1)
	}
	return h.ip.String()
}

// name is what an agent is called.
func (f *fleet) name(h *host) string {
	return cmp.Or(f.names[h.index], fmt.Sprintf("%s:%d", f.address(h), f.ports[h.index]))
}

func (f *fleet) start(h *host) {
	f.t.Helper()
	var seeds []string
	for _, p := range f.net.hosts {
		seed := f.address(p)
		if f.ports[h.index] != agentPort {
			seed = fmt.Sprintf("%s:%d", seed, agentPort) // without a port it would be this agent's
		}
		seeds = append(seeds, seed)
	}
	args := []string{"--bind-port", fmt.Sprint(f.ports[h.index]), "--seeds", strings.Join(seeds, ","), "--cluster", "lab",
		"--floating-ip", f.shape.float + "@eth0", "--log-level", "debug"}
	if f.shape.quorum {
		args = append(args, "--voters", "seeds")
	}
	if name := f.names[h.index]; name != "" {
		args = append(args, "--name", name)
	}
	if f.shape.rule == "bully" {
		args = append(args, "--rule", "bully", "--id", fmt.Sprint(h.index+1))
	}
	if f.shape.witness == h.index+1 {
		args = append(args, "--role", "witness")
	}
	log, err := os.OpenFile(f.logName(h), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(f.agent, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.start(cmd); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) logName(h *host) string { return filepath.Join(f.dir, h.name+".log") }

// get asks an agent.
func (f *fleet) get(h *host, path string, into any, want ...int) error {
	if err := ask(f.http[h.index], http.MethodGet, onLoopback(f.ports[h.index]), path, into, want...); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	return nil
}

func (f *fleet) state(h *host) (s agent.State, err error) {
	err = f.get(h, "/state", &s, http.StatusOK)
	return s, err
}

// post asks an agent for something.
func (f *fleet) post(h *host, path string) error {
	return ask(f.http[h.index], http.MethodPost, onLoopback(f.ports[h.index]), path, nil, http.StatusOK)
}

// handOverTo has a host lead: another that leads stands aside until it does.
func (f *fleet) handOverTo(h *host) bool {
	f.t.Helper()
	f.settled()
	time.Sleep(time.Second) // a leader must have heard a newcomer before it can give way to it
	done := f.eventually(h.name+" leads", settleTime, func() error {
		for _, p := range f.others(h) {
			f.post(p, "/step-down") // 409 where it does not lead
		}
		time.Sleep(200 * time.Millisecond)
		return f.get(h, "/is-leader", nil, http.StatusOK)
	})
	for _, p := range f.net.hosts {
		f.must(f.post(p, "/resume"))
	}
	return done
}

// must ends the test where the lab itself fails.
func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
