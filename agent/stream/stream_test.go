package stream

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestStreamStartsWithTheCurrentStateAndMissesNothing(t *testing.T) {
	var h Hub[int]
	h.Publish(1) // no reader is there yet
	c := h.Subscribe(t.Context(), func() int { return 2 })
	h.Publish(3)
	h.Publish(4)
	for want := 2; want <= 4; want++ {
		if got := <-c; got != want {
			t.Fatalf("event: want %d, got %v", want, got)
		}
	}
}

func TestSlowReaderOfAStreamIsCutOff(t *testing.T) {
	var h Hub[int]
	slow := h.Subscribe(t.Context(), func() int { return 0 })
	quick := h.Subscribe(t.Context(), func() int { return 0 })
	<-quick
	for n := 1; n <= backlog; n++ {
		h.Publish(n)
		if e, ok := <-quick; !ok || e != n {
			t.Fatalf("the reader that keeps up: want %d, got %v (open: %v)", n, e, ok)
		}
	}
	got := 0
	for e := range slow {
		if e != got {
			t.Fatalf("before the cut: want event %d, got %v", got, e)
		}
		got++
	}
	if got != backlog {
		t.Errorf("events before the cut: want %d, got %d", backlog, got)
	}
}

func TestStreamEndsWithItsContextAndWithTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub[int]
		ctx, cancel := context.WithCancel(t.Context())
		first := h.Subscribe(ctx, func() int { return 0 })
		second := h.Subscribe(t.Context(), func() int { return 0 })
		cancel()
		synctest.Wait()
		h.Publish(1)
		h.Close()
		for name, c := range map[string]<-chan int{"first": first, "second": second} {
			n := 0
			for range c {
				n++
			}
			if want := map[string]int{"first": 1, "second": 2}[name]; n != want {
				t.Errorf("%s: want %d events, got %d", name, want, n)
			}
		}
		n := 0
		for range h.Subscribe(t.Context(), func() int { return 0 }) {
			n++
		}
		if n != 1 {
			t.Errorf("a stream of a stopped agent: want the state alone, got %d events", n)
		}
	})
}

func TestWatchGivesTheCurrentAndThenTheNewest(t *testing.T) {
	var w Latest[int]
	c := w.Watch(t.Context(), func() int { return 1 })
	if got := <-c; got != 1 {
		t.Fatalf("first: want 1, got %d", got)
	}
	for n := 2; n <= 5; n++ {
		w.Publish(n)
	}
	if got := <-c; got != 5 {
		t.Errorf("after a pause: want the newest, 5, got %d", got)
	}
	w.Publish(5)
	select {
	case s := <-c:
		t.Errorf("a value that has not changed was told again: %v", s)
	default:
	}
	w.Close()
	if _, open := <-c; open {
		t.Error("the channel is open although the agent has stopped")
	}
}
