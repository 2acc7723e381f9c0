package logqueue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// backlog is how many log lines wait for a slow reader.
	backlog = 1024
	// flush is how long the end waits for lines not yet written.
	flush = time.Second
)

// Queue writes log lines in a goroutine of its own. Lines that find it full are
// dropped and counted.
type Queue struct {
	lines   chan line
	dropped atomic.Uint64
	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

type line struct {
	to     slog.Handler
	record slog.Record
}

// New returns a logger that writes to the handler of to by way of a
// queue, and the queue, to be closed at the end.
func New(to *slog.Logger) (*slog.Logger, *Queue) {
	q := &Queue{lines: make(chan line, backlog), stop: make(chan struct{}), stopped: make(chan struct{})}
	go q.write()
	return slog.New(queued{Handler: to.Handler(), queue: q}), q
}

// write writes line after line until the queue is closed and empty.
func (q *Queue) write() {
	defer close(q.stopped)
	for {
		select {
		case l := <-q.lines:
			q.writeLine(l)
			continue
		default:
		}
		select {
		case l := <-q.lines:
			q.writeLine(l)
		case <-q.stop:
			return
		}
	}
}

func (q *Queue) writeLine(l line) {
	// A log that cannot be written has nowhere to say so.
	_ = l.to.Handle(context.Background(), l.record)
	if n := q.dropped.Swap(0); n != 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped because they are read too slowly", 0)
		r.AddAttrs(slog.Uint64("lines", n))
		_ = l.to.Handle(context.Background(), r)
	}
}

// Close ends the queue. It waits a little for the last lines.
func (q *Queue) Close() {
	q.once.Do(func() { close(q.stop) })
	select {
	case <-q.stopped:
	case <-time.After(flush):
	}
}

// queued is the handler that only puts lines into the queue.
type queued struct {
	slog.Handler
	queue *Queue
}

func (h queued) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.queue.lines <- line{to: h.Handler, record: r.Clone()}:
	default:
		h.queue.dropped.Add(1)
	}
	return nil
}

func (h queued) WithAttrs(attrs []slog.Attr) slog.Handler {
	return queued{Handler: h.Handler.WithAttrs(attrs), queue: h.queue}
}

func (h queued) WithGroup(name string) slog.Handler {
	return queued{Handler: h.Handler.WithGroup(name), queue: h.queue}
}
