package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"doyen/agent"
)

const (
	// changeTimeout limits the wait for a hand-over, whose release hook may
	// take as long as --hook-timeout allows.
	changeTimeout = 10 * time.Minute
	// maxBody limits the body of a call.
	maxBody = 4 << 10
)

// A deed is what a call makes the agent do.
type deed func(context.Context) (agent.Result, error)

// bare is for calls that take no parameters but the election: a body would be passed
// over, with what it asks for.
func bare(do func(Election) deed) func(Election, *http.Request, []byte) (deed, error) {
	return func(e Election, r *http.Request, body []byte) (deed, error) {
		if body = bytes.TrimSpace(body); len(body) > 0 && string(body) != "{}" {
			return nil, errors.New("this call takes no body; an election is named in the query, as in ?election=web")
		}
		return do(e), takesOnly(r)
	}
}

// takesOnly refuses a parameter of the query that is neither named nor the election:
// passed over, a mistyped one would have the call do something else.
func takesOnly(r *http.Request, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		if name != "election" && !slices.Contains(names, name) {
			return fmt.Errorf("%s: this call takes no such parameter", name)
		}
	}
	return nil
}

// whole is for calls about the member, and not about one of its elections.
func whole(read func(Election, *http.Request, []byte) (deed, error)) func(Election, *http.Request, []byte) (deed, error) {
	return func(e Election, r *http.Request, body []byte) (deed, error) {
		if name := electionName(r.URL.Query()); name != groupElection {
			return nil, errors.New("election: this call is about the member, and not about one election")
		}
		return read(e, r, body)
	}
}

// change makes the handler of a call that changes something. what completes
// "asked to …" in the log; read finds out from request and body what to do in the
// election that the call names, and its error names the field that is wrong.
func (a *api) change(what string, read func(Election, *http.Request, []byte) (deed, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.permit(w, r) {
			return
		}
		// The body is read before the deadlines move, so that a client which
		// never sends it cannot hold the connection for as long as a hand-over.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			a.fail(w, http.StatusBadRequest, "the body is too long or did not arrive; this call needs none")
			return
		}
		election, ok := a.of(w, r)
		if !ok {
			return
		}
		do, err := read(election, r, body)
		if err != nil {
			a.fail(w, http.StatusBadRequest, printable(err.Error(), maxText))
			return
		}
		attrs := []any{"by", r.RemoteAddr}
		if name := electionName(r.URL.Query()); name != groupElection {
			attrs = append(attrs, "election", name)
		}
		a.log.Info("asked to "+what, attrs...)
		patience(w, changeTimeout)
		ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
		defer cancel()
		if err := a.result(w, do, ctx); errors.Is(err, agent.ErrRefused) {
			a.log.Info("refused to "+what, append(attrs, "why", printable(err.Error(), maxText))...)
		}
	}
}

// result carries a change out, answers how it went, and returns its error.
func (a *api) result(w http.ResponseWriter, do deed, ctx context.Context) error {
	result, err := do(ctx)
	switch {
	case err == nil:
		result.OK = true
		a.json(w, http.StatusOK, result)
	case errors.Is(err, agent.ErrRefused):
		a.fail(w, http.StatusConflict, printable(err.Error(), maxText))
	case ctx.Err() != nil:
		a.fail(w, http.StatusGatewayTimeout, "no end was seen in time; it may still be under way, GET /state shows it")
	case errors.As(err, new(badField)):
		a.fail(w, http.StatusBadRequest, printable(err.Error(), maxText))
	case errors.Is(err, agent.ErrNotStored):
		a.log.Warn("a requested change is not stored", "err", err)
		a.fail(w, http.StatusInternalServerError, printable(err.Error(), maxText))
	default:
		a.log.Error("a requested change failed", "err", err)
		a.fail(w, http.StatusInternalServerError, printable(err.Error(), maxText))
	}
	return err
}

// permit answers a call that is refused; it reports whether the call may go on.
func (a *api) permit(w http.ResponseWriter, r *http.Request) bool {
	status, why, sentence := a.refuse(r)
	if status == 0 {
		return true
	}
	a.refused.count(why)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="doyen"`)
	}
	a.fail(w, status, sentence)
	return false
}

// refuse says whether a call that changes something is refused: with which
// status, counted as what, and why in a sentence. A zero status is none.
func (a *api) refuse(r *http.Request) (status int, why refusal, sentence string) {
	if err := a.origins.Check(r); err != nil {
		return http.StatusForbidden, crossOrigin, "a page of another origin may not call this"
	}
	if a.bearsToken(r) {
		return 0, 0, ""
	}
	switch {
	case !fromLoopback(r) && a.token.Load() == nil:
		return http.StatusUnauthorized, noToken, "this call is taken from this host's loopback only, as no --api-token-file is set"
	case !fromLoopback(r):
		return http.StatusUnauthorized, noToken, "this call needs the token, as Authorization: Bearer"
	case !a.namesUs(r.Host):
		return http.StatusForbidden, foreignHost, "the Host header is neither an address, nor localhost, nor this member; a browser may have been led here"
	}
	return 0, 0, ""
}

// setToken keeps the hash of a token alone, so that no dump of the memory of
// this package holds the token itself.
func (a *api) setToken(token []byte) {
	if len(token) == 0 {
		a.token.Store(nil)
		return
	}
	sum := sha256.Sum256(token)
	a.token.Store(&sum)
}

// bearsToken compares hashes, so that neither content nor length of the token
// can be learned from how long the answer takes.
func (a *api) bearsToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want := a.token.Load()
	if want == nil || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

// fromLoopback judges by the connection alone. Headers that proxies add can
// only take the privilege away.
func fromLoopback(r *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().IsLoopback()
}

// namesUs says whether a Host header can only have been meant for this member.
// Without it, a page whose name its owner resolves to 127.0.0.1 would be of
// this origin to the browser that runs it.
func (a *api) namesUs(hostport string) bool {
	host := hostOf(hostport)
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	s := a.agent.State()
	return strings.EqualFold(host, hostOf(s.Addr)) || strings.EqualFold(host, hostOf(s.Name))
}

// hostOf returns the host of host, host:port or [v6]:port.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
