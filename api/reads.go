package api

import (
	"net/http"
	"time"
)

// LiveLimit is how long the election loop may take for one turn before /livez
// calls it stuck: many times any of its timers, and short enough for a
// supervisor.
const LiveLimit = 5 * time.Second

func (a *api) state(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, a.agent.State())
}

func (a *api) members(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, array(a.agent.Members()))
}

func (a *api) history(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, array(a.agent.History()))
}

func (a *api) ready(w http.ResponseWriter, _ *http.Request) {
	r := a.agent.Ready()
	r.Reasons = array(r.Reasons)
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	a.json(w, status, r)
}

func (a *api) livez(w http.ResponseWriter, _ *http.Request) {
	a.health(w, a.agent.Live(LiveLimit))
}

func (a *api) readyz(w http.ResponseWriter, _ *http.Request) {
	a.health(w, a.agent.Joined())
}

// health answers a probe.
func (a *api) health(w http.ResponseWriter, err error) {
	if err != nil {
		a.fail(w, http.StatusServiceUnavailable, printable(err.Error(), maxText))
		return
	}
	text(w, "OK")
}

// array makes an empty list [] in JSON, never null.
func array[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
