package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"doyen/agent/clock"
	"doyen/agent/supervise"

	"github.com/urfave/cli/v2"
)

// outcome is what exec says of itself with --json, on stderr.
type outcome struct {
	Ran    bool   `json:"ran"`
	Term   uint64 `json:"term,omitempty"`
	Lost   bool   `json:"lost"`
	Exit   int    `json:"exit"`
	Reason string `json:"reason,omitempty"`
}

// runExec runs a command under the leadership of the agent that is asked.
func runExec(c *cli.Context, cl *client) error {
	args := c.Args().Slice()
	path, err := program(args)
	if err != nil {
		return err
	}
	wait := c.Duration("wait")
	if wait < 0 {
		return cli.Exit(fmt.Sprintf("--wait: %v is negative", wait), exitUsage)
	}
	cl.election = "" // the calls that hold a leadership name it themselves
	o, err := execute(c.Context, cl, c.String("election"), wait, path, args)
	if err != nil {
		return err
	}
	// Where nothing was run, cron would send what is printed in a mail each minute
	// from each host that does not lead.
	switch {
	case cl.json:
		json.NewEncoder(c.App.ErrWriter).Encode(o)
	case o.Reason != "" && (o.Ran || onTerminal(c.App.ErrWriter)):
		fmt.Fprintf(c.App.ErrWriter, "agent: %s\n", o.Reason)
	}
	if o.Exit == exitOK {
		return nil
	}
	return cli.Exit("", o.Exit)
}

// execute holds a leadership and runs the command under it.
func execute(ctx context.Context, cl *client, election string, wait time.Duration, path string, args []string) (outcome, error) {
	h, err := openHold(ctx, cl, election, wait)
	if errors.Is(err, errNotLeading) {
		return outcome{Exit: exitNoLeader, Reason: cl.addr + " does not lead; nothing was run"}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	defer h.close()
	deadline, every, err := h.lease(ctx)
	if err != nil {
		return outcome{Exit: exitNoLeader, Reason: "nothing was run: " + err.Error()}, nil
	}
	foreground := isTerminal(os.Stdin)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP)
	defer signal.Stop(signals)
	command, err := supervise.Start(supervise.Config{
		Path: path, Args: args, Env: h.environ(os.Environ()), Deadline: deadline, Connection: h.file, Foreground: foreground,
	})
	if err != nil {
		return outcome{}, err
	}
	why := h.watch(ctx, command, deadline, every, signals, foreground)
	left := command.Kill()
	return h.outcome(command, why, left)
}

// watch returns when the command has ended, or why it must.
func (h *hold) watch(ctx context.Context, command *supervise.Command, deadline, every time.Duration, signals <-chan os.Signal, foreground bool) (why string) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	news := h.follow(following, every)
	alarm := clock.NewAlarm()
	defer alarm.Close()
	alarm.Set(deadline)
	confirm := func(l confirmed) (lost string) {
		deadline = max(deadline, l.deadline)
		command.Extend(deadline)
		alarm.Set(deadline)
		return l.lost
	}
	for {
		select {
		case <-command.Done():
			return ""
		case why := <-h.over:
			return why
		case l := <-news:
			if why := confirm(l); why != "" {
				return why
			}
		case <-alarm.C():
			select {
			case l := <-news: // it was this process that was late
				why = confirm(l)
			default:
			}
			if why == "" && clock.Boot() >= deadline {
				why = h.client.addr + " has not confirmed in time that it still leads"
			}
			if why != "" {
				return why
			}
		case s := <-signals:
			// A terminal sends these to the command as well.
			if foreground && (s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGTSTP) {
				continue
			}
			command.Signal(s.(syscall.Signal))
		}
	}
}

// outcome says how it went, from what the guard reports and why the command had to
// end, if it had to.
func (h *hold) outcome(command *supervise.Command, why string, left error) (outcome, error) {
	status, remains, ended, err := command.Result()
	o := outcome{Ran: true, Term: h.lead.Term}
	switch {
	case err != nil:
		return outcome{}, cli.Exit(fmt.Sprintf("exec: the command could not be started: %v", err), exitNotRun)
	case ended:
		o.Exit = exitCode(status)
		if remains > 0 {
			o.Reason = fmt.Sprintf("what the command had left running was killed (%d)", remains)
		}
	default:
		switch { // the guard's end closes the connection as the agent's does
		case command.Late():
			why = "its guard has killed it, as the lead was not confirmed in time"
		case why == "":
			why = "its guard was killed"
		}
		o.Lost, o.Exit = true, exitLost
		o.Reason = "the command was killed: " + why
	}
	if left != nil {
		o.Reason = strings.Join(nonEmpty(o.Reason, left.Error()), "; ")
	}
	return o, nil
}

// environ lays what is known of the leadership over the environment. Variables of
// ours that are inherited are settings, as for a hook.
func (h *hold) environ(inherited []string) []string {
	env := slices.DeleteFunc(slices.Clone(inherited), func(kv string) bool { return strings.HasPrefix(kv, "DOYEN_") })
	l := h.lead
	return append(env,
		"DOYEN_ELECTION="+l.Election, "DOYEN_TERM="+strconv.FormatUint(l.Term, 10),
		"DOYEN_NODE="+l.Name, "DOYEN_ADDR="+l.Addr, "DOYEN_API="+h.client.where(), "DOYEN_LEADER="+l.Name, "DOYEN_LEADER_ADDR="+l.Addr,
		"DOYEN_PREVIOUS_LEADER="+l.Previous, "DOYEN_CLUSTER="+l.Cluster, "DOYEN_RULE="+l.Rule, "DOYEN_REASON="+l.Reason,
		"DOYEN_EVENT=run") // as for the command that the agent itself runs
}

// onTerminal reports whether a writer is a terminal.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}
