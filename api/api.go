package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-chi/chi/v5"

	"doyen/agent"
)

// Config is what the API is made from.
type Config struct {
	// Agent answers; it is required.
	Agent Agent
	// Election returns one of the further elections by its name, or nil. Nil: those
	// of Agent if that is an *agent.Agent, else there are none.
	Election func(name string) Election
	// Store answers the calls of the replicated store; nil: it is off.
	Store Store
	// Token is what remote calls that change something must bear; empty: such
	// calls are taken from loopback only. Server.SetToken changes it.
	Token []byte
	// TLS, if any, is what NewServer answers connections with that begin with a
	// TLS handshake, on the same port; plain HTTP is then taken from loopback
	// only. GetCertificate, if set, tells the metrics when the certificate
	// expires. New uses it for nothing else.
	TLS *tls.Config
	// Log receives who changed something, and faults of the API itself; nil:
	// slog.Default().
	Log *slog.Logger
	// Done, when closed, ends the event streams, which would otherwise keep a
	// server from shutting down. NewServer sets it.
	Done <-chan struct{}
}

// api holds what the handlers share.
type api struct {
	agent Agent
	// election returns a further election; nil: there are none.
	election func(name string) Election
	store    Store
	token    atomic.Pointer[[sha256.Size]byte] // the hash of the bearer token; nil: there is none
	log      *slog.Logger
	done     <-chan struct{}
	origins  *http.CrossOriginProtection
	mux      *chi.Mux
	calls    []call
	line     atomic.Pointer[line]
	refused  refusals
	streams  streams
	surveys  chan struct{} // one entry per survey under way
	holds    chan struct{} // one entry per hold under way

	// certificate returns the certificate for HTTPS; nil: there is none.
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// call is one entry of the API's table of contents, from which routes and the
// index are made.
type call struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	Summary string `json:"summary"`
	serve   http.HandlerFunc
}

// New returns a handler for every call of the API. It panics without an Agent.
func New(c Config) http.Handler { return newAPI(c) }

func newAPI(c Config) *api {
	if c.Agent == nil {
		panic("api: Config.Agent is nil")
	}
	a := &api{
		agent:    c.Agent,
		election: c.Election,
		store:    c.Store,
		log:      c.Log,
		done:     c.Done,
		origins:  http.NewCrossOriginProtection(),
		mux:      chi.NewMux(),
		surveys:  make(chan struct{}, maxSurveys),
		holds:    make(chan struct{}, maxHolds),
	}
	if member, ok := c.Agent.(*agent.Agent); ok && a.election == nil {
		a.election = func(name string) Election {
			if e := member.Election(name); e != nil {
				return e
			}
			return nil // and not a nil *agent.Election
		}
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	if c.TLS != nil {
		a.certificate = c.TLS.GetCertificate
	}
	a.setToken(c.Token)
	a.calls = a.contents()
	for _, c := range a.calls {
		a.route(c)
	}
	a.mux.NotFound(a.notFound)
	a.mux.MethodNotAllowed(a.notAllowed)
	return a
}

// contents is the whole API.
func (a *api) contents() []call {
	get := func(path, summary string, h http.HandlerFunc) call { return call{"GET", path, summary, h} }
	post := func(path, summary string, h http.HandlerFunc) call { return call{"POST", path, summary, h} }
	put := func(path, summary string, h http.HandlerFunc) call { return call{"PUT", path, summary, h} }
	elect := a.change("hold an election", func(e Election, _ *http.Request, _ []byte) (deed, error) { return e.Elect, nil })
	return append([]call{
		get("/", "the dashboard in a browser, else this list", a.root),
		{"OPTIONS", "/", "200 on the leader, 503 elsewhere: what a bare HAProxy check asks", a.options},
		get("/dashboard/{file}", "what the dashboard is made of", a.dashboard),
		get("/openapi.json", "these calls as OpenAPI 3.1", a.openapi),
		get("/ping", "OK", a.ping),
		get("/leader", "the leader's host:port; as JSON with ?format=json", a.leader),
		get("/is-leader", "200 on the leader, 503 elsewhere", a.isLeader),
		get("/lease", "how the leadership is held now, in milliseconds", a.lease),
		get("/state", "this member's own state", a.state),
		get("/status", "the same", a.state),
		get("/members", "the line of succession", a.members),
		get("/diag", "every member's state and a verdict; ?timeout=2s, ?election=", a.diag),
		get("/elections", "every election this member knows", a.elections),
		get("/history", "leaderships, newest first", a.history),
		get("/ready", "would failover work now; 200 or 503", a.ready),
		get("/events", "live events (SSE), the current state first; with the lease: ?lease=500ms", a.events),
		get("/metrics", "metrics for Prometheus", a.metrics().ServeHTTP),
		get("/livez", "200 while the election loop turns", a.livez),
		get("/readyz", "200 once joined and decided", a.readyz),
		get("/version", "the program's version", a.version),
		post("/step-down", "hand the leadership over: ?to=MEMBER; and stand aside: ?for=1h", a.change("step down", a.readStepDown)),
		post("/join", "one more seed until the restart: ?addr=host:port", a.change("join a seed", whole(a.readJoin))),
		post("/hold", "a stream while this member leads; a hand-over waits for its end: ?wait=10s", a.hold),
		post("/resume", "stand aside no longer", a.change("resume", bare(func(e Election) deed { return e.Resume }))),
		post("/leave", "hand over and leave the group", a.change("leave", whole(bare(func(Election) deed { return a.agent.Leave })))),
		post("/election", "hold an election now", elect),
		put("/election", "the same", elect),
		get("/electionStatus", "whether an election is under way", a.electionStatus),
		get("/leaderPort", "the leader's port", a.leaderPort),
		post("/newLeaderPort", "409: leaders are elected, not appointed", a.newLeaderPort),
		put("/newLeaderPort", "the same", a.newLeaderPort),
	}, a.storeCalls()...)
}

// route registers a call, with and without a trailing slash; two routes cost
// a request nothing, a middleware that strips slashes would.
func (a *api) route(c call) {
	// A key may contain slashes.
	paths := []string{strings.Replace(c.Path, "{key}", "*", 1)}
	if c.Path != "/" && !strings.HasSuffix(c.Path, "/{key}") {
		paths = append(paths, c.Path+"/")
	}
	for _, path := range paths {
		a.mux.MethodFunc(c.Method, path, c.serve)
		if c.Method == http.MethodGet && c.Path != "/events" {
			a.mux.Head(path, c.serve)
		}
	}
}

// ServeHTTP implements http.Handler. A panic of a handler is a fault of ours:
// it costs the one request and is told.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer a.recovered(w, r)
	if err := checkQuery(r.URL.RawQuery); err != nil {
		a.fail(w, http.StatusBadRequest, printable(err.Error(), maxText))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// checkQuery refuses a query that does not say what it means. url.URL.Query drops
// what it cannot read, and Get all but the first value: the call would then do
// something else than it was asked for.
func checkQuery(raw string) error {
	if raw == "" {
		return nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return fmt.Errorf("the query of this call is malformed: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if len(query[name]) > 1 {
			return fmt.Errorf("%s: it is given twice", name)
		}
	}
	if query.Has("election") && query.Get("election") == "" {
		return errors.New("election: it names none; without it the call is about the group's own")
	}
	return nil
}

func (a *api) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	a.log.Error("a call failed by a fault in the program", "path", printable(r.URL.Path, maxText),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	a.fail(w, http.StatusInternalServerError, "a fault in the program; the log has the details")
}

func (a *api) notFound(w http.ResponseWriter, _ *http.Request) {
	a.fail(w, http.StatusNotFound, "there is no such call; GET / lists them")
}

// notAllowed answers a known path with another method. Chi also sends methods
// here that it does not know, on any path.
func (a *api) notAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if a.mux.Match(chi.NewRouteContext(), method, r.URL.Path) {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		a.notFound(w, r)
		return
	}
	allow := strings.Join(allowed, ", ")
	w.Header().Set("Allow", allow)
	a.fail(w, http.StatusMethodNotAllowed, "this call takes "+allow)
}

// index lists the calls, for a person who has only the port.
func (a *api) index(w http.ResponseWriter, r *http.Request) {
	asJSON, err := wantsJSON(r)
	switch {
	case err != nil:
		a.fail(w, http.StatusBadRequest, err.Error())
	case asJSON:
		a.json(w, http.StatusOK, map[string]any{"name": "doyen", "version": agent.Version, "calls": a.calls})
	default:
		var text bytes.Buffer
		fmt.Fprintf(&text, "doyen %s\n\n", agent.Version)
		for _, c := range a.calls {
			fmt.Fprintf(&text, "%-7s  %-17s  %s\n", c.Method, c.Path, c.Summary)
		}
		setHeaders(w, textType)
		w.Write(text.Bytes())
	}
}

// version answers what runs here.
func (a *api) version(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, map[string]string{"name": "doyen", "version": agent.Version, "go": runtime.Version()})
}
