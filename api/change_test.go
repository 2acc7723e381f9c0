package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"doyen/agent"
)

// TestWhoMayChange tries every way to be let in or kept out.
func TestWhoMayChange(t *testing.T) {
	const remote = "10.0.0.9:1234"
	bearer := func(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }
	tests := []struct {
		name   string
		token  string
		set    []func(*http.Request)
		status int
		why    refusal
	}{
		{"loopback", "", nil, 200, 0},
		{"loopback, another of its addresses", "", []func(*http.Request){from("127.9.9.9:1")}, 200, 0},
		{"loopback by v6", "", []func(*http.Request){from("[::1]:1"), host("[::1]:4000")}, 200, 0},
		{"loopback by v4 in v6", "", []func(*http.Request){from("[::ffff:127.0.0.1]:1")}, 200, 0},
		{"localhost", "", []func(*http.Request){host("localhost:4000")}, 200, 0},
		{"its own name", "", []func(*http.Request){host("A:4000")}, 200, 0},
		{"no Host header", "", []func(*http.Request){host("")}, 200, 0},
		{"loopback although there is a token", "secret", nil, 200, 0},
		{"remote, no token set", "", []func(*http.Request){from(remote)}, 401, noToken},
		{"remote, no token set, empty token sent", "", []func(*http.Request){from(remote), bearer("")}, 401, noToken},
		{"remote without token", "secret", []func(*http.Request){from(remote)}, 401, noToken},
		{"remote with token", "secret", []func(*http.Request){from(remote), bearer("secret"), host("node1.example:4000")}, 200, 0},
		{"scheme in small letters", "secret", []func(*http.Request){from(remote), header("Authorization", "bearer secret")}, 200, 0},
		{"remote with a wrong token", "secret", []func(*http.Request){from(remote), bearer("secre")}, 401, noToken},
		{"remote with another scheme", "secret", []func(*http.Request){from(remote), header("Authorization", "Basic secret")}, 401, noToken},
		{"remote that says it is local", "secret", []func(*http.Request){from(remote), header("X-Forwarded-For", "127.0.0.1")}, 401, noToken},
		{"through a local proxy", "secret", []func(*http.Request){header("X-Forwarded-For", "127.0.0.1")}, 401, noToken},
		{"no address", "", []func(*http.Request){from("@")}, 401, noToken},
		{"DNS rebinding", "", []func(*http.Request){host("evil.example:4000"), header("Origin", "http://evil.example:4000"),
			header("Sec-Fetch-Site", "same-origin")}, 403, foreignHost},
		{"looks like localhost", "", []func(*http.Request){host("localhost.evil.example")}, 403, foreignHost},
		{"cross-origin", "", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403, crossOrigin},
		{"cross-origin, old browser", "", []func(*http.Request){header("Origin", "http://evil.example")}, 403, crossOrigin},
		{"cross-origin with the token", "secret", []func(*http.Request){header("Sec-Fetch-Site", "same-site"), bearer("secret")}, 403, crossOrigin},
		{"same origin", "", []func(*http.Request){header("Origin", "http://127.0.0.1:4000")}, 200, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, called := newFake(), 0
			f.change = func(context.Context, string) (agent.Result, error) { called++; return agent.Result{}, nil }
			c := quiet(f)
			c.Token = []byte(tt.token)
			a := newAPI(c)
			w := ask(t, a, "POST", "/step-down", tt.set...)
			if tt.status == http.StatusOK {
				if w.Code != http.StatusOK || called != 1 || fields(t, w)["ok"] != true {
					t.Fatalf("want it carried out once, got %d, %d times: %s", w.Code, called, w.Body)
				}
				return
			}
			wantError(t, w, tt.status, "")
			if called != 0 {
				t.Errorf("it was refused and carried out")
			}
			if got := a.refused[tt.why].Load(); got != 1 {
				t.Errorf("refused as %v: want 1, got %d", tt.why, got)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate of a %d: %q", tt.status, challenge)
			}
		})
	}
}

// No call that changes something is taken from another host without the token, or from
// a page of another origin.
func TestEveryChangeNeedsPermission(t *testing.T) {
	f, s, done := newFake(), &fakeStore{}, 0
	f.change = func(context.Context, string) (agent.Result, error) { done++; return agent.Result{}, nil }
	f.lead = func(context.Context, func(context.Context) error) error { done++; return agent.ErrLeadershipOver }
	c := quiet(f)
	c.Token, c.Store = []byte("secret"), s
	a := newAPI(c)
	for _, call := range a.calls {
		if call.Method == "GET" || call.Method == "OPTIONS" || call.Path == "/newLeaderPort" { // which is always refused
			continue
		}
		path := strings.Replace(call.Path, "{key}", "a", 1)
		for status, set := range map[int]func(*http.Request){
			http.StatusUnauthorized: from("10.0.0.9:1234"), http.StatusForbidden: header("Sec-Fetch-Site", "cross-site"),
		} {
			if w := ask(t, a, call.Method, path, set); w.Code != status {
				t.Errorf("%s %s: want %d, got %d: %s", call.Method, path, status, w.Code, w.Body)
			}
		}
	}
	if done+len(s.did) != 0 {
		t.Errorf("%d changes and %d of the store were carried out, want none", done, len(s.did))
	}
}

// No call is carried out whose query is not wholly understood.
func TestEveryCallRefusesAMalformedQuery(t *testing.T) {
	f, s, done := newFake(), &fakeStore{}, 0
	f.change = func(context.Context, string) (agent.Result, error) { done++; return agent.Result{}, nil }
	f.lead = func(context.Context, func(context.Context) error) error { done++; return agent.ErrLeadershipOver }
	c := quiet(f)
	c.Store = s
	a := newAPI(c)
	for _, call := range a.calls {
		path := strings.NewReplacer("{key}", "a", "{file}", "main.js").Replace(call.Path)
		for query, part := range map[string]string{
			"%zz": "malformed", "to=X%zz": "malformed", "election=mail%zz": "malformed", "to=b;for=1h": "semicolon",
			"a=1&b=2&a=1": "a: it is given twice", "election=": "election: it names none",
		} {
			w := ask(t, a, call.Method, path, func(r *http.Request) { r.URL.RawQuery = query })
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), part) {
				t.Errorf("%s %s?%s: want 400 with %q, got %d: %s", call.Method, path, query, part, w.Code, w.Body)
			}
		}
	}
	if done+len(s.did) != 0 {
		t.Errorf("%d changes and %d of the store were carried out, want none", done, len(s.did))
	}
}

func TestChangeAnswers(t *testing.T) {
	refused := fmt.Errorf("%w: there is no member to hand over to", agent.ErrRefused)
	tests := []struct {
		name   string
		result agent.Result
		err    error
		status int
		part   string
	}{
		{"done", agent.Result{Leader: "b", Term: 8}, nil, 200, `"leader": "b"`},
		{"nothing to do", agent.Result{Note: "nothing changes"}, nil, 200, `"note": "nothing changes"`},
		{"refused", agent.Result{}, refused, 409, "no member to hand over to"},
		{"not stored", agent.Result{}, fmt.Errorf("%w: no space", agent.ErrNotStored), 500, "it is done, but a restart would forget it: no space"},
		{"failed", agent.Result{}, errors.New("broken"), 500, "broken"},
	}
	for _, path := range []string{"/step-down", "/resume", "/leave/", "/election"} {
		for _, tt := range tests {
			t.Run(path+" "+tt.name, func(t *testing.T) {
				f, asked := newFake(), ""
				f.change = func(_ context.Context, what string) (agent.Result, error) { asked = what; return tt.result, tt.err }
				w := ask(t, New(quiet(f)), "POST", path)
				if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.part) {
					t.Errorf("want %d with %q, got %d: %s", tt.status, tt.part, w.Code, w.Body)
				}
				if want := strings.Trim(path, "/"); asked != want {
					t.Errorf("want %s asked of the agent, got %q", want, asked)
				}
			})
		}
	}
}

func TestChangeThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.change = func(ctx context.Context, _ string) (agent.Result, error) {
			<-ctx.Done()
			return agent.Result{}, ctx.Err()
		}
		wantError(t, ask(t, New(quiet(f)), "POST", "/step-down"), http.StatusGatewayTimeout, "under way")
	})
}

func TestChangeRefusesABody(t *testing.T) {
	f := newFake()
	f.change = func(context.Context, string) (agent.Result, error) {
		t.Error("carried out")
		return agent.Result{}, nil
	}
	c := quiet(f)
	c.Election = func(string) Election { return f }
	h := New(c)
	r := func(r *http.Request) { r.Body = body{strings.NewReader(strings.Repeat("x", maxBody+1))} }
	wantError(t, ask(t, h, "POST", "/leave", r), http.StatusBadRequest, "too long")
	for _, path := range []string{"/leave", "/resume"} {
		for _, text := range []string{"election=web", `{"election":"web"}`} {
			wantError(t, ask(t, h, "POST", path, content(text)), http.StatusBadRequest, "takes no body")
		}
	}
	for _, path := range []string{"/leave?for=1h", "/resume?for=1h", "/resume?election=web&for=1h", "/join?addr=a:1&for=1h", "/hold?for=1h"} {
		wantError(t, ask(t, h, "POST", path), http.StatusBadRequest, "for: this call takes no such parameter")
	}
	for _, path := range []string{"/leave?election=web", "/join?addr=a:1&election=web"} {
		wantError(t, ask(t, h, "POST", path), http.StatusBadRequest, "about the member")
	}
}

type body struct{ *strings.Reader }

func (body) Close() error { return nil }
