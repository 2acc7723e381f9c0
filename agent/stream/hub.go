package stream

import (
	"context"
	"sync"
)

// backlog is how many values a reader may be behind before it is cut off: more than
// one election of a large group brings in a burst.
const backlog = 256

// Hub hands values to any number of readers, each of which gets all of them. A reader
// that does not keep up loses its stream, and starts again with the current state.
// The zero value is ready.
type Hub[T any] struct {
	mu     sync.Mutex
	subs   map[chan T]struct{}
	closed bool
}

// Subscribe adds a reader. Its channel is closed when ctx ends, when the hub is
// closed, or when the reader is too slow. The first value is made under the lock, so
// that nothing happens between it and the second that the reader is not told of; first
// must not call the hub.
func (h *Hub[T]) Subscribe(ctx context.Context, first func() T) <-chan T {
	c := make(chan T, backlog)
	h.mu.Lock()
	defer h.mu.Unlock()
	c <- first()
	if h.closed {
		close(c)
		return c
	}
	if h.subs == nil {
		h.subs = map[chan T]struct{}{}
	}
	h.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.cut(c)
	})
	return c
}

// Publish hands v to every reader.
func (h *Hub[T]) Publish(v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		select {
		case c <- v:
		default:
			h.cut(c)
		}
	}
}

// Close ends all streams; a reader that comes later gets its first value alone.
func (h *Hub[T]) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.subs {
		h.cut(c)
	}
}

// cut ends one stream; the caller holds the lock. A reader that is cut off has
// had everything up to that point.
func (h *Hub[T]) cut(c chan T) {
	if _, ok := h.subs[c]; ok {
		delete(h.subs, c)
		close(c)
	}
}
