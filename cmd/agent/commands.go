package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// answerTime is how long a client command waits unless told otherwise. It is
// longer than the two seconds in which the agent asks the others for diag.
const answerTime = 5 * time.Second

// handOverTime is the same for commands that wait for a hand-over: the leader's
// release may take up to the hook's time-out.
const handOverTime = 2 * agent.DefaultHookTimeout

// clientCommands are the commands that ask or tell a running agent.
func clientCommands(settings flagValues) []*cli.Command {
	ask := func(name, usage string, wait time.Duration, action func(*cli.Context, *client) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Category: "ask or tell a running agent",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "addr", Value: "127.0.0.1:4000", EnvVars: []string{envName("addr")}, Usage: "`HOST[:PORT]` of the agent, after https:// if it has a certificate"},
				&cli.StringFlag{Name: "tls-ca-file", EnvVars: []string{envName("tls-ca-file")}, Usage: "PEM `FILE` with the authorities to trust for HTTPS; without it those that this host knows"},
				&cli.BoolFlag{Name: "json", Usage: "print the answer as JSON"},
				&cli.DurationFlag{Name: "timeout", Value: wait, Usage: "how long (`DURATION`) to wait for the answer"},
			},
			Action: func(c *cli.Context) error {
				if flag := settings.first(); flag != "" {
					return cli.Exit(fmt.Sprintf("--%s configures the agent; 'agent %s' only asks one that runs", flag, name), exitUsage)
				}
				cl, err := newClient(c)
				if err != nil {
					return err
				}
				return action(c, cl)
			},
		}
	}
	tell := func(name, usage string, path func(*cli.Context) (string, error)) *cli.Command {
		c := ask(name, usage, handOverTime, func(c *cli.Context, cl *client) error { return tellAgent(c, cl, path) })
		c.Flags = append(c.Flags, &cli.StringFlag{Name: "api-token-file", EnvVars: []string{envName("api-token-file")},
			Usage: "`FILE` with the agent's token; needed from another host"})
		return c
	}
	always := func(path string) func(*cli.Context) (string, error) {
		return func(*cli.Context) (string, error) { return path, nil }
	}
	stepDown := tell("step-down", "make this member hand its leadership over; with --for, make it stand aside, leader or not", stepDownPath)
	stepDown.Flags = append(stepDown.Flags, &cli.DurationFlag{Name: "for",
		Usage: "no candidate for so long (`DURATION`, at most 720h) or until resume; with --state-dir across restarts too"})
	return []*cli.Command{
		ask("leader", "print the leader's address; exit 2 if there is none", answerTime, askLeader),
		ask("members", "list the members in the line of succession", answerTime, askMembers),
		ask("status", "show what this member believes", answerTime, askStatus),
		ask("diag", "ask every member and give a verdict; exit 3 if they disagree", answerTime, askDiag),
		ask("watch", "print events as they happen: leader, member, election, hook, health and maintenance", answerTime, watch),
		ask("history", "list past leaderships, newest first", answerTime, askHistory),
		ask("ready", "say whether failover would work now; exit 2 if not", answerTime, askReady),
		stepDown,
		tell("resume", "let this member stand aside no longer", always("/resume")),
		tell("leave", "make this member hand over and leave; its agent ends", always("/leave")),
	}
}

func askLeader(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/leader?format=json", http.StatusOK, http.StatusServiceUnavailable)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		if cl.json {
			fmt.Fprintln(cl.out, `{"leader":null}`)
		}
		return cli.Exit("no leader", exitNoLeader)
	}
	var l agent.Leader
	return cl.print(a, &l, func(w io.Writer) { fmt.Fprintln(w, clean(l.Addr)) })
}

func askMembers(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/members", http.StatusOK)
	if err != nil {
		return err
	}
	var members []agent.MemberInfo
	return cl.print(a, &members, func(w io.Writer) { showMembers(w, members) })
}

func askStatus(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/status", http.StatusOK)
	if err != nil {
		return err
	}
	var s agent.State
	if err := cl.print(a, &s, func(w io.Writer) { showState(w, s) }); err != nil {
		return err
	}
	if s.Leader == nil {
		return cli.Exit("", exitNoLeader)
	}
	return nil
}

func askDiag(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/diag", http.StatusOK)
	if err != nil {
		return err
	}
	var d diagnosis
	if err := cl.print(a, &d, func(w io.Writer) { showDiag(w, d) }); err != nil {
		return err
	}
	switch d.Verdict.Status {
	case "agreed", "degraded":
		return nil
	case "no-leader":
		return cli.Exit("", exitNoLeader)
	case "disagreed", "two-leaders":
		return cli.Exit("", exitDisagree)
	}
	return fmt.Errorf("the verdict %q is unknown to this version", d.Verdict.Status)
}

func askHistory(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/history", http.StatusOK)
	if err != nil {
		return err
	}
	var history []agent.Leadership
	return cl.print(a, &history, func(w io.Writer) { showHistory(w, history) })
}

func askReady(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/ready", http.StatusOK, http.StatusServiceUnavailable)
	if err != nil {
		return err
	}
	var r agent.Readiness
	if err := cl.print(a, &r, func(w io.Writer) { showReady(w, r) }); err != nil {
		return err
	}
	if !r.Ready {
		return cli.Exit("", exitNoLeader)
	}
	return nil
}

// stepDownPath is the call of step-down.
func stepDownPath(c *cli.Context) (string, error) {
	if !c.IsSet("for") {
		return "/step-down", nil
	}
	aside := c.Duration("for")
	if err := agent.CheckAside(aside); err != nil {
		return "", cli.Exit(fmt.Errorf("--for: %w", err), exitUsage)
	}
	return "/step-down?for=" + aside.String(), nil
}

// tellAgent makes a call that changes something and says what came of it.
func tellAgent(c *cli.Context, cl *client, path func(*cli.Context) (string, error)) error {
	call, err := path(c)
	if err != nil {
		return err
	}
	a, err := cl.post(c.Context, call, http.StatusOK)
	if err != nil {
		return err
	}
	var r agent.Result
	if err := cl.print(a, &r, func(w io.Writer) { showResult(w, r) }); err != nil {
		return err
	}
	if !r.OK {
		return errors.New("it was not done")
	}
	return nil
}
