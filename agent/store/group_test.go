package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testGroup is a group of stores in one process: the test elects.
type testGroup struct {
	t      *testing.T
	voters []string
	stores map[string]*Store
	dir    string

	mu    sync.Mutex
	serve map[string]func(Stream)
	cut   map[string]bool // members that nothing reaches
	open  map[*testStream]bool
	said  bytes.Buffer // by all, to their logs

	leader atomic.Pointer[string]
	term   atomic.Uint64
}

func newTestGroup(t *testing.T, voters ...string) *testGroup {
	g := &testGroup{
		t: t, voters: voters, stores: map[string]*Store{}, dir: t.TempDir(), serve: map[string]func(Stream){},
		cut: map[string]bool{}, open: map[*testStream]bool{},
	}
	g.leader.Store(new(""))
	for _, v := range voters {
		g.start(v)
	}
	t.Cleanup(func() {
		for _, v := range voters {
			g.stop(v)
		}
	})
	return g
}

// path is the file of a member.
func (g *testGroup) path(name string) string { return filepath.Join(g.dir, name) }

func (g *testGroup) start(name string) *Store {
	g.t.Helper()
	leads := func() uint64 {
		if *g.leader.Load() == name {
			return g.term.Load()
		}
		return 0
	}
	s, err := Open(Config{
		Path: g.path(name), Voter: name, Voters: g.voters, Self: name, Member: func(v string) string { return v },
		Leads: leads, Leader: func() string { return *g.leader.Load() }, Network: testNetwork{g, name}, Ready: func() {},
		Log: slog.New(slog.NewTextHandler(said{g}, nil)),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.stores[name] = s
	return s
}

func (g *testGroup) stop(name string) {
	if s := g.stores[name]; s != nil {
		g.isolate(name, true)
		if err := s.Close(); err != nil {
			g.t.Error(err)
		}
		g.isolate(name, false)
		g.stores[name] = nil
	}
}

// elect makes a member the doyen, or none.
func (g *testGroup) elect(name string) {
	g.leader.Store(new(""))
	g.term.Add(1)
	g.leader.Store(&name)
	for _, s := range g.stores {
		if s != nil {
			s.Poke()
		}
	}
}

// isolate cuts a member off, or no longer.
func (g *testGroup) isolate(name string, off bool) {
	g.mu.Lock()
	g.cut[name] = off
	var broken []*testStream
	for s := range g.open {
		if off && (s.from == name || s.to == name) {
			broken = append(broken, s)
		}
	}
	g.mu.Unlock()
	for _, s := range broken {
		s.Close()
	}
}

// eventually waits for something.
func (g *testGroup) eventually(what string, f func() error) {
	g.t.Helper()
	err := f()
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); err = f() {
		time.Sleep(2 * time.Millisecond)
	}
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
}

// serves waits until the doyen orders changes.
func (g *testGroup) serves(name string) *Store {
	g.t.Helper()
	s := g.stores[name]
	g.eventually(name+" is to order changes", func() error {
		if !s.Serves(g.term.Load()) {
			return fmt.Errorf("%+v", s.State())
		}
		return nil
	})
	return s
}

// put changes a key until that is acknowledged.
func (g *testGroup) put(s *Store, key, value string) {
	g.t.Helper()
	g.eventually("put "+key, func() error {
		_, err := s.Do(g.t.Context(), Command{Op: OpPut, Key: key, Value: []byte(value)})
		return err
	})
}

// has waits until a member's own copy has a value.
func (g *testGroup) has(name, key, value string) {
	g.t.Helper()
	g.eventually(name+" is to have "+key, func() error {
		if v, err := g.stores[name].GetLocal(key); err != nil || string(v.Data) != value {
			return fmt.Errorf("%q, %v", v.Data, err)
		}
		return nil
	})
}

// said is what the stores write their logs to.
type said struct{ g *testGroup }

func (w said) Write(b []byte) (int, error) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	return w.g.said.Write(b)
}

// testNetwork is the network as one member sees it.
type testNetwork struct {
	g    *testGroup
	name string
}

var errCut = errors.New("cut off")

func (n testNetwork) Open(_ context.Context, member string) (Stream, error) {
	g := n.g
	g.mu.Lock()
	defer g.mu.Unlock()
	serve := g.serve[member]
	if serve == nil || g.cut[n.name] || g.cut[member] {
		return nil, errCut
	}
	there, back, over := make(chan []byte, 64), make(chan []byte, 64), make(chan struct{})
	near := &testStream{g: g, from: n.name, to: member, in: back, out: there, over: over, end: new(sync.Once)}
	far := &testStream{g: g, from: member, to: n.name, in: there, out: back, over: over, end: near.end}
	g.open[near] = true
	go func() {
		serve(far)
		far.Close()
	}()
	return near, nil
}

func (n testNetwork) Serve(serve func(Stream)) {
	n.g.mu.Lock()
	n.g.serve[n.name] = serve
	n.g.mu.Unlock()
}

type testStream struct {
	g        *testGroup
	from, to string
	in, out  chan []byte
	over     chan struct{}
	end      *sync.Once
}

func (s *testStream) Send(messages ...[]byte) error {
	for _, b := range messages {
		select {
		case <-s.over:
			return errCut
		case s.out <- bytes.Clone(b):
		}
	}
	return nil
}

func (s *testStream) Receive() ([]byte, error) {
	select {
	case <-s.over:
		return nil, errCut
	case b := <-s.in:
		return b, nil
	}
}

func (s *testStream) SetWriteDeadline(time.Time) error { return nil }

func (s *testStream) Close() error {
	s.end.Do(func() { close(s.over) })
	s.g.mu.Lock()
	delete(s.g.open, s)
	s.g.mu.Unlock()
	return nil
}

// TestDoyenIsBroughtUp elects the one voter that lacks the newest change, with the last
// leader dead: the third voter, which may be a witness, has it, and brings it up.
func TestDoyenIsBroughtUp(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	a := g.serves("a")
	g.put(a, "k", "1")
	g.has("b", "k", "1")
	g.isolate("b", true)
	g.put(a, "k", "2")
	g.has("c", "k", "2")
	g.stop("a")
	g.isolate("b", false)
	g.elect("b")
	b := g.serves("b")
	if v, err := b.Get(t.Context(), "k"); err != nil || string(v.Data) != "2" {
		t.Errorf("got %q, %v; want 2, which was acknowledged", v.Data, err)
	}
	g.put(b, "k", "3")
	g.has("c", "k", "3")
	if g.stores["c"].State().Serving {
		t.Error("the voter that brought the doyen up orders changes itself")
	}
}

// TestCallsLeaveALeaderThatIsGone: a call that waits for a leader which says nothing, as
// a frozen one, goes to the next as soon as that is known.
func TestCallsLeaveALeaderThatIsGone(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	g.put(g.serves("a"), "k", "")
	g.mu.Lock()
	g.serve["a"] = func(s Stream) { // a is frozen
		for {
			if _, err := s.Receive(); err != nil {
				return
			}
		}
	}
	g.mu.Unlock()
	g.isolate("a", true)
	g.isolate("a", false)
	done := make(chan error, 1)
	go func() {
		_, err := g.stores["c"].Do(t.Context(), Command{Op: OpAppend, Key: "k", Value: []byte("x"), Request: "r"})
		done <- err
	}()
	time.Sleep(2 * leaderLook)
	g.elect("b")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if v, err := g.stores["b"].Get(t.Context(), "k"); err != nil || string(v.Data) != "x" {
		t.Errorf("got %q, %v; want x once", v.Data, err)
	}
}

// TestChangeThatMayHaveBeenDoneIsNotDenied: the leader goes with a change that it has
// got, and no other comes. It may be done yet.
func TestChangeThatMayHaveBeenDoneIsNotDenied(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	g.put(g.serves("a"), "k", "")
	g.mu.Lock()
	serve := g.serve["a"]
	g.serve["a"] = func(s Stream) {
		if b, err := s.Receive(); err != nil || b[0] == callMessage {
			g.leader.Store(new(""))
			return
		}
		serve(s)
	}
	g.mu.Unlock()
	_, err := g.stores["c"].Do(t.Context(), Command{Op: OpAppend, Key: "k", Value: []byte("x"), Request: "r"})
	if KindOf(err) != Unknown || !strings.Contains(err.Error(), "may or may not have been done") {
		t.Errorf("got %v; want to be told that it may have been done", err)
	} else if strings.Contains(err.Error(), "nothing was done") {
		t.Errorf("it contradicts itself: %v", err)
	}
}

// TestReadsNeedTheLease: a member whose lease is over reads nothing for others, even
// before its store has noticed.
func TestReadsNeedTheLease(t *testing.T) {
	g := newTestGroup(t, "a")
	for range 20 {
		g.elect("a")
		a := g.serves("a")
		g.put(a, "k", "1")
		if v, err := a.Get(t.Context(), "k"); err != nil || string(v.Data) != "1" {
			t.Fatalf("the doyen reads %q, %v", v.Data, err)
		}
		g.leader.Store(new("b")) // another leads, and a has not been told
		if _, err := a.answer(t.Context(), callGet, []byte("k")); KindOf(err) != Unavailable {
			t.Fatalf("a member without the lease reads: %v", err)
		}
	}
}

// TestAWipedVoterCatchesUpBeforeItVotes takes the disk of a voter away: its old id is
// taken out, it comes back under a new one without a vote, and gets that last.
func TestAWipedVoterCatchesUpBeforeItVotes(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	a := g.serves("a")
	for i := range 20 {
		g.put(a, "k", fmt.Sprint(i))
	}
	g.stop("c")
	if err := os.Remove(g.path("c")); err != nil {
		t.Fatal(err)
	}
	g.isolate("b", true)
	g.start("c")
	ctx, cancel := context.WithTimeout(t.Context(), 3*statusEvery)
	defer cancel()
	if _, err := a.Do(ctx, Command{Op: OpPut, Key: "k", Value: []byte("lost")}); KindOf(err) != Unknown {
		t.Errorf("a change counts with the vote of a voter that has lost its disk: %v", err)
	}
	g.isolate("b", false)
	g.put(a, "k", "new")
	g.has("c", "k", "new")
	g.eventually("c is to have its vote", func() error {
		if st := g.stores["c"].State(); !st.Votes {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	g.isolate("b", true)
	g.put(a, "k", "newer") // with the vote of c
	var steps []string
	g.mu.Lock()
	defer g.mu.Unlock()
	for line := range strings.Lines(g.said.String()) {
		if _, change, ok := strings.Cut(line, "change="); ok {
			steps = append(steps, strings.Fields(change)[0])
		}
	}
	if want := "[RemoveNode AddLearnerNode AddNode]"; fmt.Sprint(slices.Compact(steps)) != want {
		t.Errorf("want the steps %s, got %v", want, steps)
	}
}

// TestFencesHold: of 100 writers that were paused with the term of a leader that is gone
// each is refused once the next leader's first entry is committed; and the same in
// a further election.
func TestFencesHold(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	for round := range 100 {
		g.elect(g.voters[round%3])
		old := g.term.Load()
		s := g.serves(g.voters[round%3])
		write := func(s *Store, fence uint64, election string) Kind {
			_, err := s.Do(t.Context(), Command{Op: OpPut, Key: "k", Fence: fence, FenceElection: election})
			return KindOf(err)
		}
		if round == 0 {
			g.put(s, "k", "")
		}
		if got := write(s, old, ""); got != 0 {
			t.Fatalf("round %d: the leader's own write: %v", round, got)
		}
		web := uint64(2*round + 1)
		if err := s.Lead(t.Context(), "web", web); err != nil {
			t.Fatal(err)
		}
		if got := write(s, web, "web"); got != 0 {
			t.Fatalf("round %d: the write of the leader of web: %v", round, got)
		}
		g.elect(g.voters[(round+1)%3])
		next := g.serves(g.voters[(round+1)%3])
		if got := write(next, old, ""); got != Fenced {
			t.Fatalf("round %d: a writer with an older term: got %v, want it refused", round, got)
		}
		if err := next.Lead(t.Context(), "web", web+1); err != nil {
			t.Fatal(err)
		}
		if got := write(next, web, "web"); got != Fenced {
			t.Fatalf("round %d: a writer of web with an older term: got %v, want it refused", round, got)
		}
	}
}

// TestTheStoreOutlivesARestartOfAll: nothing that was acknowledged is lost, and a voter
// that was away for long, or lost its disk, catches up while others write.
func TestTheStoreOutlivesARestartOfAll(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	a := g.serves("a")
	g.put(a, "k", "first")
	g.stop("c")
	many := int(2 * usualCompaction.entries)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range many / 64 {
				if _, err := a.Do(t.Context(), Command{Op: OpPut, Key: fmt.Sprint("k", w), Value: fmt.Append(nil, i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	g.start("c")
	g.put(a, "k", "last")
	g.has("c", "k", "last")
	for _, v := range g.voters {
		g.stop(v)
	}
	for _, v := range g.voters {
		g.start(v)
	}
	g.elect("b")
	b := g.serves("b")
	for w := range 64 {
		if v, err := b.Get(t.Context(), fmt.Sprint("k", w)); err != nil || string(v.Data) != fmt.Sprint(many/64-1) {
			t.Fatalf("after a restart of all k%d is %q, %v", w, v.Data, err)
		}
	}
}

// deafStream asks for a key as often as it may, and reads no answer.
type deafStream struct {
	ending
	questions chan []byte
}

func (s *deafStream) Send(...[]byte) error {
	<-s.over
	return errCut
}

func (s *deafStream) Receive() ([]byte, error) {
	select {
	case q := <-s.questions:
		return q, nil
	case <-s.over:
		return nil, errCut
	}
}

// A member that asks, and does not read the answers, keeps no other member from asking.
func TestMemberThatReadsNoAnswers(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	a := g.serves("a")
	g.put(a, "k", strings.Repeat("x", MaxValue))
	deaf := &deafStream{ending: newEnding(), questions: make(chan []byte)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		a.serveStream(deaf)
	}()
	for number := range uint16(2 * maxCalls) {
		question := append(binary.BigEndian.AppendUint16([]byte{callMessage, callGet, 0, 0, 0, 0, 0, 0}, number), "k"...)
		select {
		case deaf.questions <- question:
			continue
		case <-time.After(time.Second): // it takes no more
		}
		break
	}
	if v, err := g.stores["b"].Get(t.Context(), "k"); err != nil || len(v.Data) != MaxValue {
		t.Errorf("got %d bytes, %v", len(v.Data), err)
	}
	g.put(g.stores["c"], "k", "1")
	deaf.Close()
	<-served
}

// A voter that leads raft to bring another up, and is elected before that is done, orders
// changes itself.
func TestLenderThatIsElected(t *testing.T) {
	g := newTestGroup(t, "a", "b", "c")
	g.elect("a")
	g.put(g.serves("a"), "k", "1")
	g.has("c", "k", "1")
	g.stop("c")
	d := openTestDisk(t, g.path("c"))
	group := d.mark.group
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	g.start("c")
	g.put(g.serves("a"), "k", "2")
	g.has("c", "k", "2")
	g.isolate("b", true)
	g.put(g.stores["a"], "k", "3")
	g.has("c", "k", "3")
	g.elect("")
	for id, voter := range g.stores["a"].machine.Load().voters() {
		if voter == "b" {
			body := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, group), id)
			g.stores["c"].inbox <- inboxed{kind: lendMessage, body: body}
		}
	}
	time.Sleep(lendFor / 4) // it leads raft, and waits for b
	g.elect("c")
	g.put(g.serves("c"), "k", "4")
}
