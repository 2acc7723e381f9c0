package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"doyen/agent/hook"
	"doyen/agent/keeper"
)

// commandLimit is after how many quick ends of its command a leader hands over.
const commandLimit = 3

// commandFailing is the finding about a command that ends soon after its start.
const commandFailing = "command-failing"

// CommandState is how the command of an election goes on a member.
type CommandState struct {
	Argv0 string `json:"argv0"`
	PID   *int   `json:"pid"` // null while it does not run
	// Since is when it was started or, if it does not run, when it ended; null:
	// it has never run.
	Since *time.Time `json:"since"`
	// Restarts is how often it was started again under the last leadership.
	Restarts int       `json:"restarts"`
	LastExit *LastExit `json:"last_exit"` // null: it has not ended yet
}

// LastExit is how a command ended last.
type LastExit struct {
	Exit  int    `json:"exit"` // exit status; -1: it did not exit by itself or did not start
	Error string `json:"error,omitempty"`
	// RanMS is how long it ran.
	RanMS float64   `json:"ran_ms"`
	At    time.Time `json:"at"`
	// Stopped: it was told to end, because the leadership had ended or another
	// command was configured.
	Stopped bool `json:"stopped,omitempty"`
}

// CommandEvent is a start or an end of a command: the event "command" of
// GET /events.
type CommandEvent struct {
	What string `json:"what"` // started, ended
	Term uint64 `json:"term"`
	CommandState
}

// resolveRun finds the program of the command as a shell does, and checks that it
// can be run, and for root that no other user could have written it.
func resolveRun(run []string) ([]string, error) {
	if len(run) == 0 {
		return nil, nil
	}
	path, err := exec.LookPath(run[0])
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("the command %s is nowhere in PATH (%s)", run[0], os.Getenv("PATH"))
	}
	if err != nil {
		path = run[0] // what is wrong with it is told below
	}
	if path, err = filepath.Abs(path); err == nil {
		err = hook.CheckUsable(path)
	}
	if missing, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is not there", missing.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("the command cannot be run: %w", err)
	}
	return append([]string{path}, run[1:]...), nil
}

// noteCommand tells of a start or an end of the command.
func (u *runs) noteCommand(now time.Duration, r *keeper.Report) {
	c := r.Command
	if c == nil {
		return
	}
	at := time.UnixMilli(u.pub.cfg().now().Wall).UTC()
	state := CommandState{Argv0: c.Argv0, Since: &at, Restarts: c.Restarts}
	if u.command != nil {
		state.LastExit = u.command.LastExit
	}
	what := "started"
	if c.Running {
		pid := c.PID
		state.PID = &pid
	} else {
		what = "ended"
		state.LastExit = &LastExit{Exit: c.Exit, Error: c.Err, RanMS: milliseconds(c.Ran), At: at, Stopped: c.Stopped}
	}
	u.command = &state
	u.pub.emit("command", CommandEvent{What: what, Term: r.Term, CommandState: state})
	u.logCommand(r)
	switch {
	case c.Failures >= commandLimit:
		u.findings.Set(now, findingsKept, commandFinding(u.pub.self.Name, c.Argv0, c))
	case !c.Running && c.Failures == 0:
		u.findings.Clear(commandFailing, u.pub.self.Name)
	}
}

// logCommand writes the line about a start or an end.
func (u *runs) logCommand(r *keeper.Report) {
	c := r.Command
	attrs := []any{slog.String("command", c.Argv0), slog.Uint64("term", r.Term), slog.Int("pid", c.PID)}
	if c.Running {
		u.pub.log.Info("command started", attrs...)
		return
	}
	if len(c.Left) > 0 {
		u.pub.log.Warn("the command left processes running, which were killed", append(attrs, slog.Any("processes", c.Left))...)
	}
	attrs = append(attrs, slog.Int("exit", c.Exit), slog.Duration("ran", c.Ran))
	if c.Err != "" {
		attrs = append(attrs, slog.String("error", c.Err))
	}
	level, text := slog.LevelWarn, "command ended; it is started again"
	if c.Stopped {
		level, text = slog.LevelInfo, "command stopped"
	}
	u.pub.log.Log(context.Background(), level, text, attrs...)
}

// commandFinding says that the command does not go on running.
func commandFinding(member, command string, c *keeper.CommandReport) Finding {
	evidence := fmt.Sprintf("the command %s ended %d times in a row soon after its start, the last time with status %d", command, c.Failures, c.Exit)
	if c.Err != "" {
		evidence = fmt.Sprintf("the command %s ended %d times in a row soon after its start: %s", command, c.Failures, c.Err)
	}
	return Finding{
		What: commandFailing, Member: member, Evidence: evidence, Degrades: true,
		Advice: "Run the command by hand on that member; what it prints is in the agent's own output.",
	}
}
