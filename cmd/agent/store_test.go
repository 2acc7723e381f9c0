package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
)

// storeGroup is a group whose voters keep a store.
type storeGroup struct{ *group }

func newStoreGroup(t *testing.T, count int) *storeGroup {
	g := &storeGroup{newGroup(t, count)}
	for i, n := range g.nodes {
		n.args = append(n.args, "--voters", "seeds", "--store", "on", "--state-dir", g.stateDir(i), "--hook", g.hook())
	}
	return g
}

func (g *storeGroup) stateDir(i int) string { return filepath.Join(g.dir, "state"+strconv.Itoa(i)) }

// store runs 'agent store' against a member.
func (g *storeGroup) store(n *node, args ...string) (stdout, stderr string, code int) {
	return g.command(append([]string{"store", "--addr", n.name}, args...)...)
}

// must runs it until it is done: there may be no leader yet.
func (g *storeGroup) must(n *node, args ...string) string {
	g.t.Helper()
	var out string
	g.eventually(func() error {
		stdout, stderr, code := g.store(n, args...)
		if code != exitOK {
			return fmt.Errorf("store %v: %s", args, stderr)
		}
		out = stdout
		return nil
	})
	return out
}

// leading waits for the member that leads.
func (g *storeGroup) leader() *node {
	g.t.Helper()
	var leader *node
	g.eventually(func() error {
		for _, n := range g.nodes {
			if s := n.state(); s.IsLeader {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("no member leads")
	})
	return leader
}

// sameLog waits until all members have one log, and returns it.
func (g *storeGroup) sameLog() (all []store.Change) {
	g.t.Helper()
	g.eventually(func() error {
		var first []store.Change
		for i, n := range g.nodes {
			all = nil
			if !n.get("/store?log=0", &all) {
				return fmt.Errorf("%s does not answer", n.name)
			}
			if i == 0 {
				first = all
			}
			if fmt.Sprint(all) != fmt.Sprint(first) {
				return fmt.Errorf("%s has a log of %d changes, and %s another of %d", g.nodes[0].name, len(first), n.name, len(all))
			}
		}
		return nil
	})
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.Index >= b.Index || a.Term > b.Term {
			g.t.Errorf("the log falls from %v to %v", a, b)
		}
	}
	return all
}

// Three voters keep what clients of any of them write while the leader is killed in
// the midst, nothing is lost or done twice, a fenced writer is refused, and a voter
// that has lost its disk comes back.
func TestStore(t *testing.T) {
	t.Parallel()
	g := newStoreGroup(t, 3)
	for _, n := range g.nodes {
		n.start()
	}
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	g.must(a, "create", "f", "")
	g.must(b, "append", "f", "one")
	g.must(c, "append", "f", "two")
	if got, _, _ := g.store(a, "read", "f"); got != "one\ntwo\n" {
		t.Errorf("want two lines, got %q", got)
	}
	for _, bad := range [][]string{{"create", "f", "x"}, {"append", "none", "x"}, {"get", "none"}, {"delete", "none"}} {
		if _, stderr, code := g.store(b, bad...); code != exitFailed || !strings.Contains(stderr, " "+bad[1]+": ") {
			t.Errorf("%v: want it refused with the key named, got %d: %s", bad, code, stderr)
		}
	}
	// A condition on a key that is missing has failed: of a put, an append and a delete.
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		for _, n := range g.nodes {
			req, err := http.NewRequest(method, "http://"+n.name+"/store/none", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("If-Match", `"7"`)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusPreconditionFailed || !strings.Contains(string(body), "none: the key is missing, not at version 7") {
				t.Errorf("%s with If-Match of a missing key at %s: got %d %s, want 412", method, n.name, resp.StatusCode, body)
			}
		}
	}
	leader := g.leader()
	old := leader.state().Term
	g.eventuallyEvent(leader.name + " acquire begin")

	var acked sync.Map
	var count atomic.Int64
	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() { writeLines(writing, g.nodes, w, &acked, &count) })
	}
	g.eventually(func() error { return atLeast(&count, 50) })
	leader.signal(syscall.SIGKILL)
	leader.wait()
	killed := count.Load()
	g.eventually(func() error { return atLeast(&count, killed+100) })
	stop()
	writers.Wait()

	next := g.leader()
	text := g.must(next, "get", "f")
	g.wantOnce(text, &acked)
	_, stderr, code := g.store(next, "put", "f", "late", "--fence", fmt.Sprint(old))
	if code != exitFailed || !strings.Contains(stderr, "higher than the fence") {
		t.Errorf("the fenced writer: want it refused, got %d: %s", code, stderr)
	}

	// The dead one comes back with an empty disk.
	for i, n := range g.nodes {
		if n == leader {
			if err := os.RemoveAll(g.stateDir(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	leader.start()
	g.eventually(func() error {
		if got, stderr, _ := g.store(leader, "get", "f", "--local"); got != text {
			return fmt.Errorf("the copy of the wiped voter has %d bytes, want %d: %s", len(got), len(text), stderr)
		}
		return nil
	})
	g.must(leader, "delete", "f")
	if all := g.sameLog(); len(all) < int(count.Load()) {
		t.Errorf("want a log of more than %d changes, got %d", count.Load(), len(all))
	}
}

func atLeast(count *atomic.Int64, want int64) error {
	if n := count.Load(); n < want {
		return fmt.Errorf("%d writes were acknowledged, want %d", n, want)
	}
	return nil
}

// writeLines appends lines of its own to f, at one member after another, each until it is
// acknowledged, under one request id.
func writeLines(ctx context.Context, nodes []*node, w int, acked *sync.Map, count *atomic.Int64) {
	for i := 0; ctx.Err() == nil; i++ {
		line := fmt.Sprintf("w%d-%d", w, i)
		for try := w; ctx.Err() == nil; try++ {
			cl := nodes[try%len(nodes)].client()
			cl.timeout = patience
			head := http.Header{"Doyen-Request": {line}}
			if _, _, err := cl.storeCall(ctx, http.MethodPost, "/store/f", bytes.NewReader([]byte(line+"\n")), head); err == nil {
				acked.Store(line, true)
				count.Add(1)
				break
			}
			time.Sleep(10 * time.Millisecond) // the member may be dead
		}
	}
}

// wantOnce checks that each line that was acknowledged is in a text once.
func (g *storeGroup) wantOnce(text string, acked *sync.Map) {
	g.t.Helper()
	acked.Range(func(line, _ any) bool {
		if n := strings.Count("\n"+text, "\n"+line.(string)+"\n"); n != 1 {
			g.t.Errorf("%s was acknowledged, and is there %d times", line, n)
		}
		return true
	})
}

// The voters are changed by restarts one by one, as the README says, while clients write:
// one is added, and one is taken out and stopped for good. Nothing that was acknowledged
// is lost, and the new voters have it all when two of the first three are gone.
func TestStoreFollowsItsVoters(t *testing.T) {
	t.Parallel()
	g := newStoreGroup(t, 4)
	list := func(nodes ...*node) string {
		var names []string
		for _, n := range nodes {
			names = append(names, n.name)
		}
		return strings.Join(names, ",")
	}
	a, b, c, d := g.nodes[0], g.nodes[1], g.nodes[2], g.nodes[3]
	start := func(n *node, voters ...*node) {
		n.args[slices.Index(n.args, "--voters")+1] = list(voters...)
		n.start()
	}
	for _, n := range []*node{a, b, c} {
		start(n, a, b, c)
	}
	g.must(a, "create", "f", "")

	var acked sync.Map
	var count atomic.Int64
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { writeLines(writing, []*node{a, b}, w, &acked, &count) })
	}
	// change restarts or starts the voters of a new list one by one, and waits until all
	// are ready.
	change := func(voters ...*node) {
		t.Helper()
		for _, n := range voters {
			if n.cmd != nil {
				n.signal(syscall.SIGTERM)
				n.wait()
			}
			start(n, voters...)
			before := count.Load()
			g.eventually(func() error { return atLeast(&count, before+20) })
		}
		for _, n := range voters {
			g.eventually(func() error {
				if _, stderr, code := g.command("ready", "--addr", n.name); code != exitOK {
					return fmt.Errorf("%s is not ready: %s", n.name, stderr)
				}
				return nil
			})
		}
	}
	// changed waits until a leader has changed the voters of the store.
	changed := func(change string, voter *node) {
		t.Helper()
		g.eventually(func() error {
			for _, n := range g.nodes {
				if strings.Contains(n.log(), `msg="the store changes its voters" change=`+change+" voter="+voter.name+"\n") {
					return nil
				}
			}
			return fmt.Errorf("%s: no %s", voter.name, change)
		})
	}
	change(a, b, c, d)
	changed("AddNode", d)
	c.signal(syscall.SIGTERM)
	c.wait()
	change(a, b, d)
	changed("RemoveNode", c)
	stop()
	writers.Wait()

	b.signal(syscall.SIGKILL)
	b.wait()
	text := g.must(d, "get", "f")
	g.wantOnce(text, &acked)
	g.must(d, "put", "after", "two of three")
}

// A group of one voter keeps a store, also over a restart; a saved copy begins another
// group; and a damaged file is refused.
func TestStoreOfOne(t *testing.T) {
	t.Parallel()
	g := newStoreGroup(t, 1)
	n := g.nodes[0]
	n.start()
	g.must(n, "put", "a/b", "text")
	put := exec.Command(g.exe, "store", "--addr", n.name, "put", "piped", "-")
	put.Stdin = strings.NewReader("from stdin")
	if out, err := put.CombinedOutput(); err != nil {
		t.Errorf("put of stdin: %v: %s", err, out)
	}
	if got := g.must(n, "get", "piped"); got != "from stdin" {
		t.Errorf("want what stood on stdin, got %q", got)
	}
	if got, want := g.must(n, "get", "piped", "--json"), `"value":"from stdin"`; !strings.Contains(got, want) || !strings.HasSuffix(got, "}\n") {
		t.Errorf("get --json: want a line with %s, got %q", want, got)
	}
	saved := filepath.Join(g.dir, "copy")
	var told struct{ File string }
	if got := g.must(n, "save", saved, "--json"); json.Unmarshal([]byte(got), &told) != nil || told.File != saved {
		t.Errorf("save --json: want JSON with %q, got %q", saved, got)
	}
	n.signal(syscall.SIGTERM)
	n.wait()
	n.start()
	if got := g.must(n, "get", "a/b"); got != "text" {
		t.Errorf("after a restart: want text, got %q", got)
	}
	n.signal(syscall.SIGTERM)
	n.wait()
	if err := os.RemoveAll(g.stateDir(0)); err != nil {
		t.Fatal(err)
	}
	n.start("--store-restore", saved)
	if got := g.must(n, "get", "a/b"); got != "text" {
		t.Errorf("after restoring: want text, got %q", got)
	}
	n.signal(syscall.SIGTERM)
	n.wait()
	file := filepath.Join(g.stateDir(0), "store.db")
	whole, err := os.ReadFile(file)
	at := bytes.Index(whole, []byte("text"))
	if err != nil || at < 0 {
		t.Fatalf("the file does not hold the value: %v", err)
	}
	for ; at >= 0 && at < len(whole); at++ { // all of them: some pages are old ones
		if bytes.HasPrefix(whole[at:], []byte("text")) {
			whole[at] = 'T'
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	if code := n.wait(); code == exitOK || !strings.Contains(n.log(), "store.db is damaged") {
		t.Errorf("a damaged file: got exit %d", code)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(after, whole) {
		t.Error("the damaged file was written to")
	}
}

// Who watches keys at a member misses no change, and sees none twice, though the member is
// killed and others make changes before it is back.
func TestStoreWatchGoesOn(t *testing.T) {
	t.Parallel()
	g := newStoreGroup(t, 3)
	for _, n := range g.nodes {
		n.start()
	}
	watched, other := g.nodes[2], g.nodes[0]
	g.must(other, "put", "config/old", "x")
	var out, errs lockedBuffer
	ctx, stop := context.WithCancel(t.Context())
	watch := exec.CommandContext(ctx, g.exe, "store", "watch", "config/", "--addr", watched.name, "--json")
	watch.Stdout, watch.Stderr, watch.Env = &out, &errs, withoutSettings(os.Environ())
	if err := testrun.First(watch.Start); err != nil {
		t.Fatal(err)
	}
	var want []string
	change := func(key string) {
		t.Helper()
		g.must(other, "put", key, "x")
		want = append(want, key)
	}
	printed := func() (keys []string) {
		for line := range strings.Lines(out.String()) {
			var c store.Change
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if c.Key != "config/begun" {
				keys = append(keys, c.Key)
			}
		}
		return keys
	}
	g.eventually(func() error { // the stream begins at some time
		g.must(other, "put", "config/begun", "x")
		if out.String() == "" {
			return fmt.Errorf("the watch has printed nothing, and said %q", errs.String())
		}
		return nil
	})
	want = printed() // config/old too, if the copy of this member was behind
	for i := range 2 {
		watched.signal(syscall.SIGKILL)
		watched.wait()
		change(fmt.Sprintf("config/gone%d", i))
		g.must(other, "put", "elsewhere", "x")
		watched.start()
		change(fmt.Sprintf("config/back%d", i))
		g.eventually(func() error {
			if got := printed(); !slices.Equal(got, want) {
				return fmt.Errorf("the watch has printed %q, want %q; it said %q", got, want, errs.String())
			}
			return nil
		})
	}
	stop()
	watch.Wait()
}

// The help, the manual page and the README name every command of the store, and two names
// of one command side by side.
func TestStoreCommandsAreNamed(t *testing.T) {
	help, _, code := command(t, "store", "--help")
	if code != exitOK {
		t.Fatalf("agent store --help: exit %d", code)
	}
	page, _, _ := command(t, "man")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for verb := range storeVerbs {
		for place, text := range map[string]string{"help": help, "manual page": page} {
			if !regexp.MustCompile(`(\| |store\\fR |\[command options\] |or )` + verb + `\b`).MatchString(text) {
				t.Errorf("the %s does not name %q", place, "store "+verb)
			}
		}
		if !strings.Contains(string(readme), "`"+verb+"`") {
			t.Errorf("the README does not name %q", "store "+verb)
		}
	}
}
