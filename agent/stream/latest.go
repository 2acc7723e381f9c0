package stream

import (
	"context"
	"sync"
)

// Latest gives the newest value to any number of readers. Each has a mailbox with room
// for one value; an unread one is replaced. The zero value is ready.
type Latest[T comparable] struct {
	mu     sync.Mutex
	boxes  map[chan T]struct{}
	last   T
	closed bool
}

// Watch adds a reader, which gets the current value first. Its channel is closed when
// ctx ends or Latest is closed. current must not call Latest.
func (w *Latest[T]) Watch(ctx context.Context, current func() T) <-chan T {
	c := make(chan T, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	c <- current()
	if w.closed {
		close(c)
		return c
	}
	if w.boxes == nil {
		w.boxes = map[chan T]struct{}{}
	}
	w.boxes[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := w.boxes[c]; ok {
			delete(w.boxes, c)
			close(c)
		}
	})
	return c
}

// Publish puts v into every mailbox, unless it is the value published last. Only one
// goroutine may call it, so that once the old value is out there is room.
func (w *Latest[T]) Publish(v T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v == w.last {
		return
	}
	w.last = v
	for c := range w.boxes {
		select {
		case <-c:
		default:
		}
		c <- v
	}
}

// Close ends all streams; a reader that comes later gets the current value alone.
func (w *Latest[T]) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.boxes {
		close(c)
	}
	clear(w.boxes)
}
