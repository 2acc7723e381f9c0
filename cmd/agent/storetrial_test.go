//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doyen/agent/store"
	"doyen/cmd/internal/testrun"
	"doyen/seniority"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"
)

var (
	flagRounds = flag.Int("store.rounds", 0, "how often the trial of the store strikes the leader with each fault; 0: not")
	flagFault  = flag.String("store.fault", "", "the only fault of that trial; \"\": all")
	flagAbsent = flag.Int("store.absent", 0, "how many writes a voter of the store misses in the trial of one that was away; 0: not")
	flagChaos  = flag.Duration("store.chaos", 0, "how long the trial of the store lets random faults strike five voters; 0: not")
)

// trialWriters is how many clients write at once, and trialKeys to how many keys.
const trialWriters, trialKeys = 64, 8

// fault is something that befalls a host, and its end.
type fault struct {
	name          string
	strike, amend func(h *host)
}

// faults are all of them.
var faults = []fault{
	{"agent killed", (*host).killAgent, (*host).restart},
	{"agent and keeper killed", (*host).killBoth, (*host).restart},
	{"host dead", (*host).die, func(h *host) { h.isolate(false); h.restart() }},
	{"host frozen", func(h *host) { h.signalBoth(syscall.SIGSTOP) }, func(h *host) { h.signalBoth(syscall.SIGCONT) }},
	{"host cut off", func(h *host) { h.isolate(true) }, func(h *host) { h.isolate(false) }},
}

func (h *host) killAgent() { h.signal(syscall.SIGKILL) }

func (h *host) restart() {
	<-h.done
	h.start()
}

// signalBoth signals the agent and its keeper.
func (h *host) signalBoth(s syscall.Signal) {
	for _, pid := range h.pids() {
		syscall.Kill(pid, s)
	}
}

// trial is a group of hosts whose voters keep a store, and clients on all of them.
type trial struct {
	*lan
	clients []*http.Client
	began   time.Time
	acks    atomic.Int64 // when the last write was acknowledged, since began
	wrote   atomic.Int64 // how many were

	mu      sync.Mutex
	history map[string][]porcupine.Operation // by key
	gap     time.Duration                    // the longest without an acknowledged write
	stalls  []stall
}

// stall is a time in which the machine stood still.
type stall struct {
	from time.Time
	late time.Duration
}

func newTrial(t *testing.T, count int) *trial {
	tr := &trial{lan: newLAN(t, count), began: time.Now(), history: map[string][]porcupine.Operation{}}
	var names []string
	for _, h := range tr.hosts {
		names = append(names, h.name)
	}
	all := strings.Join(names, ",")
	for i, h := range tr.hosts {
		h.args = []string{
			"--bind-addr", "0.0.0.0", "--advertise-addr", h.name, "--seeds", all, "--voters", "seeds", "--store", "on",
			"--state-dir", filepath.Join(tr.dir, "state"+strconv.Itoa(i)),
		}
		h.env = []string{"RUNTIME_DIRECTORY=" + filepath.Join(tr.dir, "run"+strconv.Itoa(i))}
		if err := os.MkdirAll(filepath.Join(tr.dir, "run"+strconv.Itoa(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DialContext: dialWithin(h.ns), MaxIdleConnsPerHost: trialWriters}
		t.Cleanup(transport.CloseIdleConnections)
		tr.clients = append(tr.clients, &http.Client{Transport: transport, Timeout: 4 * time.Second})
		h.start()
	}
	go func() { // without the right to real time, none is seen
		_ = testrun.WatchStalls(t.Context(), 50*time.Millisecond, func(from time.Time, late time.Duration) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.stalls = append(tr.stalls, stall{from, late})
		})
	}()
	return tr
}

// dialWithin dials from inside a network namespace.
func dialWithin(ns string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return nil, err
		}
		defer home.Close()
		there, err := os.Open("/var/run/netns/" + ns)
		if err != nil {
			return nil, err
		}
		defer there.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			return nil, back // the thread is lost with its goroutine
		}
		runtime.UnlockOSThread()
		return conn, err
	}
}

// call makes one call to a host and returns its status, the body and the version.
func (tr *trial) call(i int, method, key, body, request string, head ...string) (status int, text string, version uint64) {
	req, err := http.NewRequest(method, "http://127.0.0.1:4000/store/"+key, strings.NewReader(body))
	if err != nil {
		return 0, err.Error(), 0
	}
	if request != "" {
		req.Header.Set("Doyen-Request", request)
	}
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := tr.clients[i].Do(req)
	if err != nil {
		return 0, err.Error(), 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), 0
	}
	if method == http.MethodGet {
		version, _ = strconv.ParseUint(strings.Trim(resp.Header.Get("ETag"), `"`), 10, 64)
		return resp.StatusCode, string(b), version
	}
	_, rest, _ := strings.Cut(string(b), `"version":`)
	rest = strings.TrimLeft(rest, " ")
	version, _ = strconv.ParseUint(rest[:max(0, strings.IndexFunc(rest+"}", func(r rune) bool { return r < '0' || r > '9' }))], 10, 64)
	return resp.StatusCode, string(b), version
}

// The history of a key is that of its version: a write raises it to the one that it
// returns, and a read returns the newest.
type trialInput struct{ read bool }

var versions = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		was, is := state.(uint64), output.(uint64)
		if input.(trialInput).read {
			return was == is, was
		}
		return is > was, is
	},
}

// note adds an operation to the history of a key.
func (tr *trial) note(client int, key string, read bool, called time.Duration, version uint64) {
	returned := time.Since(tr.began)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.history[key] = append(tr.history[key], porcupine.Operation{
		ClientId: client, Input: trialInput{read}, Call: int64(called), Output: version, Return: int64(returned),
	})
	if !read {
		tr.wrote.Add(1)
		tr.gap = max(tr.gap, returned-time.Duration(tr.acks.Swap(int64(returned))))
	}
}

// write appends a line to a key until that is acknowledged, at one host after another.
func (tr *trial) write(client int, key, line string) {
	for called, i := time.Since(tr.began), client; ; i++ {
		status, text, version := tr.call(i%len(tr.hosts), http.MethodPost, key, line+"\n", line)
		switch status {
		case http.StatusOK:
			tr.note(client, key, false, called, version)
			return
		case 0, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			time.Sleep(5 * time.Millisecond) // the host may be dead
		default:
			tr.t.Errorf("appending %s: %d %s", line, status, text)
			return
		}
	}
}

// load has clients write and read keys until stop, and returns what was acknowledged.
func (tr *trial) load(prefix string, stop <-chan struct{}) (wait func() map[string][]string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := map[string][]string{}
	for k := range trialKeys {
		key := fmt.Sprintf("%s-%d", prefix, k)
		host := k
		poll(func() bool {
			called := time.Since(tr.began)
			host++ // the last one may be dead
			status, _, version := tr.call(host%len(tr.hosts), http.MethodPut, key, "", "make "+key)
			if status == http.StatusOK {
				tr.note(trialWriters, key, false, called, version)
			}
			return status == http.StatusOK
		})
	}
	over := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	for w := range trialWriters {
		key := fmt.Sprintf("%s-%d", prefix, w%trialKeys)
		wg.Go(func() {
			for i := 0; !over(); i++ {
				line := fmt.Sprintf("%s.%d.%d", prefix, w, i)
				tr.write(w, key, line)
				mu.Lock()
				acked[key] = append(acked[key], line)
				mu.Unlock()
			}
		})
	}
	for k := range trialKeys {
		key := fmt.Sprintf("%s-%d", prefix, k)
		wg.Go(func() {
			for i := k; !over(); i++ {
				called := time.Since(tr.began)
				if status, _, version := tr.call(i%len(tr.hosts), http.MethodGet, key, "", ""); status == http.StatusOK {
					tr.note(trialWriters+1+k, key, true, called, version)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return func() map[string][]string { wg.Wait(); return acked }
}

// judge holds what clients saw of some keys against what is there now.
func (tr *trial) judge(what string, acked map[string][]string) (writes int) {
	tr.t.Helper()
	for key, lines := range acked {
		var text string
		tr.eventually(func() error {
			status, body, _ := tr.call(0, http.MethodGet, key, "", "")
			if text = body; status != http.StatusOK {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
		count := map[string]int{}
		for line := range strings.Lines(text) {
			count[strings.TrimSuffix(line, "\n")]++
		}
		for _, line := range lines {
			if count[line] != 1 {
				tr.t.Errorf("%s: %s was acknowledged, and is there %d times", what, line, count[line])
			}
		}
		if len(count) != len(lines) {
			tr.t.Errorf("%s: %d lines were acknowledged, and %d are there", what, len(lines), len(count))
		}
		if got := porcupine.CheckOperationsTimeout(versions, tr.history[key], time.Minute); got != porcupine.Ok {
			tr.t.Errorf("%s: the history of %s, of %d operations, is not linearizable: %v", what, key, len(tr.history[key]), got)
		}
		delete(tr.history, key)
		writes += len(lines)
	}
	return writes
}

// whole waits until all hosts are members and follow one leader.
func (tr *trial) whole() (leader *host) {
	tr.t.Helper()
	tr.eventually(func() error {
		leader = nil
		for _, h := range tr.hosts {
			s := h.state()
			if len(s.Members) != len(tr.hosts) || s.Leader == nil {
				return fmt.Errorf("%s sees %d members", h.name, len(s.Members))
			}
			if s.IsLeader {
				leader = h
			}
		}
		if leader == nil {
			return fmt.Errorf("no member leads")
		}
		return nil
	})
	return leader
}

// TestStoreOutlivesItsLeader strikes the leader in the midst of 64 writers: no write
// that was acknowledged is lost, none is done twice, and the history of each key is
// linearizable. It needs -store.rounds.
func TestStoreOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	if *flagRounds == 0 {
		t.Skip("no -store.rounds given")
	}
	tr := newTrial(t, 3)
	bound := timing(t).FailoverBound(3) + 100*time.Millisecond
	for _, f := range faults {
		if *flagFault != "" && f.name != *flagFault {
			continue
		}
		var gaps []time.Duration
		writes := 0
		for round := range *flagRounds {
			leader := tr.whole()
			tellSince := tr.marks()
			stop := make(chan struct{})
			wait := tr.load(fmt.Sprintf("%s-%d", strings.ReplaceAll(f.name, " ", ""), round), stop)
			writesFor(tr, 200*time.Millisecond)
			tr.mu.Lock()
			tr.gap = 0
			tr.mu.Unlock()
			f.strike(leader)
			writesFor(tr, bound)
			tr.mu.Lock()
			gap := tr.gap // what comes later is of those that still wait for the struck host
			tr.mu.Unlock()
			if gaps = append(gaps, gap); gap > bound {
				t.Errorf("%s, round %d, leader %s: no write was acknowledged for %v; %s", f.name, round, leader.name, gap, tellSince())
			}
			close(stop)
			acked := wait()
			f.amend(leader)
			writes += tr.judge(fmt.Sprintf("%s, round %d", f.name, round), acked)
		}
		slices.Sort(gaps)
		t.Logf("%s: %d rounds, %d writes; the longest time without an acknowledged write: median %v, most %v; the bound is %v",
			f.name, len(gaps), writes, gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), bound)
	}
}

// marks notes the place in the logs of all hosts. The function that it returns tells what
// they have said since, and when the machine stood still.
func (tr *trial) marks() (since func() string) {
	began := time.Now()
	var from []int
	for _, h := range tr.hosts {
		from = append(from, len(h.log()))
	}
	return func() string {
		text := "the machine stood still:"
		tr.mu.Lock()
		for _, s := range tr.stalls {
			if s.from.After(began) {
				text += fmt.Sprintf(" %s for %v", s.from.UTC().Format("15:04:05.000"), s.late)
			}
		}
		tr.mu.Unlock()
		for i, h := range tr.hosts {
			text += "\n" + h.name + "\n" + h.log()[from[i]:]
		}
		return text
	}
}

// TestStoreCatchesUp kills a voter, has the others take writes, and starts it again, the
// second time with an empty disk: it catches up while clients write, and the memory of
// its agent and keeper stays within 64 MiB of what it was. It needs -store.absent.
func TestStoreCatchesUp(t *testing.T) {
	t.Parallel()
	if *flagAbsent == 0 {
		t.Skip("no -store.absent given")
	}
	tr := newTrial(t, 3)
	for _, wiped := range []bool{false, true} {
		leader := tr.whole()
		absent := tr.hosts[0]
		if absent == leader {
			absent = tr.hosts[1]
		}
		before := memoryOf(t, []*node{absent.node})[0]
		absent.killBoth()
		stop := make(chan struct{})
		wait := tr.load(fmt.Sprint("absent-", wiped), stop)
		tr.eventuallyWrote(*flagAbsent)
		if wiped {
			tr.wipe(absent)
		}
		all := leader.changes(0)
		if len(all) == 0 {
			t.Fatalf("%s shows no changes", leader.name)
		}
		began := time.Now()
		absent.restart()
		most := absent.mostMemory(func() {
			if !poll(func() bool { return len(absent.changes(all[len(all)-1].Index)) > 0 }) {
				t.Errorf("wiped %v: it has not caught up", wiped)
			}
		})
		took := time.Since(began)
		close(stop)
		writes := tr.judge("absent", wait())
		t.Logf("wiped %v: absent for %d of %d writes, caught up within %v of its start while clients wrote; memory %.1f MiB before, %.1f MiB at most",
			wiped, *flagAbsent, writes, took.Round(10*time.Millisecond), mib(before), mib(most))
		if most > before+64<<20 {
			t.Errorf("wiped %v: its memory grew by %.1f MiB", wiped, mib(most-before))
		}
	}
}

// mostMemory is the most memory that the agent and its keeper have while something is done.
func (h *host) mostMemory(do func()) (most int64) {
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			sum := int64(0)
			for _, pid := range h.pids() {
				sum += pss(pid)
			}
			most = max(most, sum)
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	do()
	close(stop)
	<-over
	return most
}

// eventuallyWrote waits until so many more writes are acknowledged.
func (tr *trial) eventuallyWrote(number int) {
	for from := tr.wrote.Load(); tr.wrote.Load() < from+int64(number); {
		time.Sleep(10 * time.Millisecond)
	}
}

// wipe takes the disk of a host's voter away.
func (tr *trial) wipe(h *host) {
	tr.t.Helper()
	if err := os.RemoveAll(filepath.Join(tr.dir, "state"+strconv.Itoa(slices.Index(tr.hosts, h)))); err != nil {
		tr.t.Fatal(err)
	}
}

// changes are those of a host's copy of the store that it keeps, from an index on.
func (h *host) changes(from uint64) (all []store.Change) {
	h.get(fmt.Sprintf("/store?log=%d", from), &all) // none, if it does not answer
	return all
}

// writesFor lets time pass, and then a write be acknowledged.
func writesFor(tr *trial, d time.Duration) {
	tr.t.Helper()
	time.Sleep(d)
	was := tr.acks.Load()
	tr.eventually(func() error {
		if tr.acks.Load() == was {
			return fmt.Errorf("no write is acknowledged")
		}
		return nil
	})
}

func timing(t *testing.T) seniority.Timing {
	t.Helper()
	lan, err := seniority.Profile("lan")
	if err != nil {
		t.Fatal(err)
	}
	return lan
}

// TestStoreUnderRandomFaults lets faults strike five voters, two at a time at most. It
// needs -store.chaos.
func TestStoreUnderRandomFaults(t *testing.T) {
	t.Parallel()
	if *flagChaos == 0 {
		t.Skip("no -store.chaos given")
	}
	tr := newTrial(t, 5)
	writes, struck := 0, map[string]int{}
	for end, part := time.Now().Add(*flagChaos), 0; time.Now().Before(end); part++ {
		tr.whole()
		stop := make(chan struct{})
		wait := tr.load(fmt.Sprint("chaos", part), stop)
		for range 4 {
			time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Second))))
			hosts := rand.Perm(len(tr.hosts))[:1+rand.IntN(2)]
			var amends []func()
			for _, i := range hosts {
				f := faults[rand.IntN(len(faults))]
				struck[f.name]++
				f.strike(tr.hosts[i])
				amends = append(amends, func() { f.amend(tr.hosts[i]) })
			}
			time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Second))))
			for _, amend := range amends {
				amend()
			}
		}
		writesFor(tr, time.Second)
		close(stop)
		writes += tr.judge(fmt.Sprint("part ", part), wait())
	}
	t.Logf("%v: %d writes, faults %v", *flagChaos, writes, struck)
}
