package agent

import (
	"context"
	"sync"
	"time"
)

// eventBacklog is how many events a reader may be behind before it is cut off:
// more than one election of a large group brings in a burst.
const eventBacklog = 256

// hub hands events to any number of readers. The one who publishes never
// waits: a reader that does not keep up loses its stream, and starts again
// with the current state.
type hub struct {
	mu     sync.Mutex
	subs   map[chan Event]struct{}
	closed bool
}

// Subscribe streams events, the current state first. The channel is closed
// when ctx ends, when Run returns, or when the reader is too slow.
func (e *Election) Subscribe(ctx context.Context) <-chan Event {
	return e.events.subscribe(ctx, func() Event {
		return Event{Kind: "state", Time: time.Now(), Data: e.State()}
	})
}

// subscribe adds a reader. The first event is made under the lock, so that
// nothing happens between it and the second that the reader is not told of.
func (h *hub) subscribe(ctx context.Context, first func() Event) <-chan Event {
	c := make(chan Event, eventBacklog)
	h.mu.Lock()
	defer h.mu.Unlock()
	c <- first()
	if h.closed {
		close(c)
		return c
	}
	if h.subs == nil {
		h.subs = map[chan Event]struct{}{}
	}
	h.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.cut(c)
	})
	return c
}

// publish hands e to every reader.
func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		select {
		case c <- e:
		default:
			h.cut(c)
		}
	}
}

// close ends all streams.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.subs {
		h.cut(c)
	}
}

// cut ends one stream; the caller holds the lock. A reader that is cut off has
// had everything up to that point.
func (h *hub) cut(c chan Event) {
	if _, ok := h.subs[c]; ok {
		delete(h.subs, c)
		close(c)
	}
}
