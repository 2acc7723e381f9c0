package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"doyen/agent"
)

// TestReads asks every call that only reads, with and without a slash.
func TestReads(t *testing.T) {
	h := New(quiet(newFake()))
	tests := []struct{ path, contentType, part string }{
		{"/", "text/plain; charset=utf-8", "/is-leader"},
		{"/?format=json", "application/json", `"/step-down"`},
		{"/ping", "text/plain; charset=utf-8", "OK"},
		{"/leader", "text/plain; charset=utf-8", "10.0.0.1:4000\n"},
		{"/is-leader", "text/plain; charset=utf-8", "OK"},
		{"/state", "application/json", `"is_leader": true`},
		{"/status", "application/json", `"name": "a"`},
		{"/members", "application/json", `"rank": 1`},
		{"/diag", "application/json", `"member_states"`},
		{"/history", "application/json", `[]`},
		{"/ready", "application/json", `"would_lead": "b"`},
		{"/metrics", "text/plain; version=0.0.4", `doyen_is_leader{election="group"} 1`},
		{"/livez", "text/plain; charset=utf-8", "OK"},
		{"/readyz", "text/plain; charset=utf-8", "OK"},
		{"/version", "application/json", `"version": "dev"`},
	}
	for _, tt := range tests {
		paths := []string{tt.path}
		if !strings.HasPrefix(tt.path, "/?") && tt.path != "/" {
			paths = append(paths, tt.path+"/")
		}
		for _, path := range paths {
			t.Run("GET "+path, func(t *testing.T) {
				w := ask(t, h, "GET", path)
				if w.Code != http.StatusOK {
					t.Errorf("status: want 200, got %d", w.Code)
				}
				if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, tt.contentType) {
					t.Errorf("content type: want %q, got %q", tt.contentType, got)
				}
				if !strings.Contains(w.Body.String(), tt.part) {
					t.Errorf("body: want one with %q, got:\n%s", tt.part, w.Body)
				}
				if got := w.Header().Get("Cache-Control"); got != "no-store" {
					t.Errorf("cache control: want no-store, got %q", got)
				}
				if head := ask(t, h, "HEAD", path); head.Code != http.StatusOK {
					t.Errorf("HEAD: want 200, got %d", head.Code)
				}
			})
		}
	}
}

// TestStateHasTheContractsKeys keeps the names that scripts rely on.
func TestStateHasTheContractsKeys(t *testing.T) {
	f := newFake()
	f.state.LeaseMS = 900
	f.state.Voters = []string{"a"}
	got := fields(t, ask(t, New(quiet(f)), "GET", "/state"))
	for _, key := range []string{
		"name", "addr", "members", "leader", "term", "start_time", "role", "rule", "is_leader", "electing", "mode",
		"voters", "lease_ms", "hook", "pid", "keeper_pid", "version",
	} {
		if _, ok := got[key]; !ok {
			t.Errorf("key %q is missing from %v", key, slices.Sorted(maps.Keys(got)))
		}
	}
}

// TestUnavailable asks a member that knows no leader and is not well.
func TestUnavailable(t *testing.T) {
	f := newFake()
	f.leader, f.isLeader = nil, false
	f.ready = agent.Readiness{Reasons: []string{"no member could follow"}}
	f.live = errors.New("the election loop should have turned 6s ago")
	f.joined = errors.New("not every seed has answered\x1b[31m")
	h := New(quiet(f))
	for path, part := range map[string]string{
		"/leader": "no leader", "/leader?format=json": "no leader", "/is-leader": "does not lead",
		"/livez": "6s ago", "/readyz": "not every seed has answered\uFFFD",
	} {
		wantError(t, ask(t, h, "GET", path), http.StatusServiceUnavailable, part)
	}
	w := ask(t, h, "GET", "/ready")
	if got := fields(t, w); w.Code != http.StatusServiceUnavailable || got["ready"] != false || got["would_lead"] != nil {
		t.Errorf("/ready: want 503 and ready false, got %d %v", w.Code, got)
	}
}

// TestFormerCalls asks as clients of other leader elections do.
func TestFormerCalls(t *testing.T) {
	f := newFake()
	h := New(quiet(f))
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/electionStatus", 200, `{"electionStatus":false}`},
		{"GET", "/leaderPort", 200, `{"leaderPort":4000}`},
		{"POST", "/newLeaderPort", 409, "leaders are elected, not appointed"},
		{"PUT", "/newLeaderPort", 409, "leaders are elected, not appointed"},
		{"PUT", "/election", 200, `"ok":true`},
	} {
		for _, path := range []string{tt.path, tt.path + "/"} {
			w := ask(t, h, tt.method, path)
			if body := strings.Join(strings.Fields(w.Body.String()), ""); w.Code != tt.status || !strings.Contains(body, strings.ReplaceAll(tt.body, " ", "")) {
				t.Errorf("%s %s: want %d with %s, got %d %s", tt.method, path, tt.status, tt.body, w.Code, w.Body)
			}
		}
	}
	f = newFake()
	f.leader, f.state.Electing = nil, true
	h = New(quiet(f))
	wantError(t, ask(t, h, "GET", "/leaderPort"), http.StatusServiceUnavailable, "no leader")
	if got := fields(t, ask(t, h, "GET", "/electionStatus")); got["electionStatus"] != true {
		t.Errorf("want an election under way, got %v", got)
	}
	// PUT changes something, so it is guarded as POST is.
	foreign := ask(t, h, "PUT", "/election", from("192.0.2.9:1"))
	wantError(t, foreign, http.StatusUnauthorized, "loopback only")
}

func TestWrongCalls(t *testing.T) {
	h := New(quiet(newFake()))
	tests := []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nothing", 404, ""},
		{"GET", "/leader//", 404, ""},
		{"GET", "/<script>", 404, ""},
		{"POST", "/leader", 405, "GET, HEAD"},
		{"GET", "/leave", 405, "POST"},
		{"HEAD", "/leave/", 405, "POST"},
		{"HEAD", "/events", 405, "GET"},
		{"DELETE", "/members/", 405, "GET, HEAD"},
		{"BREW", "/leader", 405, "GET, HEAD"},
		{"BREW", "/nothing", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := ask(t, h, tt.method, tt.path)
			wantError(t, w, tt.status, "")
			if got := w.Header().Get("Allow"); got != tt.allow {
				t.Errorf("Allow: want %q, got %q", tt.allow, got)
			}
		})
	}
}

func TestLeaderForms(t *testing.T) {
	h := New(quiet(newFake()))
	const text, asJSON = "10.0.0.1:4000\n", `"since": "2001-09-09T01:46:40Z"`
	tests := []struct {
		name, target, accept string
		status               int
		part                 string
	}{
		{"no accept", "/leader", "", 200, text},
		{"curl", "/leader", "*/*", 200, text},
		{"browser", "/leader", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200, text},
		{"json", "/leader", "application/json", 200, asJSON},
		{"json among others", "/leader", "text/html, Application/JSON;q=0.5", 200, asJSON},
		{"json refused", "/leader", "application/json;q=0", 200, text},
		{"another kind of json", "/leader", "application/json-seq", 200, text},
		{"format", "/leader?format=json", "*/*", 200, asJSON},
		{"format before accept", "/leader?format=text", "application/json", 200, text},
		{"no such format", "/leader?format=xml", "", 400, "neither json nor text"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(t, h, "GET", tt.target, header("Accept", tt.accept))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.part) {
				t.Errorf("want %d with %q, got %d: %s", tt.status, tt.part, w.Code, w.Body)
			}
		})
	}
	got := fields(t, ask(t, h, "GET", "/leader?format=json"))
	want := map[string]any{"leader": "a", "addr": "10.0.0.1:4000", "term": 7.0, "since": "2001-09-09T01:46:40Z", "self": true}
	if !maps.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// TestLeaderFollowsTheAgent sees that a kept line is not kept for another
// leader, and that an address cannot break the line.
func TestLeaderFollowsTheAgent(t *testing.T) {
	f := newFake()
	h := New(quiet(f))
	for addr, want := range map[string]string{
		"10.0.0.1:4000": "10.0.0.1:4000\n", "[fe80::1]:4000": "[fe80::1]:4000\n", "x\n<b>\x1b:1": "x\uFFFD<b>\uFFFD:1\n",
	} {
		f.leader.Addr = addr
		for range 2 {
			if got := ask(t, h, "GET", "/leader").Body.String(); got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		}
	}
}

// hostile is a name no member should have.
const hostile = "</script><script>alert(1)</script>\x00\x1b[2J\r\n\u2028\u202e\"\\\xff"

// TestHostileNames sees that names cannot get out of the JSON they are in.
func TestHostileNames(t *testing.T) {
	f := newFake()
	f.state.Name, f.state.Leader, f.state.Members = hostile, new(hostile), []string{hostile}
	f.members = []agent.MemberInfo{{Name: hostile, Addr: hostile, Role: hostile, Alive: true}}
	f.history = []agent.Leadership{{Leader: hostile, From: time.Unix(1, 0)}}
	f.ready.Reasons = []string{hostile}
	h := New(quiet(f))
	for _, path := range []string{"/state", "/members", "/history", "/ready", "/diag", "/%3Cscript%3E"} {
		body := ask(t, h, "GET", path).Body.Bytes()
		if !json.Valid(body) || !harmless(body) {
			t.Errorf("%s is not safe: %q", path, body)
		}
	}
}

// harmless reports whether a body could act on neither browser nor terminal.
func harmless(body []byte) bool {
	return utf8.Valid(body) && !strings.ContainsAny(string(body), "<>\x00\x1b\r\u2028")
}

// panicking is an agent with a fault.
type panicking struct{ *fake }

func (panicking) State() agent.State { panic("a fault") }

func TestPanicIsToldAndAnswered(t *testing.T) {
	var log strings.Builder
	h := New(Config{Agent: panicking{newFake()}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	wantError(t, ask(t, h, "GET", "/state"), http.StatusInternalServerError, "fault")
	if !strings.Contains(log.String(), "a fault") || !strings.Contains(log.String(), "api_test.go") {
		t.Errorf("the log does not tell of the fault and where: %s", log.String())
	}
}

func TestNewWithoutAgentPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("want a panic")
		}
	}()
	New(Config{})
}
