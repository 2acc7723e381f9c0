package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// TestOpenAPIIsTrueOfAgents has two agents answer every call, and one of them
// every kind of event, while the lead is handed over and back, and it is sick in
// between.
func TestOpenAPIIsTrueOfAgents(t *testing.T) {
	d := describe(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	check, sick := healthCheck(t)
	a := runAgent(t, ctx, check)
	first := New(Config{Agent: a, Log: quiet(nil).Log})
	stream, streaming := httptest.NewRecorder(), make(chan struct{})
	go func() {
		first.ServeHTTP(stream, httptest.NewRequestWithContext(ctx, "GET", "/events?lease=100ms", nil))
		close(streaming)
	}()
	eventually(t, "the first leads", a.IsLeader)
	b := runAgent(t, ctx, "", a.Addr())
	second := New(Config{Agent: b, Log: quiet(nil).Log})
	eventually(t, "the second may lead next", func() bool { return a.Ready().Ready && b.Ready().Ready })

	call := func(h http.Handler, method, path string, query ...string) {
		t.Helper()
		d.check(method, path, ask(t, h, method, strings.Replace(path, "{file}", "look.css", 1)+strings.Join(query, ""), header("Accept", "application/json")))
	}
	everything := func() {
		for path := range d.root["paths"].(map[string]any) {
			if node, _ := d.at("paths", path, "get"); node != nil && path != "/events" {
				call(first, "GET", path)
				call(second, "GET", path)
			}
		}
	}
	everything()
	call(second, "POST", "/election")
	eventually(t, "the second has answered", func() bool {
		call(first, "POST", "/step-down", "?for=1h")
		return !a.IsLeader()
	})
	eventually(t, "the second leads", b.IsLeader)
	sick(true)
	eventually(t, "the first is sick", func() bool { return !a.State().Health.Healthy })
	everything()
	sick(false)
	eventually(t, "the first is healthy", func() bool { return a.State().Health.Healthy })
	call(first, "POST", "/resume")
	call(second, "POST", "/leave")
	eventually(t, "the first leads again", a.IsLeader)
	everything()
	call(first, "POST", "/leave")
	<-streaming

	for _, path := range []string{"/step-down", "/resume", "/leave", "/election"} {
		if !d.seen["POST "+path+" 200"] {
			t.Errorf("POST %s was not done", path)
		}
	}
	d.checkStream(stream.Body.String())
}

// checkStream holds every event of a stream against its description; there must
// be one of each kind.
func (d *description) checkStream(stream string) {
	d.t.Helper()
	node, place := d.at("paths", "/events", "get", "responses", "200", "x-events")
	missing := maps.Clone(node.(map[string]any))
	delete(missing, "address") // it takes an interface of the host's
	delete(missing, "store")   // it has a stream of its own
	kind := ""
	for line := range strings.Lines(stream) {
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			kind = strings.TrimSpace(name)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		delete(missing, kind)
		var fields map[string]any
		if err := json.Unmarshal([]byte(data), &fields); err != nil {
			d.t.Fatalf("%s: %v", line, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, fields["time"].(string)); err != nil {
			d.t.Errorf("%s: %v", line, err)
		}
		delete(fields, "time") // every event has it
		text, _ := json.Marshal(fields)
		if err := d.validate(place+"/"+kind, text); err != nil {
			d.t.Errorf("event %s: %v\n%s", kind, err, text)
		}
	}
	if len(missing) > 0 {
		d.t.Errorf("no event was seen of the kinds %q, in:\n%s", slices.Sorted(maps.Keys(missing)), stream)
	}
}

// healthCheck writes a health check that fails while it is told to.
func healthCheck(t *testing.T) (path string, sick func(bool)) {
	path = filepath.Join(t.TempDir(), "check")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "#!/bin/sh\n! [ -e $0.sick ]\n")
	return path, func(is bool) {
		if is {
			write(path+".sick", "")
		} else if err := os.Remove(path + ".sick"); err != nil {
			t.Fatal(err)
		}
	}
}

// runAgent runs an agent on a free port of loopback until ctx ends.
func runAgent(t *testing.T, ctx context.Context, health string, seeds ...string) *agent.Agent {
	t.Helper()
	a, err := agent.New(agent.Config{
		BindAddr: "127.0.0.1", BindPort: new(0), Seeds: seeds, LoneWait: new(time.Duration(0)),
		Keeper: agent.Off, Hook: "/bin/true", Run: []string{"sleep", "1000"},
		Health: health, HealthInterval: 50 * time.Millisecond, HealthFall: 1, HealthRise: 1,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, stop := context.WithCancel(ctx)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(awhile); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("want: %s", what)
		}
	}
}
