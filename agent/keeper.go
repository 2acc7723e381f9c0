package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/hook"
	"doyen/agent/keeper"
	"doyen/gossip"
)

// Init must come first in the main of a program that wants a keeper process:
// that process is the same program again, in which Init does not return.
// Without it agents run the hook in their own process; see Config.Keeper.
func Init() { keeper.Init(keeperTools) }

// keeperTools is what a keeper does besides running hooks.
var keeperTools = keeper.Tools{Deliver: deliverWill, Addresses: floatingAddresses}

// floatingAddresses prepares the built-in floating addresses.
func floatingAddresses(c keeper.Config, e keeper.Election, leads func() bool, report func(floatingip.Event)) (*keeper.Addresses, error) {
	addrs, err := floatingip.ParseAll(e.Addresses)
	if err != nil {
		return nil, fmt.Errorf("floating-ip: %w", err)
	}
	s, err := floatingip.New(floatingip.Config{Addresses: addrs, Quorum: c.Quorum, Leads: leads, Now: c.Now, Report: report})
	if err != nil {
		return nil, err
	}
	return &keeper.Addresses{
		Begin: s.Begin,
		Take:  s.Take, Renew: s.Renew, Check: s.Check, Announce: s.Announce, Ended: s.Ended, Cut: s.Cut, Drop: s.Drop, Close: s.Close,
		Change: func(list []string) error {
			addrs, err := floatingip.ParseAll(list)
			if err != nil {
				return err
			}
			return s.Change(addrs)
		},
	}, nil
}

// deliverWill sends a dead leader's will. No process is left to tell of a failure,
// and a member that does not get it waits for the lease to run out.
func deliverWill(packet []byte, targets []string) {
	addrs := make([]netip.AddrPort, 0, len(targets))
	for _, t := range targets {
		if a, err := netip.ParseAddrPort(t); err == nil {
			addrs = append(addrs, a)
		}
	}
	_ = gossip.SendWill(packet, addrs)
}

// executor is what the loop needs of the keeper; *keeper.Keeper is one.
type executor interface {
	Order(keeper.Order)
	Reports() <-chan keeper.Report
	Deadline(election string) *keeper.Deadline
	Configure(keeper.Config) error
	PID() int
	Close(context.Context) error
}

// keeperConfig is what the keeper of the member name is told; api is where hooks reach it.
func (s *settings) keeperConfig(name, addr, api string, log *slog.Logger) keeper.Config {
	level, json := logStyle(s.Logger)
	c := keeper.Config{
		Node: name, Addr: addr, API: api, Cluster: s.Cluster, Quorum: s.quorum(),
		Elections: s.keeperElections(""),
		Watchdog:  s.Watchdog, WatchdogTimeout: s.watchdogTimeout(),
		LockMemory: s.needsRealtime(), Logger: log, LogLevel: level, LogJSON: json,
	}
	if s.seams.now != nil {
		c.Now = func() time.Duration { return s.now().Boot }
	}
	return c
}

// keeperElections are what the keeper acts for: the group's own election first. run
// names the agent's run to its health checks.
func (s *settings) keeperElections(run string) []keeper.Election {
	all := []keeper.Election{s.keeperElection(keeper.Group, run)}
	for _, name := range slices.Sorted(maps.Keys(s.elections)) {
		all = append(all, s.elections[name].keeperElection(name, run))
	}
	return all
}

func (s *settings) keeperElection(name, run string) keeper.Election {
	if s.Health == "" {
		run = ""
	}
	return keeper.Election{
		Name: name, Rule: s.rule.Name(), Addresses: s.FloatingIPs,
		Hook: s.Hook, HookTimeout: s.HookTimeout, CheckInterval: s.CheckInterval,
		ReleaseBudget: s.timing.ReleaseBudget, HealthRun: run, Run: s.run,
	}
}

// startKeeper starts the keeper that the configuration asks for.
func startKeeper(a *Agent) (executor, error) {
	c := a.cfg.keeperConfig(a.self.Name, a.addr, a.apiAddr(), a.log)
	c.Elections = a.cfg.keeperElections(a.runMark())
	switch {
	case a.cfg.Keeper == Off:
		return keeper.Local(c, keeperTools)
	case !keeper.Available():
		return nil, errors.New("keeper is on, but the main of this program does not call agent.Init")
	}
	return keeper.Start(c)
}

// Release gives up what an agent of this configuration, which has ended, may
// have left behind: it runs the hook's release and takes the floating addresses
// off, as a service manager wants it in the end. It waits for the keeper of such
// an agent; while one runs it does nothing, and returns an error in the end.
func Release(ctx context.Context, c Config) error {
	cfg, err := c.validate()
	if err != nil {
		return err
	}
	if !cfg.holds() {
		return nil
	}
	name, addr, err := gossip.Identity(ctx, cfg.gossipConfig())
	if err != nil {
		return err
	}
	return keeper.ReleaseNow(ctx, cfg.keeperConfig(name, addr, addr, cfg.Logger), keeperTools)
}

// holds reports whether an agent of these settings may hold anything.
func (s *settings) holds() bool {
	for _, e := range s.elections {
		if e.holds() {
			return true
		}
	}
	return s.Hook != "" || len(s.FloatingIPs) > 0 || len(s.Run) > 0
}

// logStyle finds out how a logger writes, for a keeper that goes on alone.
func logStyle(log *slog.Logger) (level slog.Level, json bool) {
	_, json = log.Handler().(*slog.JSONHandler)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level, json
		}
	}
	return slog.LevelError, json
}

// hookRefused is the finding about a hook that root does not run.
const hookRefused = "hook-refused"

// checkHook tells at once of a hook that the keeper will refuse, rather than
// when it is needed.
func (e *election) checkHook() {
	if e.cfg.Hook == "" || os.Geteuid() != 0 {
		return
	}
	refused, ok := errors.AsType[*hook.RefusedError](hook.CheckPath(e.cfg.Hook))
	if !ok {
		return
	}
	e.findings.Set(0, 0, Finding{
		What: hookRefused, Member: e.self.Name, Evidence: "the hook " + refused.Error(), Degrades: true,
		Advice: "Let " + cmp.Or(refused.Culprit, refused.Path) + " belong to root and be writable by no other user.",
	})
}
