package api

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"doyen/agent"
)

// line is a leader's address as GET /leader writes it. The leader changes
// rarely and is asked for often, so the last one is kept.
type line struct {
	addr string
	text []byte
}

// leader answers who leads. It is the call that clients poll, so it does
// nothing per request that it can do per leader.
func (a *api) leader(w http.ResponseWriter, r *http.Request) {
	asJSON, err := wantsJSON(r)
	if err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	e, ok := a.of(w, r)
	if !ok {
		return
	}
	l, ok := e.Leader()
	switch {
	case !ok:
		a.fail(w, http.StatusServiceUnavailable, "no leader")
	case asJSON:
		a.leaderJSON(w, &l)
	default:
		setHeaders(w, textType)
		w.Write(a.leaderLine(l.Addr))
	}
}

func (a *api) leaderJSON(w http.ResponseWriter, l *agent.Leader) {
	utc := *l
	utc.Since = l.Since.UTC().Round(time.Millisecond)
	a.json(w, http.StatusOK, &utc)
}

// leaderLine returns the line for an address. An address comes from another
// member: one with characters that could split the line loses them.
func (a *api) leaderLine(addr string) []byte {
	if kept := a.line.Load(); kept != nil && kept.addr == addr {
		return kept.text
	}
	clean := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, addr)
	kept := &line{addr: addr, text: []byte(clean + "\n")}
	a.line.Store(kept)
	return kept.text
}

// isLeader is for load balancers: 200 only where the deadline word says so now.
func (a *api) isLeader(w http.ResponseWriter, r *http.Request) {
	e, ok := a.of(w, r)
	if !ok {
		return
	}
	if !e.IsLeader() {
		a.fail(w, http.StatusServiceUnavailable, "this member does not lead")
		return
	}
	text(w, "OK")
}

// options answers what a bare `option httpchk` of HAProxy asks, OPTIONS /, as
// GET /is-leader: such a check means "send the traffic here", not "the method is
// known".
func (a *api) options(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	a.isLeader(w, r)
}

func (a *api) ping(w http.ResponseWriter, _ *http.Request) { text(w, "OK") }
