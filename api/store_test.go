package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/store"
)

// fakeStore answers everything with one error, or with nothing wrong.
type fakeStore struct {
	err error
	did []store.Command
}

func (f *fakeStore) Do(_ context.Context, c store.Command) (store.Result, error) {
	f.did = append(f.did, c)
	return store.Result{Key: c.Key, Term: 7, Index: 8, Version: 8}, f.err
}

func (f *fakeStore) Get(_ context.Context, key string) (store.Value, error) {
	return store.Value{Key: key, Version: 8, Term: 7, Index: 8, Data: []byte("text")}, f.err
}

func (f *fakeStore) GetLocal(key string) (store.Value, error) {
	return f.Get(context.Background(), key)
}

func (f *fakeStore) List(context.Context, string) ([]store.Value, error) {
	return []store.Value{{Key: "a", Version: 8, Size: 4, Term: 7, Index: 8}}, f.err
}

func (f *fakeStore) Log(_ context.Context, from uint64) ([]store.Change, <-chan struct{}, error) {
	all := []store.Change{{Term: 7, Index: 8, Op: "put", Key: "a/1", Size: 4}, {Term: 7, Index: 9, Op: "append", Key: "a/0", Error: "a/0: there is no such key"}, {Term: 7, Index: 10, Op: "put", Key: "a/2"}, {Term: 7, Index: 11, Op: "put", Key: "b"}}
	for len(all) > 0 && all[0].Index < from {
		all = all[1:]
	}
	return all, make(chan struct{}), f.err
}

func (f *fakeStore) Save(context.Context) ([]byte, error) { return []byte("copy"), f.err }
func (f *fakeStore) State() store.State                   { return store.State{Voter: true, Index: 11} }

// callStore makes every call of the store answer with every kind of error.
func callStore(call func(h http.Handler, method, path, query string, set ...func(*http.Request))) {
	of := func(err error) http.Handler {
		c := quiet(newFake())
		c.Store = &fakeStore{err: err}
		return New(c)
	}
	kinds := []error{nil}
	for k := store.Exists; k <= store.Unknown; k++ {
		kinds = append(kinds, &store.Error{Kind: k, Text: "a: no"})
	}
	for _, err := range kinds {
		var e *store.Error
		if err != nil {
			e = err.(*store.Error)
		}
		is := func(of ...store.Kind) bool {
			for _, k := range of {
				if e != nil && e.Kind == k {
					return true
				}
			}
			return e == nil
		}
		h := of(err)
		if is(store.Unavailable, store.Unknown) {
			call(h, "GET", "/store", "")
			call(h, "GET", "/store", "?log=1")
			call(h, "GET", "/store", "?save=true")
		}
		if is(store.Missing, store.Bad, store.TooLarge, store.Unavailable, store.Unknown) {
			call(h, "GET", "/store/{key}", "/store/a")
		}
		for method, not := range map[string]store.Kind{"PUT": store.Missing, "POST": 0, "DELETE": store.Full} {
			if e == nil || e.Kind != not {
				call(h, method, "/store/{key}", "/store/a")
			}
		}
	}
	call(of(nil), "GET", "/store", "?log=x")
	for _, method := range []string{"DELETE"} {
		call(of(nil), method, "/store/{key}", "/store/a", from("10.0.0.9:1"))
		call(of(nil), method, "/store/{key}", "/store/a", header("Sec-Fetch-Site", "cross-site"))
	}
	call(of(nil), "PUT", "/store/{key}", "/store/a", header("Doyen-Fence", "7"), header("Doyen-Fence-Election", "none"))
	call(of(nil), "GET", "/events", "?store=", header("Last-Event-ID", "x"))
	none := New(quiet(newFake()))
	call(none, "GET", "/store/{key}", "/store/a")
	call(none, "GET", "/events", "?store=")
}

// TestStoreReadsTheCall: the key with its slashes, the headers and the body reach the store.
func TestStoreReadsTheCall(t *testing.T) {
	kept, c := &fakeStore{}, quiet(newFake())
	c.Store = kept
	c.Election = func(name string) Election { return map[string]Election{"web": newFake()}[name] }
	h := New(c)
	r := httptest.NewRequest("PUT", "/store/a/b%20c", strings.NewReader("text"))
	r.RemoteAddr, r.Host = "127.0.0.1:9", "127.0.0.1"
	for name, value := range map[string]string{"If-Match": `"17"`, "Doyen-Fence": "9", "Doyen-Fence-Election": "web", "Doyen-Request": "x"} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK || len(kept.did) != 1 {
		t.Fatalf("want it done, got %d: %s", w.Code, w.Body)
	}
	got := kept.did[0]
	if got.Op != store.OpPut || got.Key != "a/b c" || string(got.Value) != "text" || got.IfVersion != 17 ||
		got.Fence != 9 || got.FenceElection != "web" || got.Request != "x" {
		t.Errorf("got %+v", got)
	}
	r = httptest.NewRequest("PUT", "/store/a", strings.NewReader(strings.Repeat("x", store.MaxValue+1)))
	r.RemoteAddr, r.Host = "127.0.0.1:9", "127.0.0.1"
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	wantError(t, w, http.StatusRequestEntityTooLarge, "a: ")
	w = ask(t, h, "GET", "/store/a")
	if w.Body.String() != "text" || w.Header().Get("ETag") != `"8"` || w.Header().Get("Doyen-Index") != "8" {
		t.Errorf("got %q, %v", w.Body, w.Header())
	}
}

// TestStoreEvents: only changes of the prefix that were made, from the id on, and first
// that id, so that a client can go on from there.
func TestStoreEvents(t *testing.T) {
	c := quiet(newFake())
	c.Store = &fakeStore{}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	w := ask(t, New(c), "GET", "/events?store=a/", header("Last-Event-ID", "8"), func(r *http.Request) { *r = *r.WithContext(ctx) })
	body := w.Body.String()
	if strings.Count(body, "event: store") != 1 || !strings.Contains(body, "id: 10\n") || !strings.Contains(body, "id: 8\n\n") {
		t.Errorf("got %s", body)
	}
}

// remoteStore is the store as a member knows it that keeps no copy. It cannot be asked at
// first; after that a change comes while its log is followed.
type remoteStore struct {
	fakeStore
	asked int
}

func (r *remoteStore) State() store.State { return store.State{} }

func (r *remoteStore) Log(ctx context.Context, from uint64) ([]store.Change, <-chan struct{}, error) {
	if r.asked++; r.asked == 1 {
		return nil, nil, &store.Error{Kind: store.Unavailable, Text: "there is no leader"}
	}
	all, _, err := r.fakeStore.Log(ctx, from)
	if r.asked > 3 && from <= 12 {
		all = append(all, store.Change{Term: 8, Index: 12, Op: "put", Key: "a/new"})
	}
	return all, nil, err
}

// A member that keeps no copy and has no leader to ask tells of what changes once it has
// one, not of all that there is.
func TestStoreEventsWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := quiet(newFake())
		c.Store = &remoteStore{}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(10*storePoll, stop)
		w := ask(t, New(c), "GET", "/events?store=a/", func(r *http.Request) { *r = *r.WithContext(ctx) })
		body := w.Body.String()
		if strings.Count(body, "event: store") != 1 || !strings.Contains(body, "id: 12\n") || !strings.Contains(body, "id: 11\n\n") {
			t.Errorf("got %s", body)
		}
	})
}

// A call that asks for two things at once is refused, and not answered with one of them.
func TestStoreAnswersOneThing(t *testing.T) {
	c := quiet(newFake())
	c.Store = &fakeStore{}
	for _, both := range []string{"?log=1&prefix=a", "?log=1&save=true", "?save=true&prefix=a"} {
		wantError(t, ask(t, New(c), "GET", "/store"+both), http.StatusBadRequest, "exclude each other")
	}
}

// A change whose conditions cannot all be kept is refused, and not made without them.
func TestStoreRefusesConditions(t *testing.T) {
	kept, c := &fakeStore{}, quiet(newFake())
	c.Store = kept
	c.Election = func(name string) Election { return map[string]Election{"web": newFake()}[name] }
	h := New(c)
	for _, test := range []struct {
		head   http.Header
		status int
		part   string
	}{
		{http.Header{"Doyen-Fence": {"7"}, "Doyen-Fence-Election": {"mail"}}, 404, "there is no election mail; there is group"},
		{http.Header{"Doyen-Fence": {"7"}, "Doyen-Fence-Election": {"NO!"}}, 400, `Doyen-Fence-Election of "NO!" is no name`},
		{http.Header{"Doyen-Fence-Election": {"web"}}, 400, "there is no Doyen-Fence"},
		{http.Header{"Doyen-Fence-Election": {"group"}}, 400, "there is no Doyen-Fence"},
		{http.Header{"Doyen-Fence": {""}}, 400, "Doyen-Fence is empty"},
		{http.Header{"Doyen-Fence": {"7", "8"}}, 400, "Doyen-Fence is given twice"},
		{http.Header{"If-Match": {""}}, 400, "If-Match is empty"},
		{http.Header{"Doyen-Request": {""}}, 400, "Doyen-Request is empty"},
		{http.Header{"If-Match": {`"1"`}, "If-None-Match": {"*"}}, 400, "exclude each other"},
		{http.Header{"If-Match": {`"x"`}}, 400, "is no version"},
	} {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			if _, create := test.head["If-None-Match"]; create && method != "PUT" {
				continue
			}
			w := ask(t, h, method, "/store/a", func(r *http.Request) { r.Header = test.head })
			wantError(t, w, test.status, test.part)
		}
	}
	wantError(t, ask(t, h, "PUT", "/store/a?fence=7"), http.StatusBadRequest, "takes no parameters in the query")
	if len(kept.did) != 0 {
		t.Errorf("want nothing done, got %+v", kept.did)
	}
	for _, head := range []http.Header{
		{"Doyen-Fence": {"7"}, "Doyen-Fence-Election": {"web"}}, {"Doyen-Fence": {"7"}, "Doyen-Fence-Election": {"group"}}, {"Doyen-Fence": {"7"}, "Doyen-Fence-Election": {""}},
	} {
		if w := ask(t, h, "PUT", "/store/a", func(r *http.Request) { r.Header = head }); w.Code != http.StatusOK {
			t.Errorf("%v: want it done, got %d: %s", head, w.Code, w.Body)
		}
	}
	wantError(t, ask(t, h, "GET", "/events?store=a", header("Last-Event-ID", "x")), http.StatusBadRequest, "Last-Event-ID")
}
