package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// logBacklog is how many log lines wait for a slow reader.
	logBacklog = 1024
	// logFlush is how long the end waits for lines not yet written.
	logFlush = time.Second
)

// logQueue writes log lines in a goroutine of its own: their reader, be
// it a stopped terminal or a full pipe, must not be able to stop an election.
// Lines that find the queue full are dropped and counted.
type logQueue struct {
	lines   chan logLine
	dropped atomic.Uint64
	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

type logLine struct {
	to     slog.Handler
	record slog.Record
}

// newLogQueue returns a logger that writes to the handler of to by way of a
// queue, and the queue, to be closed at the end.
func newLogQueue(to *slog.Logger) (*slog.Logger, *logQueue) {
	q := &logQueue{lines: make(chan logLine, logBacklog), stop: make(chan struct{}), stopped: make(chan struct{})}
	go q.write()
	return slog.New(queued{Handler: to.Handler(), queue: q}), q
}

// write writes line after line until the queue is closed and empty.
func (q *logQueue) write() {
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

func (q *logQueue) writeLine(l logLine) {
	// A log that cannot be written has nowhere to say so.
	_ = l.to.Handle(context.Background(), l.record)
	if n := q.dropped.Swap(0); n != 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped because they are read too slowly", 0)
		r.AddAttrs(slog.Uint64("lines", n))
		_ = l.to.Handle(context.Background(), r)
	}
}

// close ends the queue. It waits a little for the last lines.
func (q *logQueue) close() {
	q.once.Do(func() { close(q.stop) })
	select {
	case <-q.stopped:
	case <-time.After(logFlush):
	}
}

// queued is the handler that only puts lines into the queue.
type queued struct {
	slog.Handler
	queue *logQueue
}

func (h queued) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.queue.lines <- logLine{to: h.Handler, record: r.Clone()}:
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
