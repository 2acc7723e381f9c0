package agent

import (
	"context"
	"testing"
	"testing/synctest"
)

func number(n int) Event { return Event{Kind: "election", Data: n} }

func TestStreamStartsWithTheCurrentStateAndMissesNothing(t *testing.T) {
	var h hub
	h.publish(number(1)) // no reader is there yet
	c := h.subscribe(t.Context(), func() Event { return number(2) })
	h.publish(number(3))
	h.publish(number(4))
	for want := 2; want <= 4; want++ {
		if got := (<-c).Data; got != want {
			t.Fatalf("event: want %d, got %v", want, got)
		}
	}
}

func TestSlowReaderOfAStreamIsCutOff(t *testing.T) {
	var h hub
	slow := h.subscribe(t.Context(), func() Event { return number(0) })
	quick := h.subscribe(t.Context(), func() Event { return number(0) })
	<-quick
	for n := 1; n <= eventBacklog; n++ {
		h.publish(number(n))
		if e, ok := <-quick; !ok || e.Data != n {
			t.Fatalf("the reader that keeps up: want %d, got %v (open: %v)", n, e.Data, ok)
		}
	}
	got := 0
	for e := range slow {
		if e.Data != got {
			t.Fatalf("before the cut: want event %d, got %v", got, e.Data)
		}
		got++
	}
	if got != eventBacklog {
		t.Errorf("events before the cut: want %d, got %d", eventBacklog, got)
	}
}

func TestStreamEndsWithItsContextAndWithTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub
		ctx, cancel := context.WithCancel(t.Context())
		first := h.subscribe(ctx, func() Event { return number(0) })
		second := h.subscribe(t.Context(), func() Event { return number(0) })
		cancel()
		synctest.Wait()
		h.publish(number(1))
		h.close()
		for name, c := range map[string]<-chan Event{"first": first, "second": second} {
			n := 0
			for range c {
				n++
			}
			if want := map[string]int{"first": 1, "second": 2}[name]; n != want {
				t.Errorf("%s: want %d events, got %d", name, want, n)
			}
		}
		n := 0
		for range h.subscribe(t.Context(), func() Event { return number(0) }) {
			n++
		}
		if n != 1 {
			t.Errorf("a stream of a stopped agent: want the state alone, got %d events", n)
		}
	})
}

func TestWatchGivesTheCurrentAndThenTheNewest(t *testing.T) {
	var w watchers
	c := w.add(t.Context(), func() Status { return Status{Term: 1} })
	if got := (<-c).Term; got != 1 {
		t.Fatalf("first: want term 1, got %d", got)
	}
	for term := uint64(2); term <= 5; term++ {
		w.publish(Status{Term: term})
	}
	if got := (<-c).Term; got != 5 {
		t.Errorf("after a pause: want the newest, term 5, got %d", got)
	}
	w.publish(Status{Term: 5})
	select {
	case s := <-c:
		t.Errorf("a status that has not changed was told again: %+v", s)
	default:
	}
	w.close()
	if _, open := <-c; open {
		t.Error("the channel is open although the agent has stopped")
	}
}
