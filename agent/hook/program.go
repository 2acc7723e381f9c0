package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// program is one run of a program in a process group of its own.
type program struct {
	path string
	args []string
	env  []string
	// mortal: the kernel kills it when this process, or the thread that has
	// started it, ends.
	mortal bool
	// clean kills what has left the group, once the group is dead.
	clean func() error
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
	proc, err := p.start(w)
	w.Close()
	if err != nil {
		out.finish()
		return notStarted(err)
	}
	state := await(ctx, proc)
	left := p.clean()
	res := Result{Exit: state.ExitCode(), Output: out.finish()}
	switch {
	case ctx.Err() != nil && !state.Exited():
		res.Err = context.Cause(ctx)
	case !state.Success():
		res.Err = errors.New(state.String())
	}
	res.Err = errors.Join(res.Err, left)
	return res
}

// start starts the program in a process group of its own.
func (p *program) start(out *os.File) (*os.Process, error) {
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
	attr := &syscall.SysProcAttr{Setpgid: true}
	if p.mortal {
		dieWithParent(attr)
	}
	return os.StartProcess(p.path, append([]string{p.path}, p.args...), &os.ProcAttr{
		Env: p.env, Files: []*os.File{null, out, out}, Sys: attr,
	})
}

// await waits until the program has exited or ctx ends, and kills its group.
// Invariant: the group is killed before the program is reaped, since until then
// nobody else can get the number of its group.
func await(ctx context.Context, proc *os.Process) (state *os.ProcessState) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		state = awaitExit(proc)
	}()
	select {
	case <-exited:
	case <-ctx.Done():
	}
	// The kernel does this in one step: no member of the group can fork away.
	syscall.Kill(-proc.Pid, syscall.SIGKILL)
	<-exited
	if state == nil {
		state = reap(proc)
	}
	return state
}

// reap collects the exit status of a program that has ended.
func reap(proc *os.Process) *os.ProcessState {
	state, err := proc.Wait()
	if err != nil {
		panic(fmt.Sprintf("hook: the exit status of a child is gone: %v", err))
	}
	return state
}

// notStarted is the result of a run that never was.
func notStarted(err error) Result {
	res := Result{Exit: -1}
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		res.Unusable = true
	case errors.Is(err, syscall.ENOEXEC):
		res.Unusable = true
		err = fmt.Errorf("%w; a script begins with a line such as #!/bin/sh", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		res.Unusable = true
	}
	res.Err = fmt.Errorf("it could not be started: %w", err)
	return res
}
