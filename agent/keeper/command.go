package keeper

import (
	"context"
	"time"

	"doyen/agent/hook"
)

// quickEnd is how soon a command ends that counts as one that does not work.
const quickEnd = 10 * time.Second

// command is the command of a leadership, from its first start to its death.
type command struct {
	env      hook.Env
	running  bool
	pid      int
	argv0    string
	restarts int
	quick    int           // ends in a row that came too soon
	startAt  time.Duration // when it is started, unless it runs

	outdated bool // another command follows
	stop     context.CancelFunc
	kill     context.CancelFunc
	stopAt   time.Duration // when it was asked to end; 0: it was not
	killed   bool
}

// CommandReport is what has happened to a command.
type CommandReport struct {
	// Argv0 is the program.
	Argv0 string `json:",omitempty"`
	// Running: it has been started as process PID; else it has ended.
	Running bool `json:",omitempty"`
	PID     int  `json:",omitempty"`
	// Restarts is how often it was started again under this leadership.
	Restarts int `json:",omitempty"`
	// Exit is its exit status; -1: it was killed, or could not be started. Err says
	// so, and Ran is how long it ran.
	Exit int           `json:",omitempty"`
	Err  string        `json:",omitempty"`
	Ran  time.Duration `json:",omitempty"`
	// Stopped: it ended because the leadership did, or because another command
	// follows.
	Stopped bool `json:",omitempty"`
	// Left names the processes that it left running when it ended by itself, which
	// were killed.
	Left []string `json:",omitempty"`
	// Failures is how often in a row it ended within 10 s of its start.
	Failures int `json:",omitempty"`
}

// commandEnd is what the goroutine that runs a command tells.
type commandEnd struct {
	pid    int // not 0: it has been started, and runs
	result hook.Result
}

// tendCommand starts the command of a leadership that holds everything else, and
// stops that of one that is over.
func (e *executor) tendCommand() {
	t := e.leadership
	if t == nil {
		return
	}
	c, now := &t.command, e.now()
	switch {
	case c.running && c.stopAt == 0 && (t.over || c.outdated):
		c.stopAt = now
		c.stop()
	case c.running && c.stopAt != 0 && !c.killed && now >= e.commandLimit():
		c.killed = true
		c.kill()
	case !c.running && !t.over && t.held && len(e.cfg.Run) > 0 && now >= c.startAt:
		if e.arm() != nil {
			e.takeAnew() // acquire fails for the same reason, and tells of it
			return
		}
		e.startCommand()
	}
}

// commandRuns reports whether anything of the command lives.
func (e *executor) commandRuns() bool { return e.leadership != nil && e.leadership.command.running }

// commandLimit is when a command that was asked to end is killed. Where another node
// may lead soon, it has half of the time of the release, or three quarters if there
// is no hook that needs the rest. Else it has a third of that time, 10 s by default;
// if the renewals of a planned hand-over fail meanwhile, half of the release budget is
// left to the hook.
func (e *executor) commandLimit() time.Duration {
	began := e.leadership.command.stopAt
	part := func(end time.Duration, share float64) time.Duration {
		return began + time.Duration(share*float64(max(end-began, 0)))
	}
	if e.release == nil {
		return part(began+e.cfg.HookTimeout, 1./3)
	}
	switch planned := e.planned() != 0; {
	case e.release.late:
		return began
	case !e.hard():
		return part(e.releaseUntil(), 1./3)
	case planned:
		return min(part(e.releaseUntil(), 1./3), e.releaseEnd()-killMargin-e.cfg.ReleaseBudget/2)
	case e.cfg.Hook == "":
		return part(e.releaseLimit(), 3./4)
	default:
		return part(e.releaseLimit(), 1./2)
	}
}

// commandDue is when tendCommand has something to do; 0: nothing is due.
func (e *executor) commandDue() time.Duration {
	t := e.leadership
	c := &t.command
	switch {
	case c.running && c.stopAt != 0 && !c.killed:
		return max(e.commandLimit(), 1)
	case !c.running && !t.over && t.held && len(e.cfg.Run) > 0:
		return max(c.startAt, 1)
	}
	return 0
}

// startCommand starts the command with the environment of the hook.
func (e *executor) startCommand() {
	t := e.leadership
	c := &t.command
	c.env = hook.Env{
		Term: t.term, Addr: e.node.cfg.Addr, API: e.node.cfg.API, Rule: e.cfg.Rule, Reason: e.order.Reason,
		Leader: e.order.Leader, LeaderAddr: e.order.LeaderAddr, Previous: e.order.Previous,
	}
	c.running, c.outdated, c.stopAt, c.killed, c.argv0 = true, false, 0, false, e.cfg.Run[0]
	run := hook.Command{Args: e.cfg.Run, Owner: e.runner.Owner, Reaper: e.node.reaper, Output: &e.node.output}
	stop, cancelStop := context.WithCancel(context.Background())
	kill, cancelKill := context.WithCancel(context.Background())
	c.stop, c.kill = cancelStop, cancelKill
	env := c.env
	go func() {
		defer cancelStop()
		defer cancelKill()
		res := run.Run(stop, kill, env, func(pid int) { e.commands <- commandEnd{pid: pid} })
		e.commands <- commandEnd{result: res}
	}()
}

// commandTold takes in that the command has been started, or has ended.
func (e *executor) commandTold(end commandEnd) {
	t := e.leadership
	c := &t.command
	if end.pid != 0 {
		c.pid = end.pid
		e.report(Report{Term: c.env.Term, Command: &CommandReport{Argv0: c.argv0, Running: true, PID: c.pid, Restarts: c.restarts}})
		return
	}
	rep := CommandReport{
		Argv0: c.argv0, PID: c.pid, Restarts: c.restarts, Exit: end.result.Exit, Err: errText(end.result.Err),
		Ran: end.result.Duration, Stopped: c.stopAt != 0, Left: end.result.Left,
	}
	c.running, c.pid = false, 0
	switch {
	case c.stopAt != 0:
		c.startAt = e.now()
	case end.result.Duration >= quickEnd:
		c.restarts, c.quick, c.startAt = c.restarts+1, 0, e.now()+e.node.cfg.backoff(1)
	default:
		c.restarts, c.quick = c.restarts+1, c.quick+1
		c.startAt = e.now() + e.node.cfg.backoff(c.quick)
	}
	rep.Failures = c.quick
	e.report(Report{Term: c.env.Term, Command: &rep})
}
