package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answering has each call answered by its own body, unless that is "silent".
type answering struct{ all []*answeringStream }

func (a *answering) Serve(func(Stream)) {}

func (a *answering) Open(context.Context, string) (Stream, error) {
	s := &answeringStream{ending: newEnding(), answers: make(chan []byte, 16)}
	a.all = append(a.all, s)
	return s, nil
}

// closed tells of each stream that was opened whether it is closed.
func (a *answering) closed() (all []bool) {
	for _, s := range a.all {
		select {
		case <-s.over:
			all = append(all, true)
		default:
			all = append(all, false)
		}
	}
	return all
}

type answeringStream struct {
	ending
	answers chan []byte
}

// ending is what all streams of tests have.
type ending struct {
	over chan struct{}
	once *sync.Once
}

func newEnding() ending { return ending{make(chan struct{}), new(sync.Once)} }

func (e ending) SetWriteDeadline(time.Time) error { return nil }

func (e ending) Close() error {
	e.once.Do(func() { close(e.over) })
	return nil
}

func (s *answeringStream) Send(messages ...[]byte) error {
	for _, b := range messages {
		if b[0] == callMessage && string(b[callHead:]) != "silent" {
			s.answers <- b[2:]
		}
	}
	return nil
}

func (s *answeringStream) Receive() ([]byte, error) {
	select {
	case b := <-s.answers:
		return b, nil
	case <-s.over:
		return nil, errors.New("closed")
	}
}

// Calls share a stream while it is used, and long answers have their own. A stream is closed
// when it has had no call for a while, and, with its calls, when another member leads.
func TestCallStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o answering
		var leader atomic.Value
		leader.Store("b")
		leads := func() string { return leader.Load().(string) }
		n := newNetwork(&o, "a", func(v string) string { return v }, leads)
		call := func(kind byte, text string) (sent bool, err error) {
			t.Helper()
			answer, sent, err := n.call(t.Context(), leads(), kind, []byte(text))
			if err == nil && string(answer) != text {
				t.Errorf("asked %q, and got the answer %q", text, answer)
			}
			return sent, err
		}
		for _, step := range []struct {
			what  string
			pause time.Duration
			do    func() error
			want  []bool
		}{
			{"the first call opens one", 0, func() error { _, err := call(callGet, "1"); return err }, []bool{false}},
			{"the second uses it", maxIdleTime - time.Second, func() error { _, err := call(callWrite, "2"); return err }, []bool{false}},
			{"a long answer has its own", 0, func() error { _, err := call(callSave, "3"); return err }, []bool{false, true}},
			{"one without a call is closed", maxIdleTime + leaderLook, nil, []bool{true, true}},
			{"and the next call opens one", 0, func() error { _, err := call(callGet, "4"); return err }, []bool{true, true, false}},
			{"one that a call waits on stays", 0, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*maxIdleTime)
				defer cancel()
				_, sent, err := n.call(ctx, leads(), callWrite, []byte("silent"))
				if !sent || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got sent %v, %v", sent, err)
				}
				return nil
			}, []bool{true, true, false}},
			{"one to a member that leads no more is closed, and its call ends", 0, func() error {
				time.AfterFunc(time.Second, func() { leader.Store("c") })
				began := time.Now()
				if sent, err := call(callWrite, "silent"); !sent || !errors.Is(err, errAnotherLeads) {
					t.Errorf("got sent %v, %v", sent, err)
				}
				if took := time.Since(began) - time.Second; took < leaderLook || took > 3*leaderLook {
					t.Errorf("it ended %v after another led", took)
				}
				return nil
			}, []bool{true, true, true}},
			{"the next leader has one", 0, func() error { _, err := call(callGet, "5"); return err }, []bool{true, true, true, false}},
		} {
			time.Sleep(step.pause)
			if step.do != nil {
				if err := step.do(); err != nil {
					t.Errorf("%s: %v", step.what, err)
				}
			}
			synctest.Wait()
			if got := o.closed(); !slices.Equal(got, step.want) {
				t.Errorf("%s: want closed %v, got %v", step.what, step.want, got)
			}
		}
		n.close()
		if got := o.closed(); slices.Contains(got, false) {
			t.Errorf("want all closed in the end, got %v", got)
		}
		if _, sent, err := n.call(t.Context(), leads(), callGet, []byte("6")); sent || err == nil {
			t.Errorf("a call after the end: sent %v, %v", sent, err)
		}
	})
}

// Many calls at once are one stream, and each gets its own answer.
func TestCallsShareAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o answering
		n := newNetwork(&o, "a", func(v string) string { return v }, func() string { return "b" })
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				text := string(rune('a' + i))
				if answer, _, err := n.call(t.Context(), "b", callWrite, []byte(text)); err != nil || string(answer) != text {
					t.Errorf("asked %q: got %q, %v", text, answer, err)
				}
			})
		}
		wg.Wait()
		if len(o.all) != 1 {
			t.Errorf("500 calls opened %d streams", len(o.all))
		}
		n.close()
	})
}

// What has been sent to a voter leaves room for more.
func TestQueueOfAVoterEmpties(t *testing.T) {
	var o answering
	n := newNetwork(&o, "a", func(v string) string { return v }, func() string { return "" })
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
