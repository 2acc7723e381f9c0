package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// mark tells a keeper process that it is one. Hooks never see it.
	mark = "DOYEN_KEEPER"
	// maxMessage limits one message between agent and keeper; the largest is
	// a report with MaxOutput bytes, each escaped.
	maxMessage = 128 << 10
)

// helloLimit is how long a keeper process may take for each message at its start. Tests
// change it.
var helloLimit = 10 * time.Second

// process is a keeper process and this side of the socket to it.
type process struct {
	*os.Process
	socket *os.File
	// Its last words on each election. told receives when that has changed.
	mu   sync.Mutex
	said map[string]said
	told chan struct{}
}

// said is what a keeper process has told of one election: the order that it has
// taken in last, and the term that it has released last.
type said struct{ seen, released uint64 }

// of returns what the process has told of an election.
func (p *process) of(election string) said {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said[election]
}

// note keeps what the process tells about the orders it was given.
func (p *process) note(r *Report) {
	p.mu.Lock()
	s := p.said[r.Election]
	s.seen = max(r.Seen, s.seen)
	if r.Released != 0 {
		s.released = r.Released
	}
	p.said[r.Election] = s
	p.mu.Unlock()
	select {
	case p.told <- struct{}{}:
	default:
	}
}

// spawn starts a keeper process for the places and waits until it says that it is
// one.
func spawn(cfg *Config, places []*place, memory *os.File) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	defer null.Close()
	// It is in a session of its own, so that what is typed at the terminal, or
	// its closing, reaches the agent alone.
	proc, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], Command, cfg.Node}, &os.ProcAttr{
		Env:   append(os.Environ(), mark+"=1"),
		Files: []*os.File{null, stdoutOr(null), os.Stderr, theirs, memory},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	theirs.Close() // now its end is that of the process alone
	p := &process{Process: proc, socket: ours, said: map[string]said{}, told: make(chan struct{}, 1)}
	if err := p.greet(cfg, places); err != nil {
		p.Kill() // which changes nothing if it has ended already
		state, _ := p.Wait()
		ours.Close()
		return nil, fmt.Errorf("starting the keeper: %w (%v)", err, state)
	}
	return p, nil
}

// stdoutOr returns standard output, or other if this process was started without.
func stdoutOr(other *os.File) *os.File {
	if _, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_GETFD, 0); err != nil {
		return other
	}
	return os.Stdout
}

// greet hands the configuration over, and waits until each message has been obeyed: how
// many there are depends on the elections.
func (p *process) greet(cfg *Config, places []*place) error {
	defer p.socket.SetDeadline(time.Time{})
	buf := make([]byte, maxMessage)
	shared := *cfg
	shared.Elections = nil
	if err := p.ask(&message{Config: &shared, Places: len(places)}, buf, "; main must call keeper.Init first"); err != nil {
		return err
	}
	for _, place := range places {
		if err := p.ask(&message{Place: place}, buf, " for the election "+place.Election.Name); err != nil {
			return err
		}
	}
	return nil
}

// ask writes a message and waits for the answer. about is what to add if none comes.
func (p *process) ask(m *message, buf []byte, about string) error {
	p.socket.SetDeadline(time.Now().Add(helloLimit))
	var answer Report
	err := p.write(m)
	if err == nil {
		err = p.read(buf, &answer)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it ended before it answered" + about)
	case err != nil:
		return fmt.Errorf("it does not answer%s: %w", about, err)
	}
	if answer.Err != "" {
		return errors.New(answer.Err)
	}
	return nil
}

// hangUp tells the other side that no more will come.
func (p *process) hangUp() {
	if raw, err := p.socket.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}

func (p *process) read(buf []byte, v any) error { return readMessage(p.socket, buf, v) }
func (p *process) write(v any) error            { return writeMessage(p.socket, v) }

// socketPair returns the two ends of a socket that keeps messages whole.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "agent"), nil
}

// readMessage reads one message. The end of the other side is an error.
func readMessage(from *os.File, buf []byte, v any) error {
	n, err := from.Read(buf)
	if err != nil {
		return err
	}
	return json.Unmarshal(buf[:n], v)
}

// writeMessage writes one message: whole, or not at all.
func writeMessage(to *os.File, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("a message of %d bytes is longer than %d", len(b), maxMessage)
	}
	_, err = to.Write(b)
	return err
}

// newMemory returns memory to share with keeper processes, of a size that
// no process can change: a smaller one would kill its readers.
func newMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("doyen-deadline", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("creating shared memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "doyen-deadline")
	if err := file.Truncate(maxSlots * slotSize); err != nil {
		file.Close()
		return nil, fmt.Errorf("creating shared memory: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		file.Close()
		return nil, fmt.Errorf("sealing shared memory: %w", err)
	}
	return file, nil
}

// mapMemory maps the shared memory.
func mapMemory(fd int) ([]byte, error) {
	b, err := unix.Mmap(fd, 0, maxSlots*slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping shared memory: %w", err)
	}
	return b, nil
}
