// Package journald writes log lines as systemd's journal likes them: without a
// time stamp, which it adds itself, and behind a syslog priority such as <6>,
// which it takes off again (sd-daemon(3)).
//
// Internal to Doyen: no promise.
package journald

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"doyen/gossip/portable"
)

// Takes reports whether what is written to w goes to the journal.
// JOURNAL_STREAM alone does not say so: a program started by a service inherits
// the variable, and may have its output elsewhere.
func Takes(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	id := portable.FileID(info)
	return id != "" && os.Getenv("JOURNAL_STREAM") == id
}

// Priority is the prefix of a line of that level.
func Priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// NewHandler returns a handler that writes lines of text for the journal.
func NewHandler(w io.Writer, o *slog.HandlerOptions) slog.Handler {
	l := &line{to: w}
	return handler{Handler: slog.NewTextHandler(&l.text, o), line: l}
}

// line is where all handlers that stem from one put a line together.
type line struct {
	mu   sync.Mutex
	text bytes.Buffer
	to   io.Writer
}

type handler struct {
	slog.Handler
	line *line
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	l := h.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
	l.text.WriteString(Priority(r.Level))
	r.Time = time.Time{} // which handlers leave out
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := l.to.Write(l.text.Bytes())
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{Handler: h.Handler.WithAttrs(attrs), line: h.line}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{Handler: h.Handler.WithGroup(name), line: h.line}
}
