package journald

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestHandler(t *testing.T) {
	var b strings.Builder
	log := slog.New(NewHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", "a").WithGroup("g")
	log.Error("one", "k", 1)
	log.Warn("two")
	log.Info("three\nlines")
	log.Debug("four")
	want := `<3>level=ERROR msg=one node=a g.k=1
<4>level=WARN msg=two node=a
<6>level=INFO msg="three\nlines" node=a
<7>level=DEBUG msg=four node=a
`
	if b.String() != want {
		t.Errorf("want\n%sgot\n%s", want, b.String())
	}
}

func TestTakes(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	journal, other := open("journal"), open("other")
	var s syscall.Stat_t
	if err := syscall.Fstat(int(journal.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	for _, test := range []struct {
		to   io.Writer
		want bool
	}{{journal, true}, {other, false}, {&strings.Builder{}, false}} {
		if got := Takes(test.to); got != test.want {
			t.Errorf("%v: want %v, got %v", test.to, test.want, got)
		}
	}
	t.Setenv("JOURNAL_STREAM", "")
	if Takes(journal) {
		t.Error("want no journal without JOURNAL_STREAM")
	}
}
