package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/agent/store"
)

// endless is a body that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestStoreIsBounded: what is too large, malformed or too much is refused by a status
// and a sentence, in bounded memory, and ten thousand keys are kept.
func TestStoreIsBounded(t *testing.T) {
	t.Parallel()
	g := newStoreGroup(t, 1)
	n := g.nodes[0]
	n.env = append(n.env, "GOGC=50") // the agent's own, not that of TestMain
	n.start()
	g.must(n, "put", "k", "text")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(client.CloseIdleConnections)
	call := func(method, path string, body io.Reader) (int, string) {
		req, err := http.NewRequest(method, "http://"+n.name+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(text)
	}
	before := memoryOf(t, g.nodes)[0]
	long := strings.Repeat("k", store.MaxKey+1)
	for _, bad := range []struct {
		what, method, path string
		body               io.Reader
		status             int
		says               string
	}{
		{"a value that is too long", "PUT", "/store/k", strings.NewReader(strings.Repeat("x", store.MaxValue+1)), http.StatusRequestEntityTooLarge, "k: a value is longer than 524288 bytes"},
		{"an append that is too long", "POST", "/store/k", strings.NewReader(strings.Repeat("x", store.MaxValue)), http.StatusRequestEntityTooLarge, "k: "},
		{"a body that never ends", "PUT", "/store/k", endless{}, http.StatusRequestEntityTooLarge, "k: a value is longer than 524288 bytes"},
		{"a key that is too long", "PUT", "/store/" + long, strings.NewReader("x"), http.StatusRequestEntityTooLarge, "a key of 256 bytes is longer than 255"},
		{"the same, read", "GET", "/store/" + long, nil, http.StatusRequestEntityTooLarge, "a key of 256 bytes is longer than 255"},
		{"a key that is not UTF-8", "PUT", "/store/%ff%fe", strings.NewReader("x"), http.StatusBadRequest, "is not UTF-8"},
		{"a control character", "DELETE", "/store/a%00b", nil, http.StatusBadRequest, "control character"},
		{"no key", "PUT", "/store/", strings.NewReader("x"), http.StatusBadRequest, "a key is empty"},
	} {
		if status, text := call(bad.method, bad.path, bad.body); status != bad.status || !strings.Contains(text, bad.says) {
			t.Errorf("%s: want %d and %q, got %d: %.300s", bad.what, bad.status, bad.says, status, text)
		}
	}
	if _, text := call("GET", "/store/k", nil); text != "text" {
		t.Errorf("want what was refused not to change a key, got %.100q", text)
	}
	if out, err := exec.Command(g.exe, "store", "--addr", "unknown.invalid:4000", "get", "k").CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown.invalid") {
		t.Errorf("an unknown member: got %v: %s", err, out)
	}
	g.watchers(n, 1000)
	g.fill(call, 10_000)
	var keys []store.Value
	if n.get("/store?prefix=many/", &keys); len(keys) != 10_000 {
		t.Errorf("want 10000 keys, got %d", len(keys))
	}
	// The race detector keeps some bytes of its own for each.
	if grown := memoryOf(t, g.nodes)[0] - before; grown > 256<<20 {
		t.Errorf("the agent has grown by %.0f MiB", mib(grown))
	}
}

// watchers opens more streams than a member serves: the surplus is told so at once, and
// the others hear of a change.
func (g *storeGroup) watchers(n *node, number int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var open []*http.Response
	refused, other := 0, map[string]int{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	slots := make(chan struct{}, 64)
	for range number {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			resp, err := client.Get("http://" + n.name + "/events?store=w/")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				other[err.Error()]++
			case resp.StatusCode == http.StatusOK:
				open = append(open, resp)
				return
			case resp.StatusCode == http.StatusServiceUnavailable:
				refused++
			default:
				other[resp.Status]++
			}
			if resp != nil {
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if len(open) == 0 || len(open)+refused != number {
		g.t.Errorf("of %d watchers %d are served, %d told that there are too many, and else %v", number, len(open), refused, other)
	}
	g.must(n, "put", "w/1", "x")
	for _, resp := range open {
		stop := time.AfterFunc(patience, func() { resp.Body.Close() })
		heard := false
		for lines := bufio.NewScanner(resp.Body); !heard && lines.Scan(); {
			heard = strings.HasPrefix(lines.Text(), "event: store")
		}
		stop.Stop()
		resp.Body.Close()
		if !heard {
			g.t.Error("a watcher has not heard of a change")
		}
	}
}

// fill makes keys, many at a time.
func (g *storeGroup) fill(call func(method, path string, body io.Reader) (int, string), number int) {
	var wg sync.WaitGroup
	const clients = 64
	for c := range clients {
		wg.Go(func() {
			for i := c; i < number; i += clients {
				path := fmt.Sprintf("/store/many/%d", i)
				if status, text := call("PUT", path, strings.NewReader("value")); status != http.StatusOK {
					g.t.Errorf("PUT %s: %d %s", path, status, text)
					return
				}
			}
		})
	}
	wg.Wait()
}
