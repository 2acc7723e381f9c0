package hook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"doyen/gossip/portable"
)

// Command is what an election runs while this node leads it.
type Command struct {
	// Args are the program, as an absolute path, and its arguments.
	Args []string
	// Owner is the election.
	Owner Owner
	// Reaper is this process, if it is one; nil: it is not.
	Reaper *Reaper
	// Output is where both outputs of the command go.
	Output *Output
}

// pollTree is how often a command that is to end is looked at.
const pollTree = 2 * time.Millisecond

// Run runs the command until it has exited and everything that it has started is
// dead. When stop ends, all of it gets SIGTERM; when kill ends, SIGKILL. started
// is told the number of the process. What the command leaves running when it exits
// by itself is killed, and named in the result.
func (c *Command) Run(stop, kill context.Context, env Env, started func(pid int)) Result {
	if stop.Err() != nil {
		return Result{Exit: -1, Err: context.Cause(stop)}
	}
	began := time.Now()
	env.Event = commandEvent
	env.Node, env.Cluster, env.Election = c.Owner.Node, c.Owner.Cluster, c.Owner.Election
	t := &tree{owner: c.Owner, class: command, reaper: c.Reaper}
	p := program{path: c.Args[0], args: c.Args[1:], env: env.environ(os.Environ()), tree: t}
	out, err := c.Output.open()
	if err != nil {
		return notStarted(err)
	}
	proc, err := t.start(func() (*os.Process, error) { return p.start(out.stdout, out.stderr) })
	out.started()
	if err != nil {
		return notStarted(p.explain(err))
	}
	started(proc.Pid)
	e := t.await(stop, kill, proc)
	res := Result{Exit: e.state.ExitCode(), Left: e.left, Duration: time.Since(began)}
	if !e.state.Success() {
		res.Err = errors.New(e.state.String())
	}
	res.Err = errors.Join(res.Err, e.err)
	return res
}

// await waits until the program of t has exited or is to end, and all that it has
// started is dead.
func (t *tree) await(stop, kill context.Context, proc *os.Process) (e end) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		e.state, _ = awaitExit(proc)
	}()
	select {
	case <-exited:
		e.left, e.err = t.left()
	case <-kill.Done():
	case <-stop.Done():
		portable.SignalGroup(proc.Pid, syscall.SIGTERM)
		t.signal(syscall.SIGTERM)
		t.awaitAll(kill, exited)
	}
	// Until the program is reaped, no other process can get the number of its group.
	portable.SignalGroup(proc.Pid, syscall.SIGKILL)
	<-exited
	if e.state == nil {
		e.state = reap(proc)
	}
	t.forget(proc.Pid)
	e.err = errors.Join(e.err, t.kill())
	return e
}

// awaitAll waits until the program has exited and all that it has started is dead,
// or until kill ends.
func (t *tree) awaitAll(kill context.Context, exited <-chan struct{}) {
	select {
	case <-exited:
	case <-kill.Done():
		return
	}
	for t.lives() {
		select {
		case <-kill.Done():
			return
		case <-time.After(pollTree):
		}
	}
}

// Output passes what commands print on, line by line: a line of one never breaks
// another's. It is safe for concurrent use.
type Output struct {
	Stdout, Stderr io.Writer

	mu      sync.Mutex
	copying sync.WaitGroup
}

// Wait waits until all that was printed is written, or for the time given.
func (o *Output) Wait(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		o.copying.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// outputs are the ends of the pipes that a command prints to.
type outputs struct{ stdout, stderr *os.File }

// started closes the ends, once the command has its own.
func (o *outputs) started() {
	o.stdout.Close()
	o.stderr.Close()
}

func (o *Output) open() (*outputs, error) {
	stdout, err := o.pipe(o.Stdout)
	if err != nil {
		return nil, err
	}
	stderr, err := o.pipe(o.Stderr)
	if err != nil {
		stdout.Close()
		return nil, err
	}
	return &outputs{stdout, stderr}, nil
}

func (o *Output) pipe(to io.Writer) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.copying.Go(func() {
		defer r.Close()
		o.copyLines(to, r)
	})
	return w, nil
}

// maxLine is how long a line may be and still be written as one.
const maxLine = 64 << 10

// copyLines writes whole lines, as many at once as there are. It reads to the end
// even if nothing can be written any more, so that the command never notices.
func (o *Output) copyLines(to io.Writer, from io.Reader) {
	buf := make([]byte, 0, maxLine)
	for {
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		whole := bytes.LastIndexByte(buf, '\n') + 1
		switch {
		case err != nil && whole < len(buf): // the last line has no end
			buf = append(buf, '\n')
			whole = len(buf)
		case whole == 0 && len(buf) == cap(buf):
			whole = len(buf)
		}
		if whole > 0 {
			o.mu.Lock()
			to.Write(buf[:whole])
			o.mu.Unlock()
		}
		if err != nil {
			return
		}
		buf = append(buf[:0], buf[whole:]...)
	}
}
