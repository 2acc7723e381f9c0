package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"doyen/gossip/portable"
)

// program is one run of a program in a process group of its own.
type program struct {
	path string
	args []string
	env  []string
	// mortal: the kernel kills it when this process, or the thread that has
	// started it, ends.
	mortal bool
	// tree finds its descendants; nil: clean does.
	tree *tree
	// clean kills what is left of the program, once its group has been killed
	// and the program reaped; group is the number of its group.
	clean func(group int) error
	// spare: what it leaves running when it exits with status 0 lives on.
	spare bool
}

// run runs the program and waits until nothing of it is left.
func (p *program) run(ctx context.Context) Result {
	began := time.Now()
	res := p.once(ctx)
	res.Duration = time.Since(began)
	return res
}

func (p *program) once(ctx context.Context) Result {
	if ctx.Err() != nil {
		return Result{Exit: -1, Err: context.Cause(ctx)}
	}
	out, w, err := newOutput()
	if err != nil {
		return notStarted(err)
	}
	proc, err := p.launch(w)
	w.Close()
	if err != nil {
		out.finish()
		return notStarted(p.explain(err))
	}
	end := p.await(ctx, proc)
	state := end.state
	res := Result{Exit: state.ExitCode(), Left: end.left}
	if end.spared {
		res.Output = out.pause()
	} else {
		res.Output = out.finish()
	}
	switch {
	case ctx.Err() != nil && !state.Exited():
		res.Err = context.Cause(ctx)
	case !state.Success():
		res.Err = errors.New(state.String())
	}
	res.Err = errors.Join(res.Err, end.err)
	return res
}

// launch starts the program, marked as what it is.
func (p *program) launch(out *os.File) (*os.Process, error) {
	if p.tree == nil {
		return p.start(out, out)
	}
	return p.tree.start(func() (*os.Process, error) { return p.start(out, out) })
}

// start starts the program in a process group of its own.
func (p *program) start(stdout, stderr *os.File) (*os.Process, error) {
	if os.Geteuid() == 0 {
		if err := CheckPath(p.path); err != nil {
			return nil, err
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := portable.OwnGroup()
	if p.mortal {
		dieWithParent(attr)
	}
	return os.StartProcess(p.path, append([]string{p.path}, p.args...), &os.ProcAttr{
		Env: p.env, Files: []*os.File{null, stdout, stderr}, Sys: attr,
	})
}

// end is how a program has ended.
type end struct {
	state  *os.ProcessState
	spared bool     // what it left running lives on
	left   []string // what it left running when it exited, and was killed
	err    error    // of killing that
}

// await waits until the program has exited or ctx ends, and kills what is left of
// it, unless that is to be spared.
// Invariant: the group is killed before the program is reaped, since until then
// no other process can get the number of its group.
func (p *program) await(ctx context.Context, proc *os.Process) (e end) {
	exited := make(chan struct{})
	success := false
	go func() {
		defer close(exited)
		e.state, success = awaitExit(proc)
	}()
	select {
	case <-exited:
		e.spared = success && p.spare
		if !e.spared && p.tree != nil {
			e.left, e.err = p.tree.left()
		}
	case <-ctx.Done():
	}
	if !e.spared {
		// The kernel does this in one step: no member of the group can fork away.
		portable.SignalGroup(proc.Pid, syscall.SIGKILL)
	}
	<-exited
	if e.state == nil {
		e.state = reap(proc)
	}
	if p.tree != nil {
		p.tree.forget(proc.Pid)
	}
	switch {
	case e.spared:
	case p.tree != nil:
		e.err = errors.Join(e.err, p.tree.kill())
	default:
		e.err = p.clean(proc.Pid)
	}
	return e
}

// reap collects the exit status of a program that has ended.
func reap(proc *os.Process) *os.ProcessState {
	state, err := proc.Wait()
	if err != nil {
		panic(fmt.Sprintf("hook: the exit status of a child is gone: %v", err))
	}
	return state
}

// explain puts what is wrong with the program's file in the place of what the
// kernel said, which names the program where its interpreter is missing.
func (p *program) explain(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOEXEC) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if why := checkStart(p.path); why != nil {
		return fmt.Errorf("%w (%w)", why, errnoOf(err))
	}
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("%s is no program for this system (%w)", p.path, syscall.ENOEXEC)
	}
	return err
}

// errnoOf is the number of the error of a system call.
func errnoOf(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// notStarted is the result of a run that never was.
func notStarted(err error) Result {
	res := Result{Exit: -1, Err: fmt.Errorf("it could not be started: %w", err)}
	_, refused := errors.AsType[*RefusedError](err)
	for _, lasting := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOEXEC, syscall.ENOTDIR, syscall.ELOOP} {
		refused = refused || errors.Is(err, lasting)
	}
	res.Unusable = refused
	return res
}
