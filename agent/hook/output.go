package hook

import (
	"io"
	"os"
	"strings"
	"time"
)

// MaxOutput is how many bytes of a run's output are kept.
const MaxOutput = 8 << 10

// drainLimit is how long a pipe is read on after everything that was found of
// a run is dead: far longer than it takes to empty it, and there only for a
// process that nobody found and that holds it open.
const drainLimit = 100 * time.Millisecond

// output reads what a run prints.
type output struct {
	pipe *os.File
	done chan struct{}
	kept []byte
	more bool // there was more than is kept
}

// newOutput returns the reader, and the end of the pipe to print to.
func newOutput() (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	o := &output{pipe: r, done: make(chan struct{})}
	go o.read()
	return o, w, nil
}

// read reads to the end, whatever is kept of it.
func (o *output) read() {
	defer close(o.done)
	o.kept, _ = io.ReadAll(io.LimitReader(o.pipe, MaxOutput))
	if n, _ := io.Copy(io.Discard, o.pipe); n > 0 {
		o.more = true
	}
}

// finish returns what was kept, once the run is over.
func (o *output) finish() string {
	o.pipe.SetReadDeadline(time.Now().Add(drainLimit))
	<-o.done
	o.pipe.Close()
	text := strings.ToValidUTF8(strings.TrimRight(string(o.kept), "\n"), "\uFFFD")
	if o.more {
		text += "\n[the rest is left out]"
	}
	return text
}
