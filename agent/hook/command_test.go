//go:build linux

package hook

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines notes each write that it gets.
type lines struct {
	mu  sync.Mutex
	got []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, string(b))
	return len(b), nil
}

// Every write ends with the end of a line, however the lines come; only one that is
// longer than any line should be comes in parts.
func TestOutputIsWrittenInWholeLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	for text, want := range map[string][]string{
		"a\nb\n":     {"a\nb\n"},
		"a\nb|c\n|d": {"a\n", "bc\n", "d\n"},
		"|":          nil,
		long + "\ny": {long[:maxLine], long[maxLine:] + "\n", "y\n"},
	} {
		r, w := io.Pipe()
		go func() {
			for part := range strings.SplitSeq(text, "|") {
				io.WriteString(w, part)
			}
			w.Close()
		}()
		var got lines
		new(Output).copyLines(&got, r)
		if fmt.Sprint(got.got) != fmt.Sprint(want) {
			t.Errorf("%.20q: want %d writes %.40q, got %d %.40q", text, len(want), want, len(got.got), got.got)
		}
	}
}

// A command that is to end before it has started does not start.
func TestCommandStoppedBeforeItsStart(t *testing.T) {
	stop, cancel := context.WithCancelCause(t.Context())
	cancel(errTest)
	c := Command{Args: []string{script(t, "exit 0")}, Output: &Output{Stdout: io.Discard, Stderr: io.Discard}}
	if res := c.Run(stop, t.Context(), Env{}, func(int) { t.Error("it has started") }); res.Exit != -1 || res.Err != errTest {
		t.Errorf("want %v, got %+v", errTest, res)
	}
	if res := c.Run(t.Context(), t.Context(), Env{}, func(int) {}); res.Exit != 0 || res.Err != nil || res.Duration > time.Minute {
		t.Errorf("want it to exit with 0, got %+v", res)
	}
}
