package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"doyen/agent"
	"doyen/gossip"

	"github.com/urfave/cli/v2"
)

// lookUpTime is how long validate looks names up, of seeds and of voters.
const lookUpTime = 5 * time.Second

// validate checks a configuration as far as that is possible without running
// it: it takes no port, and changes nothing on the host. It names every fault. On
// another system than Linux it checks the settings, and nothing of the host.
func validate(c *cli.Context, values flagValues) error {
	if err := noArguments(c); err != nil {
		return err
	}
	o, bad := load(values, os.Getenv)
	programs, faults := "", bad
	if needsLinux() == nil {
		var err error
		programs, err = o.checkPrograms()
		faults = errors.Join(bad, o.checkFiles(), err, o.Config.CheckHost())
	}
	if faults != nil {
		return cli.Exit(faults, exitUsage)
	}
	candidates := max(len(o.Voters), len(o.Seeds), 2)
	b, err := o.Config.Bounds(candidates)
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	w := c.App.Writer
	fmt.Fprintln(w, "the configuration is good")
	ctx, cancel := context.WithTimeout(c.Context, lookUpTime)
	defer cancel()
	notes := o.notes(os.Environ())
	if needsLinux() == nil {
		notes = append(notes, o.Config.HostWarnings(ctx)...)
	} else {
		notes = append(notes, "the settings alone were checked: only on the agent's own host can its programs, files, addresses and interfaces be")
	}
	for _, note := range notes {
		fmt.Fprintln(w, "warning: "+note)
	}
	if programs != "" {
		fmt.Fprintln(w, programs)
	}
	fmt.Fprintf(w, "worst failover with %d candidates: %v\n", candidates, b.WorstFailover)
	showFailover(w, b.LeastFailover, b.UsualFailover, b.WorstFailover, o.Config.Hook != "" && o.Config.Hook != agent.Off)
	if b.Watchdog != 0 {
		fmt.Fprintf(w, "a leader whose agent and keeper are both dead or frozen restarts within %v, by its watchdog\n", b.Watchdog)
	}
	if len(o.Voters) > 0 {
		fmt.Fprintf(w, "lease %v, of which release may take the last %v; clock rates may differ by %d parts per million\n",
			b.Lease, b.ReleaseBudget, b.Drift)
	}
	return nil
}

// checkFiles checks the files that the configuration names.
func (o *options) checkFiles() error {
	_, tokenErr := readToken(o.tokenFile)
	_, tlsErr := o.openTLS()
	var keyErr error
	if o.EncryptKeyFile != "" {
		keyErr = gossip.CheckKeyFile(o.EncryptKeyFile)
	}
	return errors.Join(tokenErr, tlsErr, keyErr)
}

// unusable gives an error of the start the exit code of a bad configuration, if
// that is what it comes from.
func (o *options) unusable(err error) error {
	if errors.Is(err, agent.ErrUnusable) || o.checkFiles() != nil || o.Config.CheckHost() != nil {
		return cli.Exit(err, exitUsage)
	}
	return err
}
