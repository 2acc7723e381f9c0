//go:build linux

// Package upgrade runs the released version of the program mixed with this one: a group
// is upgraded one member at a time, and back.
package upgrade

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/api/diagnosis"
	"doyen/examples/internal/lan"
)

const (
	// patience is how long the test waits for what takes a second on a quiet machine.
	patience = 90 * time.Second
	floating = "10.88.0.100"
	// newVersion is what the program of this tree calls itself.
	newVersion = "9.9.9"
)

// TestUpgradeAndBack replaces the released version by this one on three hosts, one after
// the other, and then back: in quorum mode, with a floating address and the store, while a
// client writes. The lead changes only when the leader's program is replaced, and no write
// is lost.
func TestUpgradeAndBack(t *testing.T) {
	g := newGroup(t)
	for _, h := range g.hosts {
		g.start(h, g.released)
	}
	g.settle()
	stop, before, handOvers := g.write(), len(g.leaders()), 0
	replace := func(h *host, program *build) {
		if g.leader() == h {
			handOvers++
		}
		h.program.End(syscall.SIGTERM)
		g.start(h, program)
		g.settle()
		t.Logf("%s runs %s, %s leads, %d hand-overs", h.Name, program.version, g.leader().Name, handOvers)
	}
	for _, h := range g.followersFirst() {
		replace(h, g.tree)
	}
	for _, h := range slices.Backward(g.followersFirst()) { // the leader first
		replace(h, g.released)
	}
	stop()
	if handOvers < 2 {
		t.Errorf("got %d hand-overs, want one at least each way", handOvers)
	}
	if led := g.leaders(); len(led) != before+handOvers {
		t.Errorf("want %d changes of the leader after the first %d leaders, got %q", handOvers, before, led)
	}
	g.checkWrites()
}

// A build is one version of the program.
type build struct{ version, path string }

// A group is three hosts that run one of the builds each.
type group struct {
	t              *testing.T
	net            *lan.LAN
	hosts          []*host
	released, tree *build
	dir            string

	mu    sync.Mutex
	acked []string // keys
}

type host struct {
	*lan.Host
	addr    string
	program *lan.Program
	runs    *build
}

func newGroup(t *testing.T) *group {
	g := &group{t: t, dir: t.TempDir()}
	g.released, g.tree = buildReleased(t, g.dir), buildTree(t, g.dir)
	g.net = lan.New(t, []string{"ip", "nsenter", "nft"}, "10.88.0.254/24")
	for i := range 3 {
		h := &host{addr: fmt.Sprintf("10.88.0.%d", i+1)}
		h.Host = g.net.Host(fmt.Sprintf("host%d", i+1), h.addr+"/24")
		g.hosts = append(g.hosts, h)
	}
	return g
}

// buildTree builds the program of this tree.
func buildTree(t *testing.T, dir string) *build {
	t.Helper()
	return compile(t, "../..", filepath.Join(dir, "tree"), newVersion)
}

func compile(t *testing.T, source, path, version string) *build {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X doyen/agent.Version="+version, "-o", path, "./cmd/agent")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building version %s: %v: %s", version, err, out)
	}
	return &build{version, path}
}

// release is how CHANGELOG.md names a version and its commit.
var release = regexp.MustCompile("(?s)\n## \\[([0-9.]+)\\].*?commit is `([0-9a-f]{7,40})`")

// buildReleased builds the version that CHANGELOG.md names last. Its source is in the
// history; a clone without history skips the test.
func buildReleased(t *testing.T, dir string) *build {
	t.Helper()
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	found := release.FindSubmatch(text)
	if found == nil {
		t.Fatal("CHANGELOG.md names no version with its commit")
	}
	version, commit := string(found[1]), string(found[2])
	if out, err := exec.Command("git", "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		shallow, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output()
		if err == nil && strings.TrimSpace(string(shallow)) == "false" {
			t.Fatalf("the commit %s of version %s is not in the history: %s", commit, version, out)
		}
		t.Skipf("the history up to version %s is not here (a shallow clone, or no git): %s", version, out)
	}
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	// From the top of the tree, git archive packs all of it.
	unpack := exec.Command("sh", "-c", `cd ../.. && git archive "$0" | tar -x -C "$1"`, commit, source)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v: %s", commit, err, out)
	}
	return compile(t, source, filepath.Join(dir, "released"), version)
}

func (g *group) start(h *host, program *build) {
	g.t.Helper()
	h.runs = program
	h.program = h.Start("env", "RUNTIME_DIRECTORY="+filepath.Join(g.dir, h.Name), program.path,
		"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds", "--store", "on", "--state-dir", filepath.Join(g.dir, h.Name),
		// A busy machine may be slow, and no lease is to end for that.
		"--lease", "5s", "--floating-ip", floating+"/24@eth0", "--log-level", "warn")
}

// leader is the host that leads now; nil: none, or two.
func (g *group) leader() (leader *host) {
	for _, h := range g.hosts {
		s, err := h.State()
		if err == nil && s.IsLeader {
			if leader != nil {
				return nil
			}
			leader = h
		}
	}
	return leader
}

// followersFirst are the hosts in the order in which a group is upgraded.
func (g *group) followersFirst() []*host {
	leader := g.leader()
	order := slices.DeleteFunc(slices.Clone(g.hosts), func(h *host) bool { return h == leader })
	return append(order, leader)
}

// settle waits until all members are ready and agree, the address is on the leader alone
// and its neighbour answers there, and the store takes a change from every member. Then
// diag has nothing to say but that versions differ, if they do.
func (g *group) settle() {
	g.t.Helper()
	var addrs []netip.Addr
	for _, h := range g.hosts {
		addrs = append(addrs, netip.MustParseAddr(h.addr))
	}
	g.net.Leader(addrs, patience)
	g.net.Eventually(patience, func() error {
		leader := g.leader()
		for _, h := range g.hosts {
			if _, err := h.Ready(len(g.hosts)); err != nil {
				return err
			}
			out, err := h.Run("ip", "-4", "-brief", "addr", "show", "dev", "eth0")
			if err != nil || strings.Contains(out, floating+"/") != (h == leader) {
				return fmt.Errorf("%s has the addresses %q and leads: %v (%w)", h.Name, out, h == leader, err)
			}
		}
		for _, h := range g.hosts {
			if out, err := h.Run(h.runs.path, "store", "put", "settled/"+h.Name, h.runs.version); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		return nil
	})
	for _, h := range g.hosts {
		g.checkDiag(h)
	}
}

// checkDiag asks a member for the verdict, as an operator does.
func (g *group) checkDiag(h *host) {
	g.t.Helper()
	versions := map[string]bool{}
	for _, h := range g.hosts {
		versions[h.runs.version] = true
	}
	g.net.Eventually(patience, func() error {
		var d struct{ Verdict diagnosis.Verdict }
		if err := h.Get("/diag?timeout=5s", &d); err != nil {
			return err
		}
		differ := false
		for _, f := range d.Verdict.Findings {
			if f.What != "versions-differ" {
				continue
			}
			differ = true
			for _, h := range g.hosts {
				if !strings.Contains(f.Evidence, h.addr) || !strings.Contains(f.Evidence, h.runs.version) {
					return fmt.Errorf("the finding %q does not name %s with %s", f.Evidence, h.addr, h.runs.version)
				}
			}
		}
		if d.Verdict.Status != "agreed" || differ != (len(versions) > 1) {
			return fmt.Errorf("%s with %v: got the verdict %+v", h.Name, versions, d.Verdict)
		}
		return nil
	})
}

// write has a client write one key after the other until the function that it returns is
// called. A call that failed is repeated with its request id, at the next member.
func (g *group) write() (stop func()) {
	var ended atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		for n := 0; !ended.Load(); n++ {
			key := fmt.Sprintf("written/%06d", n)
			for try := 0; !g.put(g.hosts[(n+try)%len(g.hosts)], key); try++ {
				if try > 5000 {
					g.t.Errorf("%s could not be written", key)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			g.mu.Lock()
			g.acked = append(g.acked, key)
			g.mu.Unlock()
			time.Sleep(5 * time.Millisecond)
		}
	})
	return func() {
		ended.Store(true)
		done.Wait()
	}
}

// put creates a key once, and reports whether that was acknowledged.
func (g *group) put(h *host, key string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, fmt.Sprintf("http://127.0.0.1:%d/store/%s", lan.Port, key), strings.NewReader(key))
	if err != nil {
		return false
	}
	req.Header.Set("If-None-Match", "*")
	req.Header.Set("Doyen-Request", key)
	res, err := h.Ask(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// leaders are those that the members remember, one after the other. A leader that only
// raises its term, because a voter knows a higher one, stays the same.
func (g *group) leaders() (led []string) {
	g.t.Helper()
	byTerm := map[uint64]string{}
	for _, h := range g.hosts {
		var history []agent.Leadership
		if err := h.Get("/history", &history); err != nil {
			g.t.Fatal(err)
		}
		for _, l := range history {
			byTerm[l.Term] = l.Leader
		}
	}
	for _, term := range slices.Sorted(maps.Keys(byTerm)) {
		if leader := byTerm[term]; len(led) == 0 || led[len(led)-1] != leader {
			led = append(led, leader)
		}
	}
	return led
}

// checkWrites checks that every copy has every key that was acknowledged.
func (g *group) checkWrites() {
	g.t.Helper()
	if len(g.acked) < 100 {
		g.t.Errorf("the client wrote %d keys, which is too few to show anything", len(g.acked))
	}
	for _, h := range g.hosts {
		var keys []struct{ Key string }
		if err := h.Get("/store?prefix=written/", &keys); err != nil {
			g.t.Fatal(err)
		}
		have := map[string]bool{}
		for _, k := range keys {
			have[k.Key] = true
		}
		for _, key := range g.acked {
			if !have[key] {
				g.t.Errorf("%s: %s was acknowledged and is lost", h.Name, key)
			}
		}
	}
	g.t.Logf("%d writes, none lost", len(g.acked))
}
