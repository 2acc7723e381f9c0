package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// fake is an Agent whose answers are its fields. Fields are set before it is
// used and not changed after.
type fake struct {
	state    agent.State
	leader   *agent.Leader
	lease    agent.Lease
	isLeader bool
	members  []agent.MemberInfo
	history  []agent.Leadership
	ready    agent.Readiness
	survey   func(context.Context) map[string]agent.Answer
	events   func(context.Context) <-chan agent.Event
	lead     func(context.Context, func(context.Context) error) error
	change   func(context.Context, string) (agent.Result, error)
	live     error
	joined   error
	counters agent.Counters
}

func (f *fake) State() agent.State { return f.state }

func (f *fake) Leader() (agent.Leader, bool) {
	if f.leader == nil {
		return agent.Leader{}, false
	}
	return *f.leader, true
}

func (f *fake) Lease() agent.Lease          { return f.lease }
func (f *fake) IsLeader() bool              { return f.isLeader }
func (f *fake) Members() []agent.MemberInfo { return f.members }
func (f *fake) History() []agent.Leadership { return f.history }
func (f *fake) Ready() agent.Readiness      { return f.ready }
func (f *fake) Live(time.Duration) error    { return f.live }
func (f *fake) Joined() error               { return f.joined }
func (f *fake) Counters() agent.Counters    { return f.counters }
func (f *fake) Elections() map[string]agent.ElectionInfo {
	return map[string]agent.ElectionInfo{"group": {Term: 7, Candidates: []string{"a", "b"}, Addresses: []agent.AddressState{}}}
}

func (f *fake) Survey(ctx context.Context) map[string]agent.Answer { return f.survey(ctx) }

func (f *fake) Subscribe(ctx context.Context) <-chan agent.Event { return f.events(ctx) }

func (f *fake) Hold(ctx context.Context, g func(context.Context) error) error { return f.lead(ctx, g) }

func (f *fake) StepDown(ctx context.Context) (agent.Result, error) { return f.change(ctx, "step-down") }
func (f *fake) Resume(ctx context.Context) (agent.Result, error)   { return f.change(ctx, "resume") }
func (f *fake) StandAside(ctx context.Context, d time.Duration) (agent.Result, error) {
	return f.change(ctx, "step-down for "+d.String())
}
func (f *fake) HandOver(ctx context.Context, to string, d time.Duration) (agent.Result, error) {
	return f.change(ctx, fmt.Sprintf("hand-over to %s for %v", to, d))
}
func (f *fake) Join(ctx context.Context, addr string) (agent.Result, error) {
	return f.change(ctx, "join "+addr)
}
func (f *fake) Leave(ctx context.Context) (agent.Result, error) { return f.change(ctx, "leave") }
func (f *fake) Elect(ctx context.Context) (agent.Result, error) { return f.change(ctx, "election") }

// newFake is the member a of a healthy group a, b, c, of which a leads.
func newFake() *fake {
	return &fake{
		state:    healthy("a"),
		leader:   &agent.Leader{Leader: "a", Addr: "10.0.0.1:4000", Term: 7, Since: time.Unix(1e9, 0), Self: true},
		lease:    agent.Lease{Leader: new("a"), Term: 7, IsLeader: true, Phase: "holding", LeftMS: 800, OfMS: 1000},
		isLeader: true,
		members: []agent.MemberInfo{
			{Name: "a", Addr: "10.0.0.1:4000", Role: "candidate", Rank: 1, Alive: true, Eligible: true},
			{Name: "b", Addr: "10.0.0.2:4000", Role: "candidate", Rank: 2, Alive: true, Eligible: true},
			{Name: "c", Addr: "10.0.0.3:4000", Role: "witness", Rank: 3, Alive: true, Eligible: true},
		},
		ready: agent.Readiness{Ready: true, WouldLead: new("b")},
		lead:  func(ctx context.Context, g func(context.Context) error) error { return g(ctx) },
		survey: func(context.Context) map[string]agent.Answer {
			return map[string]agent.Answer{"a": says(healthy("a")), "b": says(healthy("b")), "c": says(healthy("c"))}
		},
		change: func(context.Context, string) (agent.Result, error) { return agent.Result{Leader: "b", Term: 8}, nil },
	}
}

// healthy is the state of one of a, b and c while a leads term 7.
func healthy(name string) agent.State {
	s := agent.State{
		Name: name, Addr: name + ":4000", Members: []string{"a", "b", "c"}, Leader: new("a"), Term: 7,
		Role: "candidate", Rule: "seniority", Mode: "available", Version: "1.0", Phase: "following",
		Eligible: true, WallTime: unix(time.Unix(1_700_000_000, 0)), Findings: []agent.Finding{}, Addresses: []agent.AddressState{},
	}
	if name == "a" {
		s.IsLeader, s.Phase = true, "holding"
	}
	return s
}

// says is the answer of a member whose state that is, now.
func says(s agent.State) agent.Answer {
	s.WallTime = unix(time.Now())
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return agent.Answer{State: raw, UDP: true}
}

var errQuiet = errors.New("no answer within 2s")

// quiet is a Config for tests, which tell what they need by themselves.
func quiet(f *fake) Config {
	return Config{Agent: f, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// ask sends one request to a handler, from loopback unless set otherwise.
func ask(t *testing.T, h http.Handler, method, target string, set ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(""))
	r.RemoteAddr = "127.0.0.1:55555"
	r.Host = "127.0.0.1:4000"
	for _, f := range set {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// from sets where a request comes from.
func from(addr string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = addr }
}

// header sets a header of a request.
func header(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

// host sets the Host header.
func host(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }

// fields parses a JSON object.
func fields(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("the answer is no JSON object: %v\n%s", err, w.Body)
	}
	return v
}

// wantError checks that an answer is an error as the contract has it.
func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, part string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status: want %d, got %d: %s", status, w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type: want application/json, got %q", got)
	}
	if got := fmt.Sprint(fields(t, w)["error"]); !strings.Contains(got, part) {
		t.Errorf("error: want one with %q, got %q", part, got)
	}
}
