package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Event is what the hook is told as its only argument.
type Event string

// The events.
const (
	Release Event = "release"
	Acquire Event = "acquire"
	Check   Event = "check"
	Change  Event = "change"
)

// Env is what a run of the hook is told in its environment.
type Env struct {
	Event Event
	// Term is the fencing token.
	Term uint64
	// Node and Addr are this member, Leader and LeaderAddr the leader, Previous
	// the leader before; "" if there is none.
	Node, Addr, Leader, LeaderAddr, Previous string
	// Reason says why this event happens.
	Reason string
	// Rule and Cluster are the agent's settings.
	Rule, Cluster string
	// Limit is how long the run may take.
	Limit time.Duration
}

// prefix is that of all variables of ours.
const prefix = "DOYEN_"

// environ lays the event over the environment that is inherited. Variables of
// ours that are inherited are settings of the agent, and none of the hook's
// business.
func (e *Env) environ(inherited []string) []string {
	env := make([]string, 0, len(inherited)+11)
	for _, kv := range inherited {
		if !strings.HasPrefix(kv, prefix) {
			env = append(env, kv)
		}
	}
	for _, v := range []struct{ name, value string }{
		{"EVENT", string(e.Event)},
		{"TERM", strconv.FormatUint(e.Term, 10)},
		{"NODE", e.Node},
		{"ADDR", e.Addr},
		{"LEADER", e.Leader},
		{"LEADER_ADDR", e.LeaderAddr},
		{"PREVIOUS_LEADER", e.Previous},
		{"REASON", e.Reason},
		{"RULE", e.Rule},
		{"CLUSTER", e.Cluster},
		{"DEADLINE_MS", strconv.FormatInt(max(e.Limit.Milliseconds(), 0), 10)},
	} {
		env = append(env, prefix+v.name+"="+v.value)
	}
	return env
}

// Result is how a run ended.
type Result struct {
	// Exit is the exit status; -1: it was killed, or could not be started.
	Exit int
	// Err is nil if the program exited by itself with status 0.
	Err error
	// Unusable: there was no run, and trying again at once is no use, because
	// the program is missing, cannot be executed, or was refused.
	Unusable bool
	Duration time.Duration
	// Output is the beginning of what the program printed.
	Output string
}

// Runner runs one hook program. Its runs must not overlap.
type Runner struct {
	// Path is the program, as an absolute path.
	Path string
	// Subreaper says that this process is a child subreaper and has no other
	// children than the hook's.
	Subreaper bool
}

// Run runs the hook once and waits until nothing of it is left. When ctx ends
// it is killed, and the cause of ctx is the error.
func (r *Runner) Run(ctx context.Context, env Env) Result {
	began := time.Now()
	res := r.run(ctx, &env)
	res.Duration = time.Since(began)
	return res
}

func (r *Runner) run(ctx context.Context, env *Env) Result {
	if ctx.Err() != nil {
		return Result{Exit: -1, Err: context.Cause(ctx)}
	}
	out, w, err := newOutput()
	if err != nil {
		return notStarted(err)
	}
	program, err := r.start(env, w)
	w.Close()
	if err != nil {
		out.finish()
		return notStarted(err)
	}
	state, left := r.await(ctx, env, program)
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
func (r *Runner) start(env *Env, out *os.File) (*os.Process, error) {
	if os.Geteuid() == 0 {
		if err := CheckPath(r.Path); err != nil {
			return nil, err
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(r.Path, []string{r.Path, string(env.Event)}, &os.ProcAttr{
		Env:   env.environ(os.Environ()),
		Files: []*os.File{null, out, out},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
}

// await waits until the program has exited or ctx ends, and kills whatever is
// left of the run. Invariant: the group is killed before the program is
// reaped, since until then nobody else can get the number of its group. The
// error names what could not be killed.
func (r *Runner) await(ctx context.Context, env *Env, program *os.Process) (state *os.ProcessState, left error) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		state = awaitExit(program)
	}()
	select {
	case <-exited:
	case <-ctx.Done():
	}
	// The kernel does this in one step: no member of the group can fork away.
	syscall.Kill(-program.Pid, syscall.SIGKILL)
	<-exited
	if state == nil {
		state = reap(program)
	}
	if r.Subreaper {
		return state, killChildren()
	}
	return state, Sweep(env.Cluster, env.Node)
}

// reap collects the exit status of a program that has ended.
func reap(program *os.Process) *os.ProcessState {
	state, err := program.Wait()
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
	res.Err = fmt.Errorf("the hook could not be started: %w", err)
	return res
}
