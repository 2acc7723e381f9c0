package logqueue

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a log that is not read until it is let go.
type stuck struct {
	slog.Handler
	free  chan struct{}
	lines []string
}

func (s *stuck) Enabled(context.Context, slog.Level) bool { return true }

func (s *stuck) Handle(_ context.Context, r slog.Record) error {
	<-s.free
	s.lines = append(s.lines, r.Message)
	return nil
}

func TestALogThatNobodyReadsStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{Handler: slog.DiscardHandler, free: make(chan struct{})}
		log, queue := New(slog.New(out))
		log.Info("first")
		synctest.Wait() // the writer hangs in it
		for range backlog + 5 {
			log.Info("more") // must not block
		}
		began := time.Now()
		queue.Close()
		if waited := time.Since(began); waited != flush {
			t.Errorf("the end waited %v for a stuck log, want %v", waited, flush)
		}
		close(out.free)
		<-queue.stopped
		if want := backlog + 2; len(out.lines) != want {
			t.Errorf("lines: want %d, got %d", want, len(out.lines))
		}
		if out.lines[1] != "log lines were dropped because they are read too slowly" {
			t.Errorf("the loss is not told: second line is %q", out.lines[1])
		}
	})
}

func TestLogLinesAreAllWrittenBeforeTheEnd(t *testing.T) {
	out := &stuck{Handler: slog.DiscardHandler, free: make(chan struct{})}
	close(out.free)
	log, queue := New(slog.New(out))
	for range 100 {
		log.Info("line")
	}
	queue.Close()
	if len(out.lines) != 100 {
		t.Errorf("lines: want 100, got %d", len(out.lines))
	}
}
