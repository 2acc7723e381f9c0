package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"doyen/agent"
)

const (
	// maxStreams limits the event streams open at once, and maxStreamsFromHost those
	// of one other host, which has calls to make beside them.
	maxStreams         = 64
	maxStreamsFromHost = 32
	// heartbeat is how often a quiet stream says that it is alive; proxies
	// commonly close what is silent for 30 s or more.
	heartbeat = 15 * time.Second
	// streamWrite is how long one write to a stream may take. A reader that
	// has not emptied its window by then is cut off; it may come back and
	// starts with the current state.
	streamWrite = 5 * time.Second
	// reconnect is how soon a browser that was cut off should come back.
	reconnect = 2 * time.Second
	// minLease and maxLease bound how often a stream tells of the lease.
	minLease, maxLease = 100 * time.Millisecond, 10 * time.Second
)

// events streams what happens, as server-sent events, until the client or the
// server ends it or the client reads too slowly.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	every, err := duration(r, "lease", 0, minLease, maxLease)
	if err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	e, ok := a.of(w, r)
	if !ok {
		return
	}
	ofStore := r.URL.RawQuery != "" && r.URL.Query().Has("store")
	if ofStore && a.storeOf(w) == nil {
		return
	}
	if _, _, err := lastEvent(r); ofStore && err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	host := origin(r.RemoteAddr)
	if err := a.streams.enter(host); err != nil {
		a.refused.count(tooManyStreams)
		a.fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer a.streams.leave(host)
	setHeaders(w, []string{"text/event-stream"})
	// Nginx would hold events back.
	w.Header().Set("X-Accel-Buffering", "no")
	s := &stream{w: w, c: http.NewResponseController(w)}
	if err := s.write(fmt.Appendf(nil, "retry: %d\n\n", reconnect.Milliseconds())); err != nil {
		return
	}
	if ofStore {
		a.storeEvents(w, r, s)
		return
	}
	a.follow(r.Context(), s, e, e.Subscribe(r.Context()), every)
}

// streams counts the event streams open, by host.
type streams struct {
	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// enter takes one more in, or says why not.
func (s *streams) enter(host netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= maxStreams:
		return fmt.Errorf("%d event streams are open, which is the limit", maxStreams)
	case !host.IsLoopback() && s.from[host] >= maxStreamsFromHost:
		return fmt.Errorf("%d event streams of %s are open, which is the limit for one host", maxStreamsFromHost, host)
	case s.from == nil:
		s.from = map[netip.Addr]int{}
	}
	s.all++
	s.from[host]++
	return nil
}

func (s *streams) leave(host netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.from[host]--; s.from[host] == 0 {
		delete(s.from, host)
	}
}

// follow copies events to a stream, and every so often (0: never) how the
// leadership is held: that is looked up here and not told by the agent, whose
// loop renews without giving it a thought. There is no one to tell of a failed
// write: it is how a client goes away.
func (a *api) follow(ctx context.Context, s *stream, e Election, events <-chan agent.Event, every time.Duration) {
	quiet := time.NewTicker(heartbeat)
	defer quiet.Stop()
	var look <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		look = t.C
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-a.done:
			return
		case <-quiet.C:
			err = s.write([]byte(": still here\n\n"))
		case now := <-look:
			err = s.event(&agent.Event{Kind: "lease", Time: now, Data: e.Lease()})
		case happened, ok := <-events:
			if !ok {
				return
			}
			if state, ok := happened.Data.(agent.State); ok {
				state.Elections = a.agent.Elections() // as in GET /state
				happened.Data = state
			}
			err = s.event(&happened)
		}
		if err != nil {
			return
		}
	}
}

// stream is the writing half of one client's event stream.
type stream struct {
	w    http.ResponseWriter
	c    *http.ResponseController
	last uint64
}

// event writes one event. Its id counts the events of the stream; the time
// joins the event's own fields.
func (s *stream) event(e *agent.Event) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Kind, err)
	}
	s.last++
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %d\ndata: {\"time\":%q", e.Kind, s.last, e.Time.UTC().Format(time.RFC3339Nano))
	if fields := bytes.TrimPrefix(data, []byte("{")); len(fields) > 1 {
		b.WriteByte(',')
		b.Write(fields)
	} else {
		b.WriteByte('}')
	}
	b.WriteString("\n\n")
	return s.write(b.Bytes())
}

// write sends b at once or fails in time.
func (s *stream) write(b []byte) error {
	_ = s.c.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.c.Flush()
}
