package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

// TestSlowClientsAreCutOff holds back each part of a request and of the next.
func TestSlowClientsAreCutOff(t *testing.T) {
	tests := []struct {
		name, send string
		after      time.Duration
	}{
		{"nothing sent", "", headerTimeout},
		{"half a header", "GET /leader HTTP/1.1\r\nHost: x\r\nX-Slow: ", headerTimeout},
		{"no body", "POST /leave HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n", readTimeout},
		{"idle", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, p := serve(t, newFake())
				c := p.dial("127.0.0.1:1")
				defer c.Close()
				began := time.Now()
				go io.WriteString(c, tt.send)
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Error(err)
				}
				// What net/http has refused it closes half a second later.
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("want it cut off after %v, got %v", tt.after, took)
				}
			})
		})
	}
}

// TestAnswerNotReadIsDropped reads too late.
func TestAnswerNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := serve(t, newFake())
		c := p.dial("127.0.0.1:1")
		defer c.Close()
		get(t, c, "/state")
		time.Sleep(writeTimeout + time.Second)
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("want the connection closed, got %d bytes, %v", n, err)
		}
	})
}

func TestLongHeaderIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := serve(t, newFake())
		c := p.dial("127.0.0.1:1")
		defer c.Close()
		go io.WriteString(c, "GET /leader HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", maxHeader+8192)+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("want 431, got %v, %v", resp, err)
		}
	})
}

// TestMalformedCallsAreRefusedInJSON sends what net/http refuses before a handler has it,
// on a new connection and behind a call that was answered.
func TestMalformedCallsAreRefusedInJSON(t *testing.T) {
	const good = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tt := range []struct {
		send   string
		status int
		want   string
	}{
		{"GET /leader HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", maxHeader+8192) + "\r\n\r\n", 431, "longer than 16 KiB"},
		{"GET /" + strings.Repeat("x", maxHeader+8192) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, "longer than 16 KiB"},
		{"GET /leader HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		{"GET /leader\r\n\r\n", 400, "this call cannot be read: bad request"},
		{"GET /leader HTTP/3.7\r\nHost: x\r\n\r\n", 505, "unsupported protocol version"},
		{"POST /leave HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 501, "transfer encoding"},
		{"GET /leader HTTP/1.1\r\nHost: x\r\nExpect: odd\r\n\r\n", 417, "expectation failed"},
	} {
		for _, before := range []string{"", good} {
			synctest.Test(t, func(t *testing.T) {
				s, p := serve(t, newFake())
				c := p.dial("127.0.0.1:1")
				defer c.Close()
				go io.WriteString(c, before+tt.send)
				answers := bufio.NewReader(c)
				if before != "" {
					if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != 200 {
						t.Fatalf("the call before: got %v, %v", resp, err)
					} else if body, err := io.ReadAll(resp.Body); string(body) != "OK" {
						t.Fatalf("the call before: got %q, %v", body, err)
					}
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				maps.Copy(w.Header(), resp.Header)
				w.WriteHeader(resp.StatusCode)
				if _, err := io.Copy(w, resp.Body); err != nil {
					t.Errorf("%.30q: %v", tt.send, err)
				}
				wantError(t, w, tt.status, tt.want)
				if got := s.api.refused[malformed].Load(); got != 1 {
					t.Errorf("%.30q: want one counted as malformed, got %d", tt.send, got)
				}
			})
		}
	}
}

// TestLongCallsOutliveTheTimeouts waits longer than a read or a write may take.
func TestLongCallsOutliveTheTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.survey = func(ctx context.Context) map[string]agent.Answer { <-ctx.Done(); return nil }
		f.change = func(ctx context.Context, _ string) (agent.Result, error) {
			select {
			case <-time.After(5 * time.Minute):
				return agent.Result{Leader: "b"}, nil
			case <-ctx.Done():
				return agent.Result{}, ctx.Err()
			}
		}
		_, p := serve(t, f)
		for _, request := range []string{"GET /diag?timeout=30s", "POST /step-down"} {
			c := p.dial("127.0.0.1:1")
			go io.WriteString(c, request+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%s: %v", request, err)
			}
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: want 200, got %d", request, resp.StatusCode)
			}
			c.Close()
		}
	})
}

// TestShutdownWaitsForCalls lets an answer out and then ends; and does not
// wait for ever.
func TestShutdownWaitsForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, going := newFake(), make(chan struct{})
		f.change = func(context.Context, string) (agent.Result, error) {
			<-going
			return agent.Result{}, nil
		}
		s, p := serve(t, f)
		c := p.dial("127.0.0.1:1")
		defer c.Close()
		go io.WriteString(c, "POST /leave HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		ended := make(chan error)
		go func() { ended <- s.Shutdown(context.Background()) }()
		time.AfterFunc(time.Second, func() { close(going) })
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("want the answer of the call under way, got %v, %v", resp, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.change = func(ctx context.Context, _ string) (agent.Result, error) {
			<-ctx.Done()
			return agent.Result{}, ctx.Err()
		}
		s, p := serve(t, f)
		c := p.dial("127.0.0.1:1")
		defer c.Close()
		go io.WriteString(c, "POST /leave HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want it to give up waiting, got %v", err)
		}
	})
}

// TestConnectionLimits fills the places there are for one host, for all, and
// for loopback, with connections that are being answered.
func TestConnectionLimits(t *testing.T) {
	l := newLimited(nil, nil)
	var open []*conn
	take := func(n int, addr func(int) string) (taken int) {
		for i := range n {
			c := &conn{host: origin(addr(i))}
			if _, _, ok := l.take(c); ok {
				open = append(open, c)
				taken++
			}
		}
		return taken
	}
	one := func(addr string) func(int) string { return func(int) string { return addr } }
	many := func(i int) string {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1).String()
	}
	for _, tt := range []struct {
		name string
		n    int
		from func(int) string
		want int
	}{
		{"one host", 100, one("10.0.0.1:1"), maxFromHost},
		{"one host by v4 in v6", 100, one("[::ffff:10.0.0.1]:1"), 0},
		{"one v6 network", 100, func(i int) string {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), 1).String()
		}, maxFromHost},
		{"all others", 1000, many, maxRemote - 2*maxFromHost},
		{"loopback", 40, one("127.0.0.1:1"), 40},
		{"loopback by another address", 200, one("127.9.9.9:1"), maxLoopback - 40},
		{"loopback by v6", 40, one("[::1]:1"), 0},
	} {
		if got := take(tt.n, tt.from); got != tt.want {
			t.Errorf("%s: want %d taken of %d, got %d", tt.name, tt.want, tt.n, got)
		}
	}
	l.give(open[0])
	l.give(open[0])
	if got := take(2, one("10.0.0.1:1")); got != 1 {
		t.Errorf("after one was given back: want 1, got %d", got)
	}
	for _, c := range open {
		l.give(c)
	}
	l.give(open[len(open)-1])
	if len(l.open)+len(l.from)+l.remote != 0 {
		t.Errorf("after all were given back: want nothing left, got %d, %d and %d", len(l.open), len(l.from), l.remote)
	}
}

// TestNewcomersTakeThePlaceOfThoseThatWait sees that neither one host nor many
// can keep others out by connections that ask for nothing.
func TestNewcomersTakeThePlaceOfThoseThatWait(t *testing.T) {
	l := newLimited(nil, nil)
	clock := time.Unix(1e9, 0)
	enter := func(addr string) (c, evicted *conn) {
		clock = clock.Add(time.Second)
		c = &conn{host: netip.MustParseAddr(addr), waits: clock}
		evicted, _, ok := l.take(c)
		if !ok {
			t.Fatalf("want a place for %s", addr)
		}
		return c, evicted
	}
	first, _ := enter("10.9.0.1")
	quiet, _ := enter("10.9.0.2")
	hog, _ := enter("10.0.0.1")
	for range maxFromHost - 1 {
		enter("10.0.0.1")
	}
	if _, evicted := enter("10.0.0.1"); evicted != hog {
		t.Errorf("beyond the limit of its host: want that host's oldest to go, got %v", evicted)
	}
	for i := range maxRemote - maxFromHost - 2 {
		enter(netip.AddrFrom4([4]byte{10, 1, byte(i >> 4), 1}).String()) // up to 16 a host
	}
	for range 20 {
		if _, evicted := enter("10.8.0.1"); evicted == nil || evicted.host != hog.host {
			t.Errorf("beyond the limit of all: want one of the host with most to go, got %v", evicted)
		}
	}
	// Of hosts with as many, the one that has waited longest goes; never one
	// that is being answered.
	for c := range l.open {
		if c != first && c != quiet {
			l.note(c, time.Time{})
		}
	}
	l.note(first, clock)
	if _, evicted := enter("10.7.0.1"); evicted != quiet {
		t.Errorf("want the one that has waited longest to go, got %v", evicted)
	}
	for c := range l.open {
		l.note(c, time.Time{})
	}
	if _, why, ok := l.take(&conn{host: netip.MustParseAddr("10.6.0.1")}); ok || why != tooManyConnections {
		t.Errorf("with every connection being answered: want the newcomer refused, got %v, %v", why, ok)
	}
}

// TestConnectionBeyondTheLimitIsClosed sees that silent connections beyond the
// limit make room for one that asks, also beside all the streams of one host.
func TestConnectionBeyondTheLimitIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.events = func(ctx context.Context) <-chan agent.Event {
			c := make(chan agent.Event)
			context.AfterFunc(ctx, func() { close(c) })
			return c
		}
		s, p := serve(t, f)
		held := []net.Conn{p.dial("10.0.0.9:1")}
		time.Sleep(time.Second)
		for range maxFromHost - 1 {
			held = append(held, p.dial("10.0.0.9:1"))
		}
		asks := p.dial("10.0.0.9:1")
		held = append(held, asks)
		if _, err := held[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("want the oldest closed, got %v", err)
		}
		get(t, asks, "/ping")
		if resp, err := http.ReadResponse(bufio.NewReader(asks), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("want an answer, got %v, %v", resp, err)
		}
		if got := s.api.refused[tooManyFromHost].Load(); got != 1 {
			t.Errorf("counted: want 1, got %d", got)
		}
		for range maxStreamsFromHost {
			c := p.dial("10.0.0.8:1")
			openStream(t, c, "/events")
			held = append(held, c)
		}
		for range maxFromHost {
			held = append(held, p.dial("10.0.0.8:1"))
		}
		get(t, held[len(held)-1], "/ping")
		if resp, err := http.ReadResponse(bufio.NewReader(held[len(held)-1]), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("want an answer beside the streams of the same host, got %v, %v", resp, err)
		}
		local := p.dial("127.0.0.1:1")
		held = append(held, local)
		get(t, local, "/ping")
		if resp, err := http.ReadResponse(bufio.NewReader(local), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("want an answer over loopback, got %v, %v", resp, err)
		}
		for _, c := range held {
			c.Close()
		}
	})
}

// TestSummaryOfWhatWasRefused sees that refusals make a line a minute at most.
func TestSummaryOfWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := quiet(newFake())
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		_, p := serveConfig(t, c)
		time.Sleep(summaryEvery / 2)
		for _, calls := range []int{summaryLeast - 1, 1, 3 * summaryLeast} {
			for range calls {
				c := p.dial("10.0.0.9:1")
				io.WriteString(c, "POST /leave HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 401 {
					t.Fatalf("want 401, got %v, %v", resp, err)
				}
				c.Close()
				synctest.Wait() // it no longer counts against its host
			}
			time.Sleep(summaryEvery)
		}
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		const want = `level=WARN msg="many HTTP calls or connections were refused" no-token=`
		if len(lines) != 2 || !strings.HasSuffix(lines[0], want+"100") || !strings.HasSuffix(lines[1], want+"300") {
			t.Errorf("want two lines that count 100 and 300, got\n%s", log.String())
		}
	})
}
