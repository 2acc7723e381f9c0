package hook

import (
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"doyen/gossip/portable"
)

// MaxOutput is how many bytes of a run's output are kept.
const MaxOutput = 8 << 10

// drainLimit is how long a pipe is read on after everything that was found of
// a run is dead: far longer than it takes to empty it, and there only for a
// process that was not found and that holds it open.
const drainLimit = 100 * time.Millisecond

// output reads what a run prints.
type output struct {
	pipe *os.File
	raw  syscall.RawConn
	done chan struct{} // closed at the end of the pipe

	mu   sync.Mutex
	buf  []byte
	kept []byte
	more bool // there was more than is kept
}

// newOutput returns the reader, and the end of the pipe to print to.
func newOutput() (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	o := &output{pipe: r, done: make(chan struct{}), buf: make([]byte, 4<<10)}
	if o.raw, err = r.SyscallConn(); err != nil {
		r.Close()
		w.Close()
		return nil, nil, err
	}
	go o.read()
	return o, w, nil
}

// read reads to the end, also when no more of it is kept.
func (o *output) read() {
	defer close(o.done)
	o.raw.Read(o.empty)
}

// empty takes what is in the pipe; false: more may come.
func (o *output) empty(fd uintptr) (end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if n, err := o.take(fd); n <= 0 {
			return !errors.Is(err, syscall.EAGAIN)
		}
	}
}

// take reads once, and keeps what there is room for. The caller holds mu.
func (o *output) take(fd uintptr) (n int, err error) {
	for {
		if n, err = portable.Read(fd, o.buf); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if n > 0 {
		keep := min(n, MaxOutput-len(o.kept))
		o.kept = append(o.kept, o.buf[:keep]...)
		o.more = o.more || keep < n
	}
	return n, err
}

// rest takes what is in the pipe, until no more of it is kept: a process that prints
// without end does not hold it up.
func (o *output) rest() {
	o.raw.Control(func(fd uintptr) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for !o.more {
			if n, _ := o.take(fd); n <= 0 {
				return
			}
		}
	})
}

// finish returns what was kept, once the run is over and all of it is dead. The limit
// may pass before the reader runs, so what is in the pipe is taken once more.
func (o *output) finish() string {
	o.pipe.SetReadDeadline(time.Now().Add(drainLimit))
	<-o.done
	o.rest()
	o.pipe.Close()
	return o.text()
}

// pause returns what was kept of a run that is over and has left processes
// running: they may go on printing, and it is thrown away.
func (o *output) pause() string {
	o.rest()
	go func() {
		<-o.done
		o.pipe.Close()
	}()
	return o.text()
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := strings.ToValidUTF8(strings.TrimRight(string(o.kept), "\n"), "\uFFFD")
	if o.more {
		text += "\n[the rest is left out]"
	}
	return text
}
