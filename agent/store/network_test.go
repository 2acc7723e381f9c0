package store

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// opened are streams that a test has opened, and whether each is closed.
type opened struct{ closed []bool }

func (o *opened) Serve(func(Stream)) {}

func (o *opened) Open(context.Context, string) (Stream, error) {
	o.closed = append(o.closed, false)
	return idleTestStream{o, len(o.closed) - 1}, nil
}

type idleTestStream struct {
	of *opened
	n  int
}

func (s idleTestStream) Send([]byte) error           { return nil }
func (s idleTestStream) Receive() ([]byte, error)    { return []byte{0}, nil }
func (s idleTestStream) SetDeadline(time.Time) error { return nil }
func (s idleTestStream) Close() error {
	s.of.closed[s.n] = true
	return nil
}

// A stream waits for the next call for a while: one that the other end may have closed
// is not used, and none to a member that leads no more stays open.
func TestIdleStreamsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o opened
		n := newNetwork(&o, "a", func(v string) string { return v })
		for _, step := range []struct {
			what   string
			pause  time.Duration
			member string
			want   []bool
		}{
			{"the first call opens one", 0, "b", []bool{false}},
			{"the second uses it", maxIdleTime - time.Second, "b", []bool{false}},
			{"one that has waited too long is closed", maxIdleTime, "b", []bool{true, false}},
			{"one to a member that leads no more is closed", 0, "c", []bool{true, true, false}},
		} {
			time.Sleep(step.pause)
			if _, _, err := n.call(t.Context(), step.member, nil); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(o.closed, step.want) {
				t.Errorf("%s: want closed %v, got %v", step.what, step.want, o.closed)
			}
		}
		n.close()
		if !slices.Equal(o.closed, []bool{true, true, true}) {
			t.Errorf("want all closed in the end, got %v", o.closed)
		}
	})
}

// What has been sent to a voter leaves room for more.
func TestQueueOfAVoterEmpties(t *testing.T) {
	var o opened
	n := newNetwork(&o, "a", func(v string) string { return v })
	defer n.close()
	results := make(chan error, 1)
	n.sent = func(_ *parcel, err error) { results <- err }
	body := make([]byte, 1<<20)
	for sent := 0; sent < 3*maxQueued; sent += len(body) {
		n.send("b", &parcel{body: body})
		if err := <-results; err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
}
