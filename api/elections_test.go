package api

import (
	"net/http"
	"strings"
	"testing"

	"doyen/agent"
)

// With ?election= a call speaks of that election, and changes that one alone.
func TestCallsSpeakOfTheElectionTheyName(t *testing.T) {
	web := newFake()
	web.isLeader, web.leader = false, &agent.Leader{Leader: "b", Addr: "10.0.0.2:4000", Term: 9}
	group := newFake()
	c := quiet(group)
	c.Election = func(name string) Election {
		if name == "web" {
			return web
		}
		return nil
	}
	h := New(c)
	if got := ask(t, h, "GET", "/leader?election=web").Body.String(); got != "10.0.0.2:4000\n" {
		t.Errorf("leader of web: got %q", got)
	}
	for target, want := range map[string]int{
		"/is-leader": http.StatusOK, "/is-leader?election=group": http.StatusOK, "/is-leader?election=web": http.StatusServiceUnavailable,
		"/members?election=web": http.StatusOK, "/history?election=web": http.StatusOK, "/ready?election=web": http.StatusOK,
	} {
		if got := ask(t, h, "GET", target).Code; got != want {
			t.Errorf("%s: want %d, got %d", target, want, got)
		}
	}
	web.state.Term = 9
	for _, path := range []string{"/state", "/status"} {
		got := fields(t, ask(t, h, "GET", path+"?election=web"))
		if all, ok := got["elections"].(map[string]any); got["term"] != 9.0 || !ok || all["group"] == nil {
			t.Errorf("%s of web: got %v", path, got)
		}
	}
	for _, path := range []string{"/state", "/diag"} {
		wantError(t, ask(t, h, "GET", path+"?election=mail"), http.StatusNotFound, "there is no election mail")
	}
	wantError(t, ask(t, h, "GET", "/leader?election=mail"), http.StatusNotFound, "there is group")
	metrics := scrape(t, group)
	if strings.Contains(metrics, `election="web"`) {
		t.Error("an election that the agent does not know is in the metrics")
	}
}
