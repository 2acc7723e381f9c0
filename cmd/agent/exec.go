package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"doyen/agent"
	"doyen/agent/hook"

	"github.com/urfave/cli/v2"
)

// The exit codes of exec that no other command has: the lead was lost and the command
// killed; the command cannot be run, or is not there, as env(1), timeout(1) and shells
// have them. 2 would say that this member does not lead.
const (
	exitLost     = 3
	exitNotRun   = 126
	exitNotThere = 127
)

// execCommand is the command exec, made by the function that makes commands which
// ask an agent.
func execCommand(ask func(string, string, time.Duration, func(*cli.Context, *client) error) *cli.Command) *cli.Command {
	c := ask("exec", "run a command while this member leads, and kill all of it when it leads no more; exit 2 if it does not lead, 3 if the lead was lost", answerTime, runExec)
	c.ArgsUsage = "-- COMMAND [ARG]…"
	c.Description = "With --json a line of JSON on stderr says how it went: stdout is the command's own."
	c.Flags = append(c.Flags,
		&cli.StringFlag{Name: "api-token-file", EnvVars: []string{envName("api-token-file")}, Usage: "`FILE` with the agent's token; needed from another host"},
		&cli.StringFlag{Name: "election", Value: agent.GroupElection, Usage: "`NAME` of the election to lead"},
		&cli.DurationFlag{Name: "wait", Usage: "how long (`DURATION`) to wait until this member leads"})
	return c
}

// program finds the command that exec is to run, and checks that it can be run. The
// error has an exit code.
func program(args []string) (path string, err error) {
	if len(args) == 0 || args[0] == "" {
		return "", cli.Exit("exec: the command is missing, as in 'agent exec -- COMMAND'", exitUsage)
	}
	path, err = exec.LookPath(args[0])
	switch {
	case errors.Is(err, exec.ErrNotFound) && !strings.Contains(args[0], "/"):
		return "", cli.Exit(fmt.Sprintf("exec: %s is nowhere in PATH", args[0]), exitNotThere)
	case err != nil && !errors.Is(err, exec.ErrDot):
		// CheckUsable says better what is wrong.
		path = args[0]
	}
	if path, err = filepath.Abs(path); err == nil {
		err = hook.CheckUsable(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", cli.Exit(fmt.Sprintf("exec: %v", plainPath(err)), exitNotThere)
	case err != nil:
		return "", cli.Exit(fmt.Sprintf("exec: %v", err), exitNotRun)
	}
	return path, nil
}
