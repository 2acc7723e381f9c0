package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeAgent answers each path with a status and a body.
type fakeAgent map[string]struct {
	status int
	body   string
}

func (f fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := f[r.Method+" "+r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

// command runs the program and returns what it printed and its exit code.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	for _, s := range settings {
		t.Setenv(s.env(), "")
	}
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"agent"}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

func serveFake(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func state(name, leader string, more ...string) string {
	l := "null"
	if leader != "" {
		l = fmt.Sprintf("%q", leader)
	}
	return fmt.Sprintf(`{"name":%q,"leader":%s,"is_leader":%v,"members":["a","b"],"term":7%s}`, name, l, name == leader, strings.Join(more, ""))
}

func diagBody(verdict string) string {
	return fmt.Sprintf(`{"state":%s,"member_states":{"a":%s,"b":{"error":"no answer"}},
		"verdict":{"status":%q,"leader":"a","findings":[{"what":"silent","member":"b","evidence":"no answer in 2s","advice":"look at b"}]}}`,
		state("a", "a"), state("a", "a"), verdict)
}

// Exit codes and texts of the commands are what scripts rely on.
func TestCommands(t *testing.T) {
	const leader = `{"leader":"a","addr":"192.0.2.1:4000","term":7,"since":"2026-01-02T03:04:05Z","self":true}`
	for _, test := range []struct {
		command string
		call    string
		status  int
		body    string
		code    int
		stdout  []string // parts of it
		stderr  string   // a part of it
	}{
		{"leader", "GET /leader", 200, leader, exitOK, []string{"192.0.2.1:4000\n"}, ""},
		{"leader", "GET /leader", 503, `{"error":"no leader"}`, exitNoLeader, nil, "no leader"},
		{"leader", "GET /leader", 500, `{"error":"a fault"}`, exitFailed, nil, "a fault"},
		{"leader", "GET /x", 200, "", exitFailed, nil, "is that an agent?"},
		{"leader", "GET /leader", 200, "hello", exitFailed, nil, "not what an agent says"},
		{"status", "GET /status", 200, state("a", "a", `,"lease_ms":600`), exitOK, []string{"a (itself)", "600 ms"}, ""},
		{"status", "GET /status", 200, state("a", "b"), exitOK, []string{"leader", "b"}, ""},
		{"status", "GET /status", 200, state("a", "", `,"electing":true`), exitNoLeader, []string{"none (electing)"}, ""},
		{"members", "GET /members", 200, `[{"name":"a","addr":"x","rank":1,"alive":true,"eligible":true,"leads":true},{"name":"b","rank":2,"role":"candidate","alive":true},{"name":"c","rank":3,"alive":true,"unfit":"stood-aside"},{"name":"d","rank":4},{"name":"e","rank":5,"role":"witness","alive":true}]`,
			exitOK, []string{"RANK", "a ", "leads\n", "b ", "alive, may not lead: not eligible\n", "alive, may not lead: stood-aside\n", "silent\n", "alive\n"}, ""},
		{"diag", "GET /diag", 200, diagBody("agreed"), exitOK, []string{"agreed: a leads", "no answer in 2s", "look at b"}, ""},
		{"diag", "GET /diag", 200, diagBody("degraded"), exitOK, []string{"degraded: a leads"}, ""},
		{"diag", "GET /diag", 200, diagBody("no-leader"), exitNoLeader, []string{"no-leader"}, ""},
		{"diag", "GET /diag", 200, diagBody("disagreed"), exitDisagree, []string{"disagreed"}, ""},
		{"diag", "GET /diag", 200, diagBody("two-leaders"), exitDisagree, []string{"two-leaders"}, ""},
		{"diag", "GET /diag", 200, diagBody("odd"), exitFailed, nil, `"odd" is unknown`},
		{"history", "GET /history", 200, `[{"term":7,"leader":"a","from":"2026-01-02T03:04:05Z","to":null,"reason":"elected","confirm_ms":1.5}]`,
			exitOK, []string{"elected", "1.5ms", "now"}, ""},
		{"ready", "GET /ready", 200, `{"ready":true,"would_lead":"b","worst_failover_ms":1400,"least_failover_ms":667,"usual_failover_ms":1010,"reasons":[]}`, exitOK, []string{"ready: b would lead", "cut off: after 667ms to 1.01s, at worst 1.4s"}, ""},
		{"ready", "GET /ready", 503, `{"ready":false,"would_lead":null,"reasons":["no other member"]}`, exitNoLeader, []string{"not ready\n  no other member"}, ""},
		{"step-down", "POST /step-down", 200, `{"ok":true,"leader":"b","term":8}`, exitOK, []string{"done; b leads (term 8)"}, ""},
		{"step-down", "POST /step-down", 409, `{"error":"refused: no member to hand over to"}`, exitFailed, nil, "no member to hand over to"},
		{"step-down", "POST /step-down", 200, `{"ok":true,"leader":"b","term":8,"until":"2026-01-02T03:04:05Z"}`, exitOK, []string{"done; b leads (term 8); no candidate until 2026-01-02 "}, ""},
		{"step-down", "POST /step-down", 200, `{"ok":true,"leader":"b","to":"b","term":8}`, exitOK, []string{"done; b leads (term 8)\n"}, ""},
		{"step-down", "POST /step-down", 200, `{"ok":true,"leader":"c","to":"b","term":8}`, exitFailed, []string{"done; c leads (term 8)\n"}, "agent: b does not lead; c does\n"},
		{"step-down", "POST /step-down", 200, `{"ok":true,"to":"b","term":7}`, exitNoLeader, []string{"done\n"}, "agent: no member is known to lead\n"},
		{"step-down", "POST /step-down", 200, `{"ok":true,"term":7}`, exitNoLeader, []string{"done\n"}, "agent: no member is known to lead\n"},
		{"step-down", "POST /step-down", 200, `{"ok":true,"leader":"a","self":true,"term":8}`, exitFailed, []string{"done; a leads (term 8)\n"}, "agent: this member leads again\n"},
		{"resume", "POST /resume", 200, `{"ok":true,"note":"back"}`, exitOK, []string{"back\n"}, ""},
		{"resume", "POST /resume", 200, `{"ok":true,"leader":"a","self":true,"term":8}`, exitOK, []string{"done; a leads (term 8)\n"}, ""},
		{"status", "GET /status", 200, state("a", "b", `,"health":{"healthy":true,"in_a_row":2}`), exitOK, []string{"healthy: success, 2 in a row"}, ""},
		{"status", "GET /status", 200, state("a", "b", `,"eligible":false,"maintenance_until":"2026-01-02T03:04:05Z"`), exitOK, []string{"stands aside", "until 2026-01-02 ", "eligible", "no\n"}, ""},
		{"elections", "GET /elections", 200, `{"web":{"leader":"b","term":3,"candidates":["b","a"],"placed":"a"},"group":{"leader":null,"term":2,"candidates":[]}}`,
			exitOK, []string{"group ", "none ", "web ", "b a"}, ""},
		{"is-leader", "GET /is-leader", 200, "OK", exitOK, []string{"this member leads\n"}, ""},
		{"is-leader", "GET /is-leader", 503, `{"error":"this member does not lead"}`, exitNoLeader, []string{"does not lead\n"}, ""},
		{"is-leader", "GET /x", 200, "", exitFailed, nil, "is that an agent?"},
		{"leave", "POST /leave", 200, `{"ok":true,"note":"left"}`, exitOK, []string{"left\n"}, ""},
		{"leave", "POST /leave", 401, `{"error":"needs the token"}`, exitFailed, nil, "needs the token"},
	} {
		fake := fakeAgent{test.call: {test.status, test.body}}
		addr := serveFake(t, fake)
		stdout, stderr, code := command(t, test.command, "--addr", addr)
		if code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%s on %d %s: got exit %d and %q, want exit %d and %q", test.command, test.status, test.body, code, stderr, test.code, test.stderr)
		}
		for _, want := range test.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s on %s: got %q, want %q in it", test.command, test.body, stdout, want)
			}
		}
		jsonOut, _, jsonCode := command(t, test.command, "--addr", addr, "--json")
		if jsonCode != code {
			t.Errorf("%s --json on %s: got exit %d, want %d", test.command, test.body, jsonCode, code)
		}
		if len(test.stdout) > 0 && !json.Valid([]byte(jsonOut)) {
			t.Errorf("%s --json: got %q, want JSON", test.command, jsonOut)
		}
	}
}

// A command that waits asks again until the answer is yes, or the time is over.
func TestWait(t *testing.T) {
	var asked atomic.Int32
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"not yet"}`)
			return
		}
		fmt.Fprint(w, "OK")
	}))
	if _, stderr, code := command(t, "is-leader", "--wait", "1m", "--addr", addr); code != exitOK || asked.Load() != 4 {
		t.Errorf("got exit %d (%s) after %d questions, want 0 after 4", code, stderr, asked.Load())
	}
	none := serveFake(t, fakeAgent{"GET /is-leader": {503, `{"error":"no"}`}})
	if _, _, code := command(t, "is-leader", "--wait", "300ms", "--addr", none); code != exitNoLeader {
		t.Errorf("waiting in vain: got exit %d, want %d", code, exitNoLeader)
	}
	if _, stderr, code := command(t, "leader", "--wait", "-1s", "--addr", none); code != exitUsage || !strings.Contains(stderr, "--wait") {
		t.Errorf("a negative wait: got exit %d, %q", code, stderr)
	}
}

// join names each seed in a call of its own.
func TestJoin(t *testing.T) {
	var asked []string
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.URL.Query().Get("addr"))
		fmt.Fprint(w, `{"ok":true,"note":"dialled"}`)
	}))
	if stdout, stderr, code := command(t, "join", "--addr", addr, "10.0.0.4:4000", "fd00::1"); code != exitOK || stdout != "dialled\ndialled\n" {
		t.Errorf("got exit %d, %q, %q", code, stdout, stderr)
	}
	if want := []string{"POST /join 10.0.0.4:4000", "POST /join fd00::1"}; !slices.Equal(asked, want) {
		t.Errorf("got %q, want %q", asked, want)
	}
	for said, args := range map[string][]string{
		"at least one seed": {"join"}, "--addr needs a value": {"join", "a", "--addr"}, "unknown flag --adr": {"join", "a", "--adr"},
	} {
		if _, stderr, code := command(t, args...); code != exitUsage || !strings.Contains(stderr, said) {
			t.Errorf("%q: got exit %d, %q", args, code, stderr)
		}
	}
	asked = nil
	if stdout, stderr, code := command(t, "join", "a", "--json", "b", "--addr", addr); code != exitOK || strings.Count(stdout, `{"ok":true`) != 2 || len(asked) != 2 {
		t.Errorf("flags after the seeds: got exit %d, %q, %q, asked %q", code, stdout, stderr, asked)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	silent := serveFake(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	rude := serveFake(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"leader", "--addr", free}, "agent: cannot reach " + free + ": connection refused: is the agent running?\n", exitFailed},
		{[]string{"watch", "--addr", free}, "is the agent running?\n", exitFailed},
		{[]string{"diag", "--addr", silent, "--timeout", "50ms"}, "agent: " + silent + " did not answer within 50ms\n", exitFailed},
		{[]string{"watch", "--addr", silent, "--timeout", "50ms"}, "agent: " + silent + " did not answer within 50ms\n", exitFailed},
		{[]string{"store", "watch", "--addr", silent, "--timeout", "50ms"}, "agent: " + silent + " did not answer within 50ms\n", exitFailed},
		{[]string{"store", "save", "-", "--addr", silent, "--json"}, "--json has no meaning", exitUsage},
		{[]string{"leader", "--addr", rude}, "closed the connection", exitFailed},
		{[]string{"leader", "--addr", "ftp://x/"}, "--addr", exitUsage},
		{[]string{"leader", "--addr", "::::"}, `agent: --addr: "::::" is not a host:port`, exitUsage},
		{[]string{"leader", "--addr", "a%zz"}, "--addr: ", exitUsage},
		{[]string{"leader", "--addr", ""}, "--addr: it is empty", exitUsage},
		{[]string{"step-down", "--addr", free, "--election", ""}, "--election: it is empty", exitUsage},
		{[]string{"step-down", "--addr", free, "--to", ""}, "--to: it names no member", exitUsage},
		{[]string{"leader", "--json", "true"}, `unknown argument "true"; the value of a flag that is true or false follows an =, as in --json=true`, exitUsage},
		{[]string{"validate", "--preempt", "false"}, `unknown argument "false"; the value of a flag that is true or false follows an =, as in --preempt=false`, exitUsage},
		{[]string{"leader", "--timeout", "-1s"}, "--timeout", exitUsage},
		{[]string{"leader", "--timeout", "x"}, "timeout", exitUsage},
		{[]string{"leader", "--adr", "x"}, "unknown flag --adr", exitUsage},
		{[]string{"leader", "a"}, `unknown argument "a"`, exitUsage},
		{[]string{"step-down", "--addr", free, "--for", "0s"}, "--for: 0s is not longer than zero", exitUsage},
		{[]string{"step-down", "--addr", free, "--for", "721h"}, "--for: 721h0m0s is longer than 30 days", exitUsage},
		{[]string{"step-down", "--for", "soon"}, "for", exitUsage},
		{[]string{"step-down", "1h"}, `unknown argument "1h"`, exitUsage},
		{[]string{"leave", "--api-token-file", "/nonexistent"}, "--api-token-file: open /nonexistent", exitUsage},
		{[]string{"--bind-port", "1", "leader"}, "--bind-port configures the agent", exitUsage},
		{[]string{"liader"}, `unknown command "liader"`, exitUsage},
		{[]string{"help", "liader"}, `unknown command "liader"`, exitUsage},
		{[]string{"leader", "--help", "now"}, `unknown command "now"`, exitUsage},
		{[]string{"completion", "tcsh"}, "bash, zsh or fish", exitUsage},
		{[]string{"run", "--rule", "x"}, "--rule", exitUsage},
		{[]string{"--rule", "x"}, "--rule", exitUsage},
		{[]string{"validate", "--rule", "x"}, "--rule", exitUsage},
		{[]string{"validate", "--api-token-file", "/nonexistent"}, "--api-token-file", exitUsage},
		{[]string{"validate", "--encrypt-key-file", "/nonexistent"}, "encrypt-key-file", exitUsage},
		{[]string{"validate", "--hook", "/nonexistent"}, "--hook: ", exitUsage},
		{[]string{"validate", "--health", "/nonexistent"}, "--health: ", exitUsage},
		{[]string{"validate", "--health", "client_test.go"}, "execut", exitUsage},
		{[]string{"validate", "--hook", "/"}, "--hook: / is", exitUsage},
	} {
		stdout, stderr, code := command(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 || stdout != "" {
			t.Errorf("agent %q: got exit %d, %q and %q, want exit %d and one line with %q", test.args, code, stdout, stderr, test.code, test.want)
		}
	}
}

// What other members say never reaches the terminal raw.
func TestHostileNames(t *testing.T) {
	addr := serveFake(t, fakeAgent{
		"GET /members": {200, `[{"name":"a\u001b[2J\u202e\n\tb","rank":1}]`},
		"GET /leader":  {200, `{"addr":"\u001b]0;x\u0007"}`},
	})
	for _, name := range []string{"members", "leader"} {
		stdout, _, _ := command(t, name, "--addr", addr)
		if strings.ContainsAny(stdout, "\x1b\x07\u202e\t") {
			t.Errorf("%s: got %q with control characters", name, stdout)
		}
	}
}

func TestClientAddr(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:4001": "127.0.0.1:4001",
		"host":           "host:4000",
		":4001":          "localhost:4001",
		"::1":            "[::1]:4000",
		"[::1]":          "[::1]:4000",
		"[::1]:4001":     "[::1]:4001",
		"a/b":            "",
		"host:http":      "",
		"u@host:1":       "",
		"::::":           "",
		"[::1%eth0]:1":   "[::1%eth0]:1",
		"a%62":           "",
		"a\x01b":         "",
		"bücher.example": "bücher.example:4000",
	} {
		got, err := clientAddr(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("clientAddr(%q): got %q and %v, want %q", in, got, err, want)
		}
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		fmt.Fprint(w, `{"ok":true}`)
	}))
	if _, stderr, code := command(t, "leave", "--addr", addr, "--api-token-file", file); code != exitOK {
		t.Fatalf("leave: got exit %d and %q", code, stderr)
	}
	if got, want := <-got, "Bearer secret"; got != want {
		t.Errorf("Authorization: got %q, want %q", got, want)
	}
}

// How long to stand aside for reaches the agent.
func TestStepDownFor(t *testing.T) {
	got := make(chan string, 1)
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.URL.String()
		fmt.Fprint(w, `{"ok":true,"leader":"b","to":"`+r.URL.Query().Get("to")+`"}`)
	}))
	for want, args := range map[string][]string{
		"/step-down":              nil,
		"/step-down?for=1h30m0s":  {"--for", "90m"},
		"/step-down?for=720h0m0s": {"--for=720h"},
		"/step-down?for=500ms":    {"--for", "0.5s"},
		"/step-down?to=b":         {"--to", "b"},
		"/step-down?for=1s&to=b":  {"--to=b", "--for=1s"},
		"/step-down?election=web": {"--election", "web"},
	} {
		if _, stderr, code := command(t, append([]string{"step-down", "--addr", addr}, args...)...); code != exitOK {
			t.Fatalf("step-down %q: got exit %d and %q", args, code, stderr)
		}
		if got := <-got; got != want {
			t.Errorf("step-down %q: got %s, want %s", args, got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	const stream = "retry: 2000\n\n" +
		"event: state\nid: 1\ndata: {\"time\":\"2026-01-02T03:04:05Z\",\"name\":\"a\",\"members\":[\"a\"],\"leader\":null,\"term\":1}\n\n" +
		": still here\n\n" +
		"event: leader\nid: 2\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"leader\":\"b\",\"previous\":null,\"term\":2,\"reason\":\"elected\"}\n\n" +
		"event: member\nid: 3\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"change\":\"join\",\"member\":{\"name\":\"c\"}}\n\n" +
		"event: election\nid: 4\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"what\":\"objected\",\"peer\":\"c\",\"term\":3,\"reason\":\"stale-term\"}\n\n" +
		"event: hook\nid: 5\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"event\":\"acquire\",\"exit\":1,\"duration_ms\":12}\n\n" +
		"event: maintenance\nid: 6\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"until\":null}\n\n" +
		"event: health\nid: 7\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"healthy\":false,\"error\":\"exit status 1\",\"in_a_row\":3}\n\n" +
		"event: new\nid: 8\ndata: {\"time\":\"2026-01-02T03:04:06Z\",\"x\":1}\n\n"
	// The stream ends after a first time; what is asked for again never does.
	watched := func(args ...string) (stdout, stderr string) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		calls := 0
		addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				fmt.Fprint(w, stream)
				return
			}
			stop()
			<-r.Context().Done()
		}))
		var out, errs bytes.Buffer
		code := run(ctx, append([]string{"agent", "watch", "--addr", addr}, args...), &out, &errs)
		if want := addr + " ended the stream: its agent has stopped, or is out of reach; asking again every 2s\nagent: interrupted\n"; code != exitFailed || errs.String() != "agent: "+want {
			t.Errorf("watch of a stream that ends: got exit %d and %q, want %q", code, errs.String(), want)
		}
		return out.String(), errs.String()
	}
	stdout, _ := watched()
	for _, want := range []string{"a knows 1 members; leader: none (term 1)", "b leads (term 2); before: none; reason: elected",
		"join: c", "objected, c, term 3, stale-term", "acquire: exit 1 after 12ms", "stands aside no longer", "sick: exit status 1, 3 in a row", `"x":1`} {
		if !strings.Contains(stdout, want) {
			t.Errorf("watch: got %q, want %q in it", stdout, want)
		}
	}
	if got := strings.Count(stdout, "\n"); got != 8 {
		t.Errorf("watch: got %d lines, want 8", got)
	}
	stdout, _ = watched("--json")
	for line := range strings.Lines(stdout) {
		var e struct {
			Event string
			Data  struct{ Time time.Time }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event == "" || e.Data.Time.IsZero() {
			t.Errorf("watch --json: got %q (%v), want an event with its time", line, err)
		}
	}
}

// A watch of the store goes on after the last id that it has read, also if that came
// without a change; not after that of a change which is cut short, as when the agent dies
// while it writes. It ends if what it reads is no change.
func TestStoreWatchAsksFromTheLastID(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	streams := []string{
		"retry: 2000\n\nid: 7\n\n: still here\n\n",
		"id: 7\n\nevent: store\nid: 9\ndata: {\"term\":3,\"index\":9,\"op\":\"put\",\"key\":\"a\",\"size\":1}\n\n",
		"id: 9\n\nevent: store\nid: 10\n",
		"id: 9\n\nevent: store\nid: 10\ndata: {\"term\":3,\"ind",
	}
	var asked []string
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		if n := len(asked) - 1; n < len(streams) {
			fmt.Fprint(w, streams[n])
			return
		}
		stop()
		<-r.Context().Done()
	}))
	var out, errs bytes.Buffer
	code := run(ctx, []string{"agent", "store", "watch", "--addr", addr}, &out, &errs)
	if got := strings.Join(asked, " "); code != exitFailed || got != " 7 9 9 9" || out.String() != "(3, 9) put a  1 byte\n" {
		t.Errorf("got exit %d, asked after %q, printed %q and said %q", code, got, out.String(), errs.String())
	}
	garbage := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: store\ndata: x\n\n") }))
	if stdout, stderr, code := command(t, "store", "watch", "--addr", garbage); code != exitFailed || stdout != "" || !strings.HasPrefix(stderr, "agent: watch: ") {
		t.Errorf("garbage: got exit %d, %q and %q", code, stdout, stderr)
	}
}

func TestLocalCommands(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"version"}, []string{"agent ", "go1."}},
		{[]string{"version", "--json"}, []string{`"version":`}},
		{[]string{"completion", "bash"}, []string{"complete ", "--generate-bash-completion"}},
		{[]string{"completion", "zsh"}, []string{"#compdef agent", "--generate-bash-completion"}},
		{[]string{"completion", "fish"}, []string{"complete -c agent", "step-down", "bind-port"}},
		{[]string{"validate", "--health", "/bin/true"}, []string{"the configuration is good", "\nthe health check can be run"}},
		{[]string{"validate", "--hook", "/bin/sh", "--health", "/bin/true"}, []string{"the hook and the health check can be run"}},
		{[]string{"validate", "--seeds", "a"}, []string{"the configuration is good", "worst failover with 2 candidates: 1.46s"}},
		{[]string{"help"}, []string{"--bind-port PORT", "default: 4000", "step-down", "DOYEN_"}},
		{[]string{"run", "--help"}, []string{"--bind-port PORT"}},
		{[]string{"leader", "--help"}, []string{"--addr HOST[:PORT]", "DOYEN_ADDR"}},
		{[]string{"store", "put", "--help"}, []string{"put KEY [VALUE|-]", "--fence TERM"}},
		{[]string{"store", "watch", "-h"}, []string{"watch [PREFIX]", "--from INDEX"}},
	} {
		stdout, stderr, code := command(t, test.args...)
		if code != exitOK || stderr != "" {
			t.Errorf("agent %q: got exit %d and %q", test.args, code, stderr)
		}
		for _, want := range test.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("agent %q: got %q, want %q in it", test.args, stdout, want)
			}
		}
	}
	first, _, _ := command(t, "keygen")
	second, _, _ := command(t, "keygen")
	if first == second || len(first) != 45 {
		t.Errorf("keygen: got %q and %q, want two different keys of 44 characters", first, second)
	}
}

// A key that keygen prints is one that the agent takes.
func TestKeygenValidates(t *testing.T) {
	key, _, _ := command(t, "keygen")
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := command(t, "validate", "--encrypt-key-file", file); code != exitOK {
		t.Errorf("validate with a new key: got exit %d and %q", code, stderr)
	}
}

// A condition of a change of the store is sent when it is given, 0 too: without it
// the change would be made. What cannot be meant is refused.
func TestStoreConditions(t *testing.T) {
	var asked []string
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" if="+r.Header.Get("If-Match")+" fence="+r.Header.Get("Doyen-Fence"))
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"refused"}`)
	}))
	for _, args := range [][]string{
		{"put", "--if", "0", "--addr", addr, "k", "v"}, {"put", "--fence", "0", "--addr", addr, "k", "v"}, {"delete", "--if", "0", "--addr", addr, "k"},
	} {
		if _, _, code := command(t, append([]string{"store"}, args...)...); code != exitFailed {
			t.Errorf("store %q: got exit %d, want %d", args, code, exitFailed)
		}
	}
	if want := []string{`PUT /store/k if="0" fence=`, `PUT /store/k if= fence=0`, `DELETE /store/k if="0" fence=`}; !slices.Equal(asked, want) {
		t.Errorf("want %q, got %q", want, asked)
	}
	asked = nil
	for said, args := range map[string][]string{
		"--request":                                 {"put", "--request", "", "--addr", addr, "k", "v"},
		"does not end with a slash":                 {"put", "--addr", addr, "k/", "v"},
		"is not a whole number":                     {"put", "--fence", "abc", "--addr", addr, "k", "v"},
		`--if: "x" is not a whole num`:              {"put", "--if", "x", "--addr", addr, "k", "v"},
		"there is no --fence\n":                     {"put", "k", "v", "--fence-election", "web", "--addr", addr},
		"names no election":                         {"put", "k", "v", "--fence", "7", "--fence-election", "", "--addr", addr},
		"store get: its first argument is empty":    {"get", "", "--addr", addr},
		"store put: its first argument is empty":    {"put", "", "v", "--addr", addr},
		"store delete: its first argument is empty": {"delete", "", "--addr", addr},
		"store save: its first argument is empty":   {"save", "", "--addr", addr},
		"--addr needs a value":                      {"get", "k", "--addr"},
		"store get: --if is taken by":               {"get", "k", "--if", "3", "--addr", addr},
		"store get: --request is taken by":          {"get", "k", "--request", "x", "--addr", addr},
		"store list: --fence is taken by":           {"list", "--fence", "3", "--addr", addr},
		"store put: --from is taken by log, watch":  {"put", "k", "v", "--from", "3", "--addr", addr},
		"store put: --local is taken by":            {"put", "k", "v", "--local", "--addr", addr},
		"store create: --if is taken by":            {"create", "k", "v", "--if", "3", "--addr", addr},
		"store batch: --request is taken by":        {"batch", "--request", "x", "--addr", addr},
	} {
		if _, stderr, code := command(t, append([]string{"store"}, args...)...); code == exitOK || strings.HasPrefix(said, "store") && code != exitUsage || !strings.Contains(stderr, said) {
			t.Errorf("store %q: got exit %d and %q, want %q", args, code, stderr, said)
		}
	}
	if len(asked) > 0 {
		t.Errorf("what is refused was sent: %q", asked)
	}
}

// What the store prints: a size is told as one, and a copy goes to stdout as well.
func TestStorePrints(t *testing.T) {
	addr := serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("save"):
			fmt.Fprint(w, "copy")
		case r.URL.Query().Has("log"):
			fmt.Fprint(w, `[{"term":7,"index":94,"op":"put","key":"a","size":1},{"term":7,"index":95,"op":"append","key":"a","size":2,"error":"full"}]`)
		default:
			fmt.Fprint(w, `[{"key":"a","version":94,"size":1,"term":7,"index":94}]`)
		}
	}))
	for verb, want := range map[string]string{
		"log":    "(7, 94) put a  1 byte\n(7, 95) append a  2 bytes  refused: full\n",
		"list":   "a  version 94, 1 byte, term 7, index 94\n",
		"save -": "copy",
	} {
		if stdout, stderr, _ := command(t, append([]string{"store", "--addr", addr}, strings.Fields(verb)...)...); stdout != want {
			t.Errorf("store %s: want %q, got %q, %q", verb, want, stdout, stderr)
		}
	}
	if _, err := os.Stat("-"); err == nil {
		t.Error("store save - has written a file of that name")
	}
}
