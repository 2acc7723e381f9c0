package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"doyen/agent"
	"doyen/agent/store"
)

// storePoll is how often a member that keeps no copy of the store asks the leader
// for new changes, for a stream of them.
const storePoll = 500 * time.Millisecond

// storeStatus is the status of each kind of error.
var storeStatus = map[store.Kind]int{
	store.Exists: http.StatusPreconditionFailed, store.Changed: http.StatusPreconditionFailed,
	store.Fenced: http.StatusPreconditionFailed, store.Missing: http.StatusNotFound,
	store.Full: http.StatusInsufficientStorage, store.TooLarge: http.StatusRequestEntityTooLarge,
	store.Bad: http.StatusBadRequest, store.Unavailable: http.StatusServiceUnavailable,
	store.Unknown: http.StatusGatewayTimeout,
}

// storeCalls are the calls of the store.
func (a *api) storeCalls() []call {
	return []call{
		{"GET", "/store", "the keys of the store; ?prefix=P; the log from index N: ?log=N; a copy: ?save=true", a.storeList},
		{"GET", "/store/{key}", "the value of a key; this member's copy: ?local=true", a.storeGet},
		{"PUT", "/store/{key}", "set a key; If-None-Match: * creates it, If-Match: \"VERSION\" sets it if unchanged", a.storeChange(store.OpPut)},
		{"POST", "/store/{key}", "append to a key", a.storeChange(store.OpAppend)},
		{"DELETE", "/store/{key}", "delete a key", a.storeChange(store.OpDelete)},
	}
}

// Store is what the API needs of the replicated store; *store.Store is one.
type Store interface {
	Do(ctx context.Context, c store.Command) (store.Result, error)
	Get(ctx context.Context, key string) (store.Value, error)
	GetLocal(key string) (store.Value, error)
	List(ctx context.Context, prefix string) ([]store.Value, error)
	Log(ctx context.Context, from uint64) (all []store.Change, more <-chan struct{}, err error)
	Save(ctx context.Context) ([]byte, error)
	State() store.State
}

// storeOf returns the store, or answers that it is off.
func (a *api) storeOf(w http.ResponseWriter) Store {
	if a.store == nil {
		a.fail(w, http.StatusServiceUnavailable, "the store of this member is off: start it with --store on")
	}
	return a.store
}

// storeKey is the key that a path names; a slash at its end does not count.
func storeKey(r *http.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/store/"), "/")
}

// storeFail answers with an error of the store.
func (a *api) storeFail(w http.ResponseWriter, err error) {
	status := storeStatus[store.KindOf(err)]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	a.fail(w, status, printable(err.Error(), 2*store.MaxKey+maxText))
}

func (a *api) storeGet(w http.ResponseWriter, r *http.Request) {
	s := a.storeOf(w)
	if s == nil {
		return
	}
	local, err := flagOf(r, "local")
	if err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	var v store.Value
	if local {
		v, err = s.GetLocal(storeKey(r))
	} else {
		v, err = s.Get(r.Context(), storeKey(r))
	}
	if err != nil {
		a.storeFail(w, err)
		return
	}
	setHeaders(w, []string{"application/octet-stream"})
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h.Set("ETag", fmt.Sprintf("%q", strconv.FormatUint(v.Version, 10)))
	h.Set("Doyen-Term", strconv.FormatUint(v.Term, 10))
	h.Set("Doyen-Index", strconv.FormatUint(v.Index, 10))
	h.Set("Content-Length", strconv.Itoa(len(v.Data)))
	w.Write(v.Data)
}

// storeChange makes the handler of a change.
func (a *api) storeChange(op store.Op) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status, why, sentence := a.refuse(r); status != 0 {
			a.refused.count(why)
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="doyen"`)
			}
			a.fail(w, status, sentence)
			return
		}
		s := a.storeOf(w)
		if s == nil {
			return
		}
		c, err := readCommand(op, r)
		if err != nil {
			a.fail(w, http.StatusBadRequest, printable(err.Error(), maxText))
			return
		}
		// A fence of an election that there is not would keep no write off.
		if c.FenceElection != "" {
			if _, ok := a.named(w, c.FenceElection); !ok {
				return
			}
		}
		if op != store.OpDelete {
			if c.Value, err = io.ReadAll(http.MaxBytesReader(w, r.Body, store.MaxValue)); err != nil {
				status, sentence := http.StatusBadRequest, "the body did not arrive"
				if errors.As(err, new(*http.MaxBytesError)) {
					status, sentence = http.StatusRequestEntityTooLarge, fmt.Sprintf("a value is longer than %d bytes", store.MaxValue)
				}
				a.fail(w, status, printable(c.Key, store.MaxKey)+": "+sentence)
				return
			}
		}
		result, err := s.Do(r.Context(), c)
		if err != nil {
			a.storeFail(w, err)
			return
		}
		a.json(w, http.StatusOK, result)
	}
}

// readCommand reads all of a change but the value.
func readCommand(op store.Op, r *http.Request) (store.Command, error) {
	c := store.Command{Op: op, Key: storeKey(r), Request: r.Header.Get("Doyen-Request"), FenceElection: r.Header.Get("Doyen-Fence-Election")}
	if r.URL.RawQuery != "" {
		return c, errors.New("a change of the store takes no parameters in the query; its conditions are headers, such as Doyen-Fence")
	}
	if err := checkConditions(r.Header); err != nil {
		return c, err
	}
	if match := r.Header.Get("If-None-Match"); match != "" {
		if match != "*" || op != store.OpPut {
			return c, errors.New("If-None-Match is taken with PUT alone, and is to be *")
		}
		c.Op = store.OpCreate
	}
	if c.Op == store.OpCreate && r.Header.Get("If-Match") != "" {
		return c, errors.New("If-Match and If-None-Match exclude each other: a key that is missing has no version")
	}
	var err error
	if match := r.Header.Get("If-Match"); match != "" {
		if c.IfVersion, err = strconv.ParseUint(strings.Trim(match, `"`), 10, 64); err != nil || c.IfVersion == 0 {
			return c, fmt.Errorf("If-Match of %s is no version, such as \"17\"", match)
		}
	}
	if fence := r.Header.Get("Doyen-Fence"); fence != "" {
		if c.Fence, err = strconv.ParseUint(fence, 10, 64); err != nil || c.Fence == 0 {
			return c, fmt.Errorf("Doyen-Fence of %s is no term", fence)
		}
	}
	return c, checkFenceElection(c)
}

// checkConditions refuses a condition without a value and one that is given twice: passed
// over, the change would be made without it. An empty Doyen-Fence-Election is what
// version 0.1.0 sends for the group's own.
func checkConditions(h http.Header) error {
	for _, name := range []string{"If-Match", "If-None-Match", "Doyen-Fence", "Doyen-Fence-Election", "Doyen-Request"} {
		switch values := h.Values(name); {
		case len(values) > 1:
			return fmt.Errorf("%s is given twice", name)
		case len(values) == 1 && values[0] == "" && name != "Doyen-Fence-Election":
			return fmt.Errorf("%s is empty", name)
		}
	}
	return nil
}

// checkFenceElection checks the form of what Doyen-Fence-Election says.
func checkFenceElection(c store.Command) error {
	switch name := c.FenceElection; {
	case name == "":
	case c.Fence == 0:
		return errors.New("Doyen-Fence-Election says of which election Doyen-Fence is, and there is no Doyen-Fence")
	case name != groupElection && agent.CheckElectionName(name) != nil:
		return fmt.Errorf("Doyen-Fence-Election of %q is no name of an election", name)
	}
	return nil
}

// storeList answers the keys, the log or a copy.
func (a *api) storeList(w http.ResponseWriter, r *http.Request) {
	s := a.storeOf(w)
	if s == nil {
		return
	}
	query := r.URL.Query()
	save, err := flagOf(r, "save")
	switch {
	case err != nil:
		a.fail(w, http.StatusBadRequest, err.Error())
	case query.Has("log") && (save || query.Has("prefix")) || save && query.Has("prefix"):
		a.fail(w, http.StatusBadRequest, "log, prefix and save exclude each other")
	case save:
		b, err := s.Save(r.Context())
		if err != nil {
			a.storeFail(w, err)
			return
		}
		patience(w, time.Minute)
		setHeaders(w, []string{"application/octet-stream"})
		w.Write(b)
	case query.Has("log"):
		from, err := strconv.ParseUint(query.Get("log"), 10, 64)
		if err != nil {
			a.fail(w, http.StatusBadRequest, fmt.Sprintf("log of %q is no index", printable(query.Get("log"), maxText)))
			return
		}
		a.storeAnswer(w)(s.Log(r.Context(), from))
	default:
		all, err := s.List(r.Context(), query.Get("prefix"))
		if err != nil {
			a.storeFail(w, err)
			return
		}
		a.json(w, http.StatusOK, array(all))
	}
}

func (a *api) storeAnswer(w http.ResponseWriter) func([]store.Change, <-chan struct{}, error) {
	return func(all []store.Change, _ <-chan struct{}, err error) {
		if err != nil {
			a.storeFail(w, err)
			return
		}
		a.json(w, http.StatusOK, array(all))
	}
}

// flagOf reads a parameter of the query that is true or false.
func flagOf(r *http.Request, name string) (bool, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return false, nil
	}
	yes, err := strconv.ParseBool(given)
	if err != nil {
		return false, fmt.Errorf("%s of %q is neither true nor false", name, printable(given, maxText))
	}
	return yes, nil
}

// storeEvents streams the changes of keys with a prefix, from the one after
// Last-Event-ID on, or from now on. First it says after which: a client whose stream
// ends before there is a change misses none with the next.
func (a *api) storeEvents(w http.ResponseWriter, r *http.Request, s *stream) {
	kept := a.store
	if kept == nil {
		return
	}
	var next uint64 // 0: from now on
	if st := kept.State(); st.Voter {
		next = st.Index + 1
	}
	if last, given, _ := lastEvent(r); given { // checked before the stream began
		next = last + 1
	}
	if next > 0 && s.begins(next) != nil {
		return
	}
	a.followStore(r.Context(), s, kept, next, r.URL.Query().Get("store"))
}

// begins says from which index on changes are told, by the id before it.
func (s *stream) begins(next uint64) error { return s.write(fmt.Appendf(nil, "id: %d\n\n", next-1)) }

// lastEvent reads the index after which a stream of changes is to begin, if one is given.
func lastEvent(r *http.Request) (index uint64, given bool, err error) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		return 0, false, nil
	}
	if index, err = strconv.ParseUint(last, 10, 53); err != nil {
		return 0, false, fmt.Errorf("Last-Event-ID of %q is no index", printable(last, maxText))
	}
	return index, true, nil
}

func (a *api) followStore(ctx context.Context, s *stream, kept Store, next uint64, prefix string) {
	quiet := time.NewTicker(heartbeat)
	defer quiet.Stop()
	for {
		all, more, err := kept.Log(ctx, next)
		if next == 0 && err == nil { // a member that keeps no copy knows now which is the last
			next = 1
			if len(all) > 0 {
				next = all[len(all)-1].Index + 1
			}
			if s.begins(next) != nil {
				return
			}
			continue
		}
		for i := range all {
			next = all[i].Index + 1
			if all[i].Error == "" && strings.HasPrefix(all[i].Key, prefix) && s.change(&all[i]) != nil {
				return
			}
		}
		var poll <-chan time.Time
		if more == nil || err != nil {
			poll = time.After(storePoll)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.done:
			return
		case <-more:
		case <-poll:
		case <-quiet.C:
			if s.write([]byte(": still here\n\n")) != nil {
				return
			}
		}
	}
}

// change writes one change; its id is its index.
func (s *stream) change(c *store.Change) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.write(fmt.Appendf(nil, "event: store\nid: %d\ndata: %s\n\n", c.Index, data))
}

// collectStore emits the metrics of the store, if it is on.
func (c collector) collectStore(e emitter) {
	if c.store == nil {
		return
	}
	st := c.store.State()
	e.gauge(metricStoreIndex, float64(st.Index))
	e.gauge(metricStoreCommit, float64(st.Commit))
	e.gauge(metricStoreKeys, float64(st.Keys))
	e.gauge(metricStoreBytes, float64(st.Bytes))
	e.gauge(metricStoreServing, truth(st.Serving))
	e.gauge(metricStoreWorking, truth(st.Trouble == "" && st.DiskError == ""))
	e.gauge(metricStoreDisk, st.SlowestMS/1000)
	for voter, lag := range st.Lag {
		e.gauge(metricStoreLag, float64(lag), voter)
	}
}
