package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

// pipes is a listener whose connections are net.Pipes, so that a server and
// its clients can live in a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// pipeConn is a connection from an address of the test's choice.
type pipeConn struct {
	net.Conn
	remote string
}

func (c pipeConn) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.remote)
	if err != nil {
		panic(err)
	}
	return a
}

// dial connects to the server behind p.
func (p *pipes) dial(remote string) net.Conn {
	client, server := net.Pipe()
	p.conns <- pipeConn{server, remote}
	return client
}

// serve runs a server in the bubble until the test ends.
func serve(t *testing.T, f *fake) (*Server, *pipes) { return serveConfig(t, quiet(f)) }

func serveConfig(t *testing.T, c Config) (*Server, *pipes) {
	s, p := NewServer(c), newPipes()
	done := make(chan error)
	go func() { done <- s.Serve(p) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_ = s.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		// net/http lingers half a second on a request it has refused.
		time.Sleep(time.Second)
	})
	return s, p
}

// get sends a request over a connection.
func get(t *testing.T, c net.Conn, path string) {
	t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// openStream starts reading a stream, past its header.
func openStream(t *testing.T, c net.Conn, path string) *bufio.Reader {
	t.Helper()
	get(t, c, path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("want an event stream, got %d %s", resp.StatusCode, got)
	}
	return bufio.NewReader(resp.Body)
}

// next reads one block of the stream, up to its empty line.
func next(r *bufio.Reader) (string, error) {
	var block strings.Builder
	for {
		l, err := r.ReadString('\n')
		if err != nil || l == "\n" {
			return block.String(), err
		}
		block.WriteString(l)
	}
}

// feed makes a fake's events come from a channel; ended is closed when the
// stream lets go of it.
func feed(f *fake) (events chan agent.Event, ended chan struct{}) {
	events, ended = make(chan agent.Event, 8), make(chan struct{})
	f.events = func(ctx context.Context) <-chan agent.Event {
		context.AfterFunc(ctx, func() { close(ended) })
		return events
	}
	return events, ended
}

// The state that a stream begins with is what GET /state answers: with the elections.
func TestEventsBeginWithTheWholeState(t *testing.T) {
	f, ctx := newFake(), t.Context()
	f.events = func(context.Context) <-chan agent.Event {
		events := make(chan agent.Event, 1)
		events <- agent.Event{Kind: "state", Data: f.state}
		close(events)
		return events
	}
	w := ask(t, New(quiet(f)), "GET", "/events", func(r *http.Request) { *r = *r.WithContext(ctx) })
	if body := w.Body.String(); !strings.Contains(body, `"elections":{"group":{`) {
		t.Errorf("want the elections in the first event, got %s", body)
	}
}

func TestEventsFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		events, _ := feed(f)
		_, p := serve(t, f)
		at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
		events <- agent.Event{Kind: "state", Time: at, Data: map[string]any{"name": "a\n\ndata: b<"}}
		events <- agent.Event{Kind: "hook", Time: at, Data: struct{}{}}
		c := p.dial("10.0.0.9:1")
		defer c.Close()
		r := openStream(t, c, "/events")
		for _, want := range []string{
			"retry: 2000\n",
			"event: state\nid: 1\ndata: {\"time\":\"2026-01-02T02:04:05.006Z\",\"name\":\"a\\n\\ndata: b\\u003c\"}\n",
			"event: hook\nid: 2\ndata: {\"time\":\"2026-01-02T02:04:05.006Z\"}\n",
		} {
			if got, err := next(r); got != want {
				t.Errorf("want %q, got %q, %v", want, got, err)
			}
		}
	})
}

// TestEventsOutliveTheTimeouts keeps a stream for an hour without an event.
func TestEventsOutliveTheTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		events, _ := feed(f)
		_, p := serve(t, f)
		c := p.dial("10.0.0.9:1")
		defer c.Close()
		r := openStream(t, c, "/events")
		_, _ = next(r)
		for range int(time.Hour / heartbeat) {
			if got, err := next(r); got != ": still here\n" {
				t.Fatalf("want a heartbeat, got %q, %v", got, err)
			}
		}
		events <- agent.Event{Kind: "leader", Data: agent.LeaderEvent{}}
		if got, err := next(r); !strings.HasPrefix(got, "event: leader\n") {
			t.Errorf("want the event, got %q, %v", got, err)
		}
	})
}

// TestEventsTellOfTheLease asks for the lease along with the events, twice a
// second, too often, and not at all.
func TestEventsTellOfTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		feed(f)
		_, p := serve(t, f)
		c := p.dial("10.0.0.9:1")
		defer c.Close()
		r := openStream(t, c, "/events?lease=500ms")
		_, _ = next(r)
		const want = `"leader":"a","term":7,"is_leader":true,"electing":false,"phase":"holding","left_ms":800,"of_ms":1000,"lead_ms":0}`
		for range 3 {
			began := time.Now()
			got, err := next(r)
			if !strings.HasPrefix(got, "event: lease\n") || !strings.Contains(got, want) {
				t.Fatalf("want the lease, got %q, %v", got, err)
			}
			if took := time.Since(began); took != 500*time.Millisecond {
				t.Errorf("want it after 500ms, got %v", took)
			}
		}
		for _, often := range []string{"99ms", "11s", "0", "x"} {
			wantError(t, ask(t, New(quiet(f)), "GET", "/events?lease="+often), http.StatusBadRequest, "no duration from 100ms to 10s")
		}
	})
}

// TestEventsEnd ends a stream in each of the ways it can end, and sees that
// its subscription ends with it.
func TestEventsEnd(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		end   func(s *Server, c net.Conn, events chan agent.Event)
	}{
		{"the client closes", 0, func(_ *Server, c net.Conn, _ chan agent.Event) { c.Close() }},
		{"the server shuts down", 0, func(s *Server, _ net.Conn, _ chan agent.Event) { go s.Shutdown(context.Background()) }},
		{"the agent cuts it off", 0, func(_ *Server, _ net.Conn, events chan agent.Event) { close(events) }},
		{"an event is no JSON", 0, func(_ *Server, _ net.Conn, events chan agent.Event) {
			events <- agent.Event{Kind: "hook", Data: func() {}}
		}},
		// No reader is there from the pipe any more, so no write gets through.
		{"the client stops reading", streamWrite, func(_ *Server, _ net.Conn, events chan agent.Event) {
			events <- agent.Event{Kind: "leader", Data: agent.LeaderEvent{}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				events, ended := feed(f)
				s, p := serve(t, f)
				c := p.dial("10.0.0.9:1")
				defer c.Close()
				_, _ = next(openStream(t, c, "/events"))
				began := time.Now()
				tt.end(s, c, events)
				<-ended
				if took := time.Since(began); took != tt.after {
					t.Errorf("want it ended after %v, got %v", tt.after, took)
				}
				synctest.Wait()
				if n := s.api.streams.all + len(s.api.streams.from); n != 0 {
					t.Errorf("%d streams are still counted", n)
				}
			})
		})
	}
}

func TestEventsAreLimited(t *testing.T) {
	f := newFake()
	f.events = func(context.Context) <-chan agent.Event { t.Error("subscribed"); return nil }
	a := newAPI(quiet(f))
	one, loopback := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for range maxStreamsFromHost {
		a.streams.enter(one)
	}
	wantError(t, ask(t, a, "GET", "/events", from("192.0.2.1:9")), http.StatusServiceUnavailable, "32 event streams of 192.0.2.1 are open, which is the limit for one host")
	for range maxStreams - maxStreamsFromHost {
		if err := a.streams.enter(loopback); err != nil {
			t.Error(err)
		}
	}
	a.streams.leave(one)
	a.streams.enter(loopback)
	wantError(t, ask(t, a, "GET", "/events"), http.StatusServiceUnavailable, "limit")
	if got := a.refused[tooManyStreams].Load(); got != 2 {
		t.Errorf("counted: want 2, got %d", got)
	}
}
