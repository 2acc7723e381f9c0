package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"doyen/agent"
)

// content sets the body of a request.
func content(text string) func(*http.Request) {
	return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(text)) }
}

func TestStepDownFor(t *testing.T) {
	const notTheField = "the body is not JSON with the fields to and for"
	for _, test := range []struct {
		query, body string
		asked       string // of the agent; "": nothing
		problem     string
	}{
		{"", "", "step-down", ""},
		{"", " \n", "step-down", ""},
		{"", "{}", "step-down", ""},
		{"", `{"for":null}`, "step-down", ""},
		{"?other=1", "", "", "other: this call takes no such parameter"},
		{"?form=1h", "", "", "form: this call takes no such parameter"},
		{"?for=1h", "", "step-down for 1h0m0s", ""},
		{"?to=b", "", "hand-over to b for 0s", ""},
		{"", `{"to":"b","for":"1h"}`, "hand-over to b for 1h0m0s", ""},
		{"?to=b", `{"for":"1h"}`, "hand-over to b for 1h0m0s", ""},
		{"?to=", "", "", "to: it names no member"},
		{"?to=b&to=c", "", "", "to: it is given twice"},
		{"?for=1h30m", "{}", "step-down for 1h30m0s", ""},
		{"", `{"for": "720h"}`, "step-down for 720h0m0s", ""},
		{"?for=", "", "", `for: "" is not a duration`},
		{"?for=1", "", "", `for: "1" is not a duration such as 30m or 1h`},
		{"?for=0s", "", "", "for: 0s is not longer than zero"},
		{"?for=-1h", "", "", "for: -1h0m0s is not longer than zero"},
		{"?for=720h1s", "", "", "for: 720h0m1s is longer than 30 days"},
		{"?for=9999999h", "", "", `for: "9999999h" is not a duration`},
		{"?for=1h&for=2h", "", "", "for: it is given twice"},
		{"?for=1h", `{"for":"1h"}`, "", "for: it is given twice"},
		{"", `{"for":"soon"}`, "", `for: "soon" is not a duration`},
		{"", `{"for":"\u001b[2J"}`, "", "for: "},
		{"", `{"for":3600}`, "", notTheField},
		{"", `{"fro":"1h"}`, "", notTheField},
		{"", `{"for":"1h"} x`, "", notTheField},
		{"", `{"for":"1h"}]`, "", notTheField},
		{"", "for=1h", "", notTheField},
	} {
		f, asked := newFake(), ""
		f.change = func(_ context.Context, what string) (agent.Result, error) { asked = what; return agent.Result{}, nil }
		w := ask(t, New(quiet(f)), "POST", "/step-down"+test.query, content(test.body))
		if asked != test.asked {
			t.Errorf("%q %q: want the agent asked to %q, got %q", test.query, test.body, test.asked, asked)
		}
		if test.problem != "" {
			wantError(t, w, http.StatusBadRequest, test.problem)
		} else if w.Code != http.StatusOK {
			t.Errorf("%q %q: want 200, got %d: %s", test.query, test.body, w.Code, w.Body)
		}
	}
}

// What the member was asked and did not do is in its log with the reason, beside the line
// that it was asked: a reader of the log did not see the answer.
func TestRefusalIsLogged(t *testing.T) {
	var text strings.Builder
	f := newFake()
	f.change = func(context.Context, string) (agent.Result, error) {
		return agent.Result{}, fmt.Errorf("%w: no member is called x", agent.ErrRefused)
	}
	c := quiet(f)
	c.Log = slog.New(slog.NewTextHandler(&text, nil))
	ask(t, New(c), "POST", "/step-down?to=x")
	for _, want := range []string{"INFO msg=\"asked to step down\" by=", "INFO msg=\"refused to step down\" by=", "why=\"refused: no member is called x\""} {
		if strings.Count(text.String(), want) != 1 {
			t.Errorf("want one line with %s, got\n%s", want, &text)
		}
	}
}

// A change that is done and not stored has not failed.
func TestChangeThatIsNotStoredIsLogged(t *testing.T) {
	var text strings.Builder
	f := newFake()
	f.change = func(context.Context, string) (agent.Result, error) {
		return agent.Result{}, fmt.Errorf("%w: no space", agent.ErrNotStored)
	}
	c := quiet(f)
	c.Log = slog.New(slog.NewTextHandler(&text, nil))
	ask(t, New(c), "POST", "/step-down?for=1h")
	want := "WARN msg=\"a requested change is not stored\" err=\"it is done, but a restart would forget it: no space\""
	if !strings.Contains(text.String(), want) || strings.Contains(text.String(), "failed") {
		t.Errorf("want a line with %s and none of a failure, got\n%s", want, &text)
	}
}
