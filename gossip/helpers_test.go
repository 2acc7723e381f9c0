package gossip

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
	"doyen/seniority"
)

// forgotten is longer than memberlist remembers the dead, which is as long as
// GossipToTheDeadTime and a round of probes.
const forgotten = 5 * time.Minute

// patience is how long a test waits for what happens soon before it fails.
const patience = 60 * time.Second

// bubble runs a test in fake time, on one processor: two timers of a bubble that run at
// once break the race detector of Go 1.26 (golang.org/issue/78156). memberlist cannot
// break a probe off, so when everything is closed it is given the time to end.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(10 * time.Second) })
		f(t)
	})
}

var incarnations atomic.Uint64

// newMember returns a member that has not started. Its log is thrown away.
func newMember(t testing.TB, c Config) *Gossip {
	t.Helper()
	c.Incarnation = incarnations.Add(1)
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// start returns a member that runs.
func start(t testing.TB, c Config) *Gossip {
	t.Helper()
	g := newMember(t, c)
	if err := g.Start(seniority.Member{Start: time.Now().UnixNano(), Eligible: true}, Extra{Rule: "seniority"}); err != nil {
		t.Fatal(err)
	}
	return g
}

// group starts n members on a network; each has the first as its seed.
func group(t testing.TB, n *simnet.Network, size int) []*Gossip {
	t.Helper()
	var all []*Gossip
	var seeds []string
	for range size {
		g := start(t, Config{Transport: n.Host(), Seeds: seeds})
		all, seeds = append(all, g), []string{"10.0.0.1:4000"}
	}
	return all
}

// names are the members in a view.
func names(g *Gossip) []string {
	var all []string
	for _, p := range g.View().Members {
		all = append(all, p.Name)
	}
	return all
}

// wantNames fails unless the view of g holds exactly these members.
func wantNames(t testing.TB, g *Gossip, members ...*Gossip) {
	t.Helper()
	var want []string
	for _, m := range members {
		want = append(want, m.Name())
	}
	slices.Sort(want)
	if got := names(g); !slices.Equal(want, got) {
		t.Errorf("want the view of %s to be %v, got %v", g.Name(), want, got)
	}
}

// found returns the finding of a kind, or fails.
func found(t testing.TB, g *Gossip, what string) findings.Finding {
	t.Helper()
	for _, f := range g.Findings() {
		if f.What == what {
			if f.Evidence == "" || f.Advice == "" {
				t.Errorf("want evidence and advice, got %+v", f)
			}
			return f
		}
	}
	t.Fatalf("want a finding %s on %s, got %v", what, g.Name(), g.Findings())
	return findings.Finding{}
}

// eventually waits until a condition holds, and fails the test after patience.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// ours lists the goroutines of this package and of memberlist that run.
func ours() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var all []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		if (strings.Contains(g, "gossip.(*") || strings.Contains(g, "transport.(*")) && !strings.Contains(g, "testing.tRunner") || strings.Contains(g, "memberlist.(*") {
			all = append(all, g)
		}
	}
	return all
}

// resolver is a Resolver that knows what it is told.
type resolver struct {
	hosts map[string][]netip.Addr
	srv   map[string][]*net.SRV
}

func (r resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := r.hosts[host]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (r resolver) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if s, ok := r.srv[name]; ok {
		return name, s, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// lookupFunc is a Resolver for which every name means the same.
type lookupFunc func() []netip.Addr

func (f lookupFunc) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return f(), nil
}

func (f lookupFunc) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// addrs parses addresses.
func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// received returns the messages that wait at g.
func received(g *Gossip) []seniority.Message {
	var all []seniority.Message
	for {
		select {
		case m := <-g.Messages():
			all = append(all, m.Message)
		default:
			return all
		}
	}
}

// claimOf is a claim of g for all members.
func claimOf(g *Gossip, term, seq uint64) ElectionMessage {
	return ElectionMessage{Message: seniority.Message{
		Kind: seniority.Claim, From: g.Name(), Incarnation: g.cfg.Incarnation, Term: term, Seq: seq, Lease: time.Second,
	}}
}

// lockedBuffer is a log that a test can read while it is written.
type lockedBuffer struct {
	c chan struct{}
	b bytes.Buffer
}

func newLockedBuffer() *lockedBuffer { return &lockedBuffer{c: make(chan struct{}, 1)} }

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.c <- struct{}{}
	defer func() { <-l.c }()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.c <- struct{}{}
	defer func() { <-l.c }()
	return l.b.String()
}
