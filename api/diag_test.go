package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

func TestDiagShowsEveryMember(t *testing.T) {
	f := newFake()
	future := strings.Replace(string(says(healthy("b")).State), "{", `{"new_key":{"x":1},`, 1)
	f.survey = func(context.Context) map[string]agent.Answer {
		return map[string]agent.Answer{
			"a": says(healthy("a")),
			"b": {State: json.RawMessage(future), UDP: true},
			"c": {Err: errQuiet},
		}
	}
	got := fields(t, ask(t, New(quiet(f)), "GET", "/diag/"))
	if name := got["state"].(map[string]any)["name"]; name != "a" {
		t.Errorf("state: want a's, got %v", name)
	}
	states := got["member_states"].(map[string]any)
	if len(states) != 3 || states["b"].(map[string]any)["new_key"] == nil {
		t.Errorf("want three states, with the fields they came with, got %v", states)
	}
	if e := states["c"].(map[string]any)["error"]; e != "no answer within 2s" {
		t.Errorf("want c's error, got %v", e)
	}
	verdict := got["verdict"].(map[string]any)
	if verdict["status"] != "degraded" || verdict["leader"] != "a" {
		t.Errorf("want degraded under a, got %v", verdict)
	}
	for _, finding := range verdict["findings"].([]any) {
		for _, key := range []string{"what", "member", "evidence", "advice"} {
			if _, ok := finding.(map[string]any)[key].(string); !ok {
				t.Errorf("finding %v has no %q", finding, key)
			}
		}
	}
}

// TestDiagLooksAtOneInstant has the state change between this member's own answer
// and the end of the survey: the answer shows what was answered.
func TestDiagLooksAtOneInstant(t *testing.T) {
	f := newFake()
	answered := healthy("a")
	f.state.Mode, f.state.Voters, f.state.Term = "quorum", []string{"a", "b", "c", "d"}, 8
	f.survey = func(context.Context) map[string]agent.Answer { return map[string]agent.Answer{"a": says(answered)} }
	got := fields(t, ask(t, New(quiet(f)), "GET", "/diag"))
	if term := got["state"].(map[string]any)["term"]; term != 7.0 {
		t.Errorf("state: want the answered one, of term 7, got term %v", term)
	}
	for _, finding := range got["verdict"].(map[string]any)["findings"].([]any) {
		if what := finding.(map[string]any)["what"]; what == "voter-missing" {
			t.Errorf("the verdict goes by a later state: %v", finding)
		}
	}
}

// TestDiagWithHostileAnswers sees that no answer of a member can spoil those of
// the others.
func TestDiagWithHostileAnswers(t *testing.T) {
	evil := healthy("evil")
	evil.Reason, evil.Findings = hostile, []agent.Finding{{What: hostile, Member: hostile, Evidence: hostile, Advice: hostile}}
	tests := []struct {
		name   string
		answer agent.Answer
		err    string // "": the state is shown
	}{
		{"no JSON", agent.Answer{State: []byte("<html>")}, "no state"},
		{"half", agent.Answer{State: []byte(`{"name":"evil"`)}, "no state"},
		{"null", agent.Answer{State: []byte("null")}, "no state"},
		{"an array", agent.Answer{State: []byte("[]")}, "no state"},
		{"empty", agent.Answer{}, "no state"},
		{"a number too large", agent.Answer{State: []byte(`{"name":"evil","term":1e99}`)}, "no state"},
		{"deep", agent.Answer{State: []byte(strings.Repeat("[", 100_000))}, "no state"},
		{"long", agent.Answer{State: []byte(`{"name":"` + strings.Repeat("x", maxState) + `"}`)}, "longer than"},
		{"another name", agent.Answer{State: says(healthy("b")).State}, `calls itself "b"`},
		{"an error with control characters", agent.Answer{Err: errors.New("x\x1b[31m")}, "x\uFFFD[31m"},
		{"hostile strings", says(evil), ""},
		{"invalid UTF-8", agent.Answer{State: []byte("{\"name\":\"evil\",\"reason\":\"\xff\xfe<\"}")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.survey = func(context.Context) map[string]agent.Answer {
				return map[string]agent.Answer{"a": says(healthy("a")), "evil": tt.answer}
			}
			w := ask(t, New(quiet(f)), "GET", "/diag")
			if body := w.Body.Bytes(); w.Code != 200 || !harmless(body) {
				t.Fatalf("not safe: %d %q", w.Code, body)
			}
			states := fields(t, w)["member_states"].(map[string]any)
			got, _ := states["evil"].(map[string]any)["error"].(string)
			if tt.err == "" && got != "" || !strings.Contains(got, tt.err) {
				t.Errorf("error: want one with %q, got %q", tt.err, got)
			}
		})
	}
}

func TestDiagTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.survey = func(ctx context.Context) map[string]agent.Answer {
			<-ctx.Done()
			return map[string]agent.Answer{"a": says(healthy("a"))}
		}
		h := New(quiet(f))
		for query, want := range map[string]time.Duration{"": 2 * time.Second, "?timeout=50ms": 50 * time.Millisecond, "?timeout=30s": 30 * time.Second} {
			began := time.Now()
			if w := ask(t, h, "GET", "/diag"+query); w.Code != http.StatusOK || time.Since(began) != want {
				t.Errorf("%q: want an answer after %v, got %d after %v", query, want, w.Code, time.Since(began))
			}
		}
		for _, query := range []string{"?timeout=2", "?timeout=0s", "?timeout=-1s", "?timeout=1h", "?timeout=%1b<b>"} {
			wantError(t, ask(t, h, "GET", "/diag"+query), http.StatusBadRequest, "no duration from 10ms to 30s, such as 2s")
		}
	})
}

// TestDiagIsLimited keeps one more than maxSurveys under way.
func TestDiagIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.survey = func(ctx context.Context) map[string]agent.Answer { <-ctx.Done(); return nil }
		a := newAPI(quiet(f))
		for range maxSurveys {
			go ask(t, a, "GET", "/diag")
		}
		synctest.Wait()
		wantError(t, ask(t, a, "GET", "/diag"), http.StatusServiceUnavailable, "limit")
		if got := a.refused[tooManySurveys].Load(); got != 1 {
			t.Errorf("counted: want 1, got %d", got)
		}
		time.Sleep(defaultSurvey)
		synctest.Wait()
		if w := ask(t, a, "GET", "/diag"); w.Code != http.StatusOK {
			t.Errorf("after the others have ended: want 200, got %d", w.Code)
		}
	})
}
