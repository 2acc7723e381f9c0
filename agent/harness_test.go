package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/keeper"
	"doyen/gossip/simnet"
	"doyen/seniority"
)

// fakeExecutor is a keeper whose hook takes as long as the test says, in virtual
// time, and which writes down what it was told to do.
type fakeExecutor struct {
	deadline *keeper.Deadline
	ahead    atomic.Int64 // of the deadline's clock
	now      func() seniority.Now
	reports  chan keeper.Report
	takes    time.Duration

	mu    sync.Mutex
	order keeper.Order
	did   []string
	fails bool // acquire fails
	// Of the further elections.
	deadlines map[string]*keeper.Deadline
	orders    map[string]keeper.Order
	// What Configure was told last.
	configured []keeper.Election
}

func newFakeExecutor(now func() seniority.Now) *fakeExecutor {
	h := &fakeExecutor{
		reports: make(chan keeper.Report, 1000), now: now,
		deadlines: map[string]*keeper.Deadline{}, orders: map[string]keeper.Order{},
	}
	h.deadline = keeper.NewDeadline(func() time.Duration { return now().Boot + time.Duration(h.ahead.Load()) })
	h.reports <- keeper.Report{StartupDone: true}
	return h
}

func (h *fakeExecutor) Order(o keeper.Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.Election != GroupElection {
		if was := h.orders[o.Election]; o.ReleaseTerm != 0 && o.ReleaseTerm != was.ReleaseTerm {
			time.AfterFunc(h.takes, func() { h.reports <- keeper.Report{Election: o.Election, Released: o.ReleaseTerm} })
		}
		h.orders[o.Election] = o
		return
	}
	was := h.order
	h.order = o
	switch {
	case o.ReleaseTerm != 0 && o.ReleaseTerm != was.ReleaseTerm:
		h.did = append(h.did, "release")
		time.AfterFunc(h.takes, func() {
			h.reports <- keeper.Report{Event: "release", Term: o.ReleaseTerm, Duration: h.takes, Released: o.ReleaseTerm}
		})
	case o.Lead && !was.Lead && h.fails:
		go h.failAgain(1)
	case o.Lead && !was.Lead:
		h.did = append(h.did, "acquire")
		h.reports <- keeper.Report{Event: "acquire", Term: o.Term, Duration: 7 * time.Millisecond, Held: true}
	}
}

// failAgain has acquire fail for the n-th time in a row, and again and again, as a keeper
// does, while it is told to lead.
func (h *fakeExecutor) failAgain(n int) {
	h.mu.Lock()
	o := h.order
	h.mu.Unlock()
	if o.Lead {
		h.reports <- keeper.Report{Event: "acquire", Term: o.Term, Exit: 1, AcquireFailures: n}
		time.AfterFunc(10*time.Millisecond, func() { h.failAgain(n + 1) })
	}
}

func (h *fakeExecutor) Reports() <-chan keeper.Report { return h.reports }

// Configure has every new election released at start, as a keeper does.
func (h *fakeExecutor) Configure(c keeper.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := map[string]bool{}
	for _, e := range c.Elections {
		there[e.Name] = true
	}
	h.configured = c.Elections
	for name := range h.deadlines {
		if !there[name] {
			delete(h.deadlines, name)
			delete(h.orders, name)
		}
	}
	return nil
}

func (h *fakeExecutor) PID() int                    { return 42 }
func (h *fakeExecutor) Close(context.Context) error { return nil }

func (h *fakeExecutor) Deadline(election string) *keeper.Deadline {
	if election == GroupElection {
		return h.deadline
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deadlines[election] == nil {
		h.deadlines[election] = keeper.NewDeadline(func() time.Duration { return h.now().Boot })
		h.reports <- keeper.Report{Election: election, StartupDone: true}
	}
	return h.deadlines[election]
}

// wanted is the newest order.
func (h *fakeExecutor) wanted() keeper.Order {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.order
}

func (h *fakeExecutor) done() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.did)
}

// member is one agent of a test group.
type member struct {
	*Agent
	t        *testing.T
	executor *fakeExecutor
	host     *simnet.Host
	leave    context.CancelFunc
	ended    chan error
}

// cutInTwo parts the members into those before n and the rest.
func (g *group) cutInTwo(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.side = map[netip.AddrPort]bool{}
	for _, m := range g.members[n:] {
		g.side[m.host.Addr()] = true
	}
}

// heal undoes cutInTwo.
func (g *group) heal() { g.cutInTwo(len(g.members)) }

// crash ends the member without a word: nothing it sends arrives any more. Its
// goroutines end later, when the test does.
func (g *group) crash(m *member) {
	g.mu.Lock()
	g.dead[m.host.Addr()] = true
	g.mu.Unlock()
}

// group is some agents on one simulated network, in a synctest bubble.
type group struct {
	t       *testing.T
	net     simnet.Network
	epoch   time.Time
	back    atomic.Int64 // by how many nanoseconds the wall clock has been set back
	members []*member
	mu      sync.Mutex
	dead    map[netip.AddrPort]bool
	side    map[netip.AddrPort]bool
}

// bubble runs a test in virtual time, on one processor: two timers of a bubble that run at
// once break the race detector of Go 1.26 (golang.org/issue/78156).
func bubble(t *testing.T, f func(t *testing.T)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}

// inGroup runs a test in a bubble, and checks that every agent still there
// ends as it should and leaves nothing behind: a bubble waits for all its
// goroutines.
func inGroup(t *testing.T, f func(t *testing.T, g *group)) {
	bubble(t, func(t *testing.T) {
		g := &group{t: t, epoch: time.Now(), dead: map[netip.AddrPort]bool{}}
		g.net.Cut(func(from, to netip.AddrPort) bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.dead[from] || g.dead[to] || g.side[from] != g.side[to]
		})
		f(t, g)
		for _, m := range g.members {
			m.leave()
		}
		for _, m := range g.members {
			<-m.ended
		}
		time.Sleep(time.Minute) // for the probes that memberlist has under way
	})
}

// now is the virtual time as both clocks of a host show it.
func (g *group) now() seniority.Now {
	return seniority.Now{Boot: time.Since(g.epoch) + time.Hour, Wall: time.Now().Add(-time.Duration(g.back.Load())).UnixMilli()}
}

// add starts a member; the name is m0, m1, … by default.
func (g *group) add(change func(*Config, *fakeExecutor)) *member {
	g.t.Helper()
	host := g.net.Host()
	h := newFakeExecutor(g.now)
	c := Config{
		Name: fmt.Sprintf("m%d", len(g.members)), Seeds: []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if testing.Verbose() {
		c.Logger = slog.New(slog.NewTextHandler(g.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", c.Name)
	}
	// The record is of a last run that had the timing of the profile lan.
	c.seams = seams{now: g.now, transport: host, resolver: literals{}, keeper: func(*Agent) (executor, error) { return h, nil }, leases: &leaseRecord{kept: time.Second}}
	if change != nil {
		change(&c, h)
	}
	a, err := New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Agent: a, t: g.t, executor: h, host: host, leave: cancel, ended: make(chan error, 1)}
	g.members = append(g.members, m)
	go func() {
		m.ended <- a.Run(ctx)
		close(m.ended)
	}()
	return m
}

// three starts three members, a millisecond apart, and waits until they agree and
// each knows the others: one may follow a leader that does not know it yet.
func (g *group) three(change func(*Config, *fakeExecutor)) (a, b, c *member) {
	g.t.Helper()
	for range 3 {
		g.add(change)
		time.Sleep(time.Millisecond)
	}
	a, b, c = g.members[0], g.members[1], g.members[2]
	g.await(5*time.Second, "m0 leads, and all know each other", func() bool {
		return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.follows("m0") || len(m.State().Members) != 3 })
	})
	return a, b, c
}

// await waits, in virtual time, until something holds, and says how long.
func (g *group) await(limit time.Duration, what string, ok func() bool) time.Duration {
	g.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			for _, m := range g.members[:min(len(g.members), 5)] {
				text, _ := json.Marshal(m.State())
				g.t.Logf("%s", text)
			}
			g.t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

// follows reports whether the member believes that name leads; "": none does.
func (m *member) follows(name string) bool {
	l, _ := m.Leader()
	return l.Leader == name
}
