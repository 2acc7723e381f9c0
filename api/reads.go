package api

import (
	"net/http"
	"time"
)

// LiveLimit is how long the election loop may take for one turn before /livez
// calls it stuck: many times any of its timers, and short enough for a
// supervisor.
const LiveLimit = 5 * time.Second

func (a *api) state(w http.ResponseWriter, r *http.Request) {
	if e, ok := a.of(w, r); ok {
		s := e.State()
		s.Elections = a.agent.Elections()
		a.json(w, http.StatusOK, s)
	}
}

func (a *api) members(w http.ResponseWriter, r *http.Request) {
	if e, ok := a.of(w, r); ok {
		a.json(w, http.StatusOK, array(e.Members()))
	}
}

func (a *api) history(w http.ResponseWriter, r *http.Request) {
	if e, ok := a.of(w, r); ok {
		a.json(w, http.StatusOK, array(e.History()))
	}
}

func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	e, ok := a.of(w, r)
	if !ok {
		return
	}
	answer := e.Ready()
	answer.Reasons = array(answer.Reasons)
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	a.json(w, status, answer)
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
