package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

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
func floatingAddresses(c keeper.Config, leads func() bool) (*keeper.Addresses, error) {
	addrs, err := floatingip.ParseAll(c.Addresses)
	if err != nil {
		return nil, fmt.Errorf("floating-ip: %w", err)
	}
	s, err := floatingip.New(floatingip.Config{
		Addresses: addrs, Cluster: c.Cluster, Name: c.Node, Leads: leads, Now: c.Now,
		Report: func(f floatingip.Finding) {
			c.Logger.Warn("floating address", "what", f.What, "evidence", f.Evidence, "advice", f.Advice)
		},
	})
	if err != nil {
		return nil, err
	}
	return &keeper.Addresses{
		Take: s.Take, Renew: s.Renew, Check: s.Check, Announce: s.Announce, Drop: s.Drop, Close: s.Close,
	}, nil
}

// deliverWill sends a dead leader's will. Nobody is left to tell of a failure,
// and whoever does not get it waits for the lease to run out.
func deliverWill(packet []byte, targets []string) {
	addrs := make([]netip.AddrPort, 0, len(targets))
	for _, t := range targets {
		if a, err := netip.ParseAddrPort(t); err == nil {
			addrs = append(addrs, a)
		}
	}
	_ = gossip.SendWill(packet, addrs)
}

// hands is what the loop needs of the keeper; *keeper.Keeper is one.
type hands interface {
	Order(keeper.Order)
	Reports() <-chan keeper.Report
	Word() *keeper.Word
	PID() int
	Close(context.Context) error
}

// keeperConfig is what the keeper of the member name is told.
func (s *settings) keeperConfig(name, addr string, log *slog.Logger) keeper.Config {
	level, json := logStyle(s.Logger)
	return keeper.Config{
		Node: name, Addr: addr, Cluster: s.Cluster, Rule: s.rule.Name(),
		Addresses: s.FloatingIPs,
		Hook:      s.Hook, HookTimeout: s.HookTimeout, CheckInterval: s.CheckInterval,
		Quorum: s.quorum(), ReleaseBudget: s.timing.ReleaseBudget,
		Logger: log, LogLevel: level, LogJSON: json,
	}
}

// startKeeper starts the keeper that the configuration asks for.
func startKeeper(a *Agent) (hands, error) {
	c := a.cfg.keeperConfig(a.self.Name, a.addr, a.log)
	if a.cfg.Health != "" {
		c.HealthRun = a.runMark()
	}
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
	if cfg.Hook == "" && len(cfg.FloatingIPs) == 0 {
		return nil // such an agent holds nothing
	}
	name, addr, err := gossip.Identity(ctx, cfg.gossipConfig())
	if err != nil {
		return err
	}
	return keeper.ReleaseNow(ctx, cfg.keeperConfig(name, addr, cfg.Logger), keeperTools)
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
func (l *loop) checkHook() {
	if l.cfg.Hook == "" || os.Geteuid() != 0 {
		return
	}
	refused, ok := errors.AsType[*hook.RefusedError](hook.CheckPath(l.cfg.Hook))
	if !ok {
		return
	}
	l.findings.set(0, 0, Finding{
		What: hookRefused, Member: l.self.Name, Evidence: "the hook " + refused.Error(), Degrades: true,
		Advice: "Let " + cmp.Or(refused.Culprit, refused.Path) + " belong to root and be writable by nobody else.",
	})
}
