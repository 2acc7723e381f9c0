package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
				&cli.StringFlag{Name: "addr", Value: "127.0.0.1:4000", EnvVars: []string{"DOYEN_API", envName("addr")}, Usage: "`HOST[:PORT]` of the agent, after https:// if it has a certificate"},
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
	tell := func(name, usage string, act func(*cli.Context, *client) error) *cli.Command {
		c := ask(name, usage, handOverTime, act)
		c.Flags = append(c.Flags, &cli.StringFlag{Name: "api-token-file", EnvVars: []string{envName("api-token-file")},
			Usage: "`FILE` with the agent's token; needed from another host"})
		return c
	}
	post := func(path string) func(*cli.Context, *client) error {
		return func(c *cli.Context, cl *client) error { _, err := tellAgent(c, cl, path); return err }
	}
	handOver := tell("step-down", "make this member hand its leadership over; with --for, make it stand aside, leader or not; exit 2 if no member is known to lead then", stepDown)
	handOver.Description = "This is about one election: without --election about the group's own. The member goes on in the others."
	handOver.Flags = append(handOver.Flags, &cli.StringFlag{Name: "to", Usage: "hand over to this `MEMBER`, if it may lead; exit 1 if another leads then"}, &cli.DurationFlag{Name: "for",
		Usage: "no candidate of the election for so long (`DURATION`, at most 720h) or until resume; with --state-dir across restarts too"})
	waiting := func(c *cli.Command) *cli.Command {
		c.Flags = append(c.Flags, &cli.DurationFlag{Name: "wait", Usage: "ask again for so long (`DURATION`) until the answer is yes"})
		return c
	}
	of := func(c *cli.Command) *cli.Command {
		c.Flags = append(c.Flags, &cli.StringFlag{Name: "election", Value: agent.GroupElection, Usage: "`NAME` of the election"})
		return c
	}
	history := ask("history", "list past leaderships, newest first", answerTime, askHistory)
	history.Description = "DETECTION counts from the last sign of the old leader, a renewal, which is up to a third of the lease before its end;\nCONFIRM from the claim to the win; HOOK is how long acquire took. Only the member that won\nknows them: - elsewhere, and where there was nothing to wait for, as after a hand-over."
	join := tell("join", "dial more seeds until this agent ends", joinSeeds)
	join.ArgsUsage = "HOST[:PORT]…"
	return []*cli.Command{
		of(waiting(ask("leader", "print the leader's address; exit 2 if there is none", answerTime, askLeader))),
		of(waiting(ask("is-leader", "say whether this member leads; exit 2 if it does not", answerTime, askIsLeader))),
		of(ask("members", "list the members in the line of succession", answerTime, askMembers)),
		ask("elections", "list the elections over this group, and where each is led", answerTime, askElections),
		of(ask("status", "show what this member believes; exit 2 if it knows no leader", answerTime, askStatus)),
		of(ask("diag", "ask every member and give a verdict; exit 2 if no member leads, 3 if they disagree", answerTime, askDiag)),
		of(ask("watch", "print events as they happen: leader, member, election, hook, command, address, health and maintenance", answerTime, watch)),
		of(history),
		of(waiting(ask("ready", "say whether failover would work now; exit 2 if not", answerTime, askReady))),
		of(handOver),
		join,
		of(tell("resume", "let this member stand aside no longer", post("/resume"))),
		execCommand(ask),
		storeCommand(tell),
		tell("leave", "make this member hand over and leave; its agent ends", post("/leave")),
	}
}

func askLeader(c *cli.Context, cl *client) error {
	a, err := cl.getUntil(c, "/leader?format=json")
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

func askIsLeader(c *cli.Context, cl *client) error {
	a, err := cl.getUntil(c, "/is-leader")
	if err != nil {
		return err
	}
	leads := a.status == http.StatusOK
	switch {
	case cl.json:
		fmt.Fprintf(cl.out, "{\"is_leader\":%t}\n", leads)
	case leads:
		fmt.Fprintln(cl.out, "this member leads")
	default:
		fmt.Fprintln(cl.out, "this member does not lead")
	}
	if !leads {
		return cli.Exit("", exitNoLeader)
	}
	return nil
}

func askMembers(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/members", http.StatusOK)
	if err != nil {
		return err
	}
	var members []agent.MemberInfo
	return cl.print(a, &members, func(w io.Writer) { showMembers(w, members) })
}

func askElections(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/elections", http.StatusOK)
	if err != nil {
		return err
	}
	var elections map[string]agent.ElectionInfo
	return cl.print(a, &elections, func(w io.Writer) { showElections(w, elections) })
}

func askStatus(c *cli.Context, cl *client) error {
	a, err := cl.get(c.Context, "/status", http.StatusOK)
	if err != nil {
		return err
	}
	var s agent.State
	if err := cl.print(a, &s, func(w io.Writer) { showState(w, s, cl.further()) }); err != nil {
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
	var d diagAnswer
	if err := cl.print(a, &d, func(w io.Writer) { showDiag(w, d, cl.further()) }); err != nil {
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
	a, err := cl.getUntil(c, "/ready")
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

// stepDown hands the lead over, to the member of --to if one is named, and
// stands aside for the time of --for.
func stepDown(c *cli.Context, cl *client) error {
	query := url.Values{}
	if c.IsSet("to") {
		if c.String("to") == "" {
			return cli.Exit("--to: it names no member", exitUsage)
		}
		query.Set("to", c.String("to"))
	}
	if c.IsSet("for") {
		aside := c.Duration("for")
		if err := agent.CheckAside(aside); err != nil {
			return cli.Exit(fmt.Errorf("--for: %w", err), exitUsage)
		}
		query.Set("for", aside.String())
	}
	path := "/step-down"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r, err := tellAgent(c, cl, path)
	switch {
	case err != nil:
		return err
	case r.Leader == "":
		return cli.Exit("no member is known to lead", exitNoLeader)
	case r.To != "" && r.Leader != r.To:
		return fmt.Errorf("%s does not lead; %s does", clean(r.To), clean(r.Leader))
	case r.Self: // no other member took it
		return errors.New("this member leads again")
	}
	return nil
}

// joinSeeds adds the seeds that are the arguments. All are tried; the first
// error is returned.
func joinSeeds(c *cli.Context, cl *client) error {
	if !c.Args().Present() {
		return cli.Exit("join: name at least one seed, as HOST[:PORT]", exitUsage)
	}
	var faults []error
	for _, seed := range c.Args().Slice() {
		_, err := tellAgent(c, cl, "/join?addr="+url.QueryEscape(seed))
		faults = append(faults, err)
	}
	return cmp.Or(faults...)
}

// tellAgent makes a call that changes something, prints what came of it, and returns that.
func tellAgent(c *cli.Context, cl *client, path string) (r agent.Result, err error) {
	a, err := cl.post(c.Context, path, http.StatusOK)
	if err != nil {
		return r, err
	}
	if err := cl.print(a, &r, func(w io.Writer) { showResult(w, r) }); err != nil {
		return r, err
	}
	if !r.OK {
		return r, errors.New("it was not done")
	}
	return r, nil
}
