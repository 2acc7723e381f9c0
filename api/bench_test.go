package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
)

// BenchmarkEmpty is what a handler that does nothing costs behind chi and
// net/http, over one loopback connection. BenchmarkLeader is to be within a
// tenth of it.
func BenchmarkEmpty(b *testing.B) {
	mux := chi.NewMux()
	mux.Get("/leader", func(http.ResponseWriter, *http.Request) {})
	benchmark(b, mux)
}

// BenchmarkLeader is GET /leader in the same place.
func BenchmarkLeader(b *testing.B) { benchmark(b, New(quiet(newFake()))) }

// BenchmarkIsLeader is GET /is-leader, which load balancers poll.
func BenchmarkIsLeader(b *testing.B) {
	h := New(quiet(newFake()))
	benchmark(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/is-leader"
		h.ServeHTTP(w, r)
	}))
}

// benchmark asks for /leader as fast as one client can. The client does next
// to nothing, so that the server is what is measured.
func benchmark(b *testing.B, h http.Handler) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(ln)
	defer srv.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := []byte("GET /leader HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")
	if _, err := c.Write(request); err != nil {
		b.Fatal(err)
	}
	size := responseSize(b, c)
	answer := make([]byte, size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// responseSize reads one answer and returns its length in bytes, which is that
// of all answers to the same request.
func responseSize(b *testing.B, c net.Conn) int {
	var counted counter
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &counted)), nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		b.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return int(counted)
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// TestLeaderAllocatesNothing compares with the empty handler: what makes the
// difference small enough.
func TestLeaderAllocatesNothing(t *testing.T) {
	mux := chi.NewMux()
	mux.Get("/leader", func(http.ResponseWriter, *http.Request) {})
	empty, leader := allocations(t, mux), allocations(t, New(quiet(newFake())))
	if leader > empty {
		t.Errorf("want no allocation beyond the %v of an empty handler, got %v", empty, leader)
	}
}

func allocations(t *testing.T, h http.Handler) float64 {
	r, err := http.NewRequest("GET", "/leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &sink{header: http.Header{}}
	return testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) })
}

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}
