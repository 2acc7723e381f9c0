package api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

// A hold begins with the leadership, says when that is over, and keeps the
// function given to Hold from returning until the client has gone.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		lead, end := context.WithCancel(t.Context())
		leads, returned := make(chan struct{}), make(chan struct{})
		f.lead = func(ctx context.Context, g func(context.Context) error) error {
			defer close(returned)
			<-leads
			return g(lead)
		}
		_, p := serve(t, f)
		c := p.dial("127.0.0.1:1")
		if _, err := io.WriteString(c, "POST /hold?wait=1m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var text textSoFar
		go io.Copy(&text, c)
		expect := func(want string) {
			t.Helper()
			time.Sleep(2 * readTimeout) // which must not end a hold
			synctest.Wait()
			if got := text.String(); want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("the stream: got %q, want %q in it", got, want)
			}
		}
		expect("") // it has not begun
		close(leads)
		expect(`"name":"a"`)
		expect(": held")
		end()
		expect("event: over")
		select {
		case <-returned:
			t.Fatal("the leadership goes on without the client, which is still connected")
		default:
		}
		c.Close()
		<-returned
	})
}

// A hold that cannot begin says so in time.
func TestHoldRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.lead = func(ctx context.Context, _ func(context.Context) error) error {
			<-ctx.Done()
			return ctx.Err()
		}
		h := New(quiet(f))
		began := time.Now()
		if w := ask(t, h, "POST", "/hold?wait=5s"); w.Code != http.StatusServiceUnavailable || time.Since(began) != 5*time.Second {
			t.Errorf("never leading: got %d after %v, want 503 after 5s", w.Code, time.Since(began))
		}
		f.lead = func(context.Context, func(context.Context) error) error { return agent.ErrLeadershipOver }
		if w := ask(t, h, "POST", "/hold?wait=5s"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("the agent has left: got %d, want 503", w.Code)
		}
		f.isLeader = false
		for range maxHolds + 1 { // each gives its place back
			if w := ask(t, h, "POST", "/hold"); w.Code != http.StatusServiceUnavailable {
				t.Fatalf("a follower: got %d, want 503", w.Code)
			}
		}
	})
}

// textSoFar is what a stream has said, for another goroutine to read.
type textSoFar struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *textSoFar) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *textSoFar) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
