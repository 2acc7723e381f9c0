package hooks

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"doyen/examples/internal/trial"
)

// The webhook reports the leader as JSON, with any names, and does not report a start. A
// server that refuses or does not answer fails no event.
func TestWebhook(t *testing.T) {
	t.Parallel()
	trial.Needs(t, "curl")
	type told struct{ head, body string }
	calls := make(chan told, 10)
	var status atomic.Int32
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- told{r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type"), string(body)}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(event string, env ...string) string {
		t.Helper()
		cmd := exec.Command("./leader-webhook.sh", event)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "WEBHOOK_CONF=/nonexistent", "WEBHOOK_URL=" + server.URL + "/hook",
			"WEBHOOK_TOKEN_FILE=" + token, "DOYEN_NODE=a\"\\b\n:4000", "DOYEN_LEADER=a", "DOYEN_TERM=7", "DOYEN_REASON=elected", "no_proxy=*"}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", event, err, out)
		}
		return string(out)
	}
	run("acquire")
	select {
	case c := <-calls:
		var body struct {
			Event, Node, Leader, Reason, Election, Text string
			Term                                        uint64
		}
		if err := json.Unmarshal([]byte(c.body), &body); err != nil || body.Event != "acquire" || body.Node != `a"\b:4000` || body.Term != 7 ||
			body.Election != "group" || !strings.Contains(body.Text, "leads (elected, term 7)") || c.head != "POST /hook Bearer s3cret application/json" {
			t.Errorf("got %v from %+v", err, c)
		}
	default:
		t.Error("acquire was not reported")
	}
	run("check")
	run("change")
	run("release", "DOYEN_REASON=startup")
	if n := len(calls); n != 0 {
		t.Errorf("%d calls too many", n)
	}
	run("change", "WEBHOOK_EVENTS=change release", "DOYEN_ELECTION=web")
	if n := len(calls); n != 1 {
		t.Errorf("change was reported %d times, want once", n)
	} else if c := <-calls; !strings.Contains(c.body, `"text":"web: `) {
		t.Errorf("want the election in the sentence, got %s", c.body)
	}
	status.Store(http.StatusForbidden)
	if out := run("release"); !strings.Contains(out, "403") {
		t.Errorf("want the refusal reported, got %q", out)
	}
	server.Close()
	if out := run("release", "DOYEN_DEADLINE_MS=2000"); !strings.Contains(out, "was not told") {
		t.Errorf("want it reported, got %q", out)
	}
}
