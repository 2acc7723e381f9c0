package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"doyen/agent/floatingip"
	"doyen/seniority"
)

// Reload takes over from c what may change while the agent runs: the further
// elections, and of each, the group's own included, floating addresses, hook,
// health check, command and their times; placement and rebalance delay. All else
// stays as it was at the start. An election that is not in c any more is handed
// over and released. later names the settings that have changed and count only from
// the next start on, by their flags. After an error of a configuration that is bad
// anywhere, also in what would not count yet, nothing has changed; so it is if a floating
// address is new and this host does not have its interface. Before Run has joined
// the group it waits for that, until ctx ends.
func (a *Agent) Reload(ctx context.Context, c Config) (later []string, err error) {
	wanted, err := c.validate()
	if err != nil {
		return nil, err
	}
	next, err := a.reloaded(c)
	if err != nil {
		return nil, err
	}
	names := new([]string) // the loop may write it after ctx has ended
	if _, err := a.group.request(ctx, request{reload: next, later: names}); err != nil {
		return nil, err
	}
	return append(a.cfg.fixedChanges(wanted), *names...), nil
}

// fixed are the settings that count from the start of the agent on.
var fixed = []struct {
	flag string
	of   func(*settings) any
}{
	{"name", func(s *settings) any { return s.Name }},
	{"bind-addr", func(s *settings) any { return s.BindAddr }},
	{"bind-port", func(s *settings) any { return s.port }},
	{"advertise-addr", func(s *settings) any { return s.AdvertiseAddr }},
	{"seeds", func(s *settings) any { return s.Seeds }},
	{"cluster", func(s *settings) any { return s.Cluster }},
	{"voters", func(s *settings) any { return s.Voters }},
	{"lone-wait", func(s *settings) any { return s.loneWait }},
	{"profile", func(s *settings) any { return s.Profile }},
	{"lease", func(s *settings) any { return s.Timing.Lease }},
	{"renewal", func(s *settings) any { return s.Timing.Renewal }},
	{"confirm", func(s *settings) any { return s.Timing.Confirm }},
	{"stagger", func(s *settings) any { return s.Timing.Stagger }},
	{"settle", func(s *settings) any { return s.Timing.Settle }},
	{"release-budget", func(s *settings) any { return s.Timing.ReleaseBudget }},
	{"probe-interval", func(s *settings) any { return s.ProbeInterval }},
	{"keeper", func(s *settings) any { return s.Keeper }},
	{"watchdog", func(s *settings) any { return s.Watchdog }},
	{"http", func(s *settings) any { return s.HTTP }},
	{"encrypt-key-file", func(s *settings) any { return s.EncryptKeyFile }},
	{"state-dir", func(s *settings) any { return s.StateDir }},
	{"store", func(s *settings) any { return s.Store == On }},
	{"store-restore", func(s *settings) any { return s.StoreRestore }},
	{"id", func(s *settings) any { return s.ID }},
}

// ranking are those of them that a further election may have of its own. Its id may
// change at any time.
var ranking = []struct {
	flag string
	of   func(*settings) any
}{
	{"rule", func(s *settings) any { return s.rule.Name() }},
	{"role", func(s *settings) any { return s.role }},
	{"preempt", func(s *settings) any { return s.preempt }},
	{"preempt-delay", func(s *settings) any { return s.PreemptDelay }},
}

// fixedChanges names what differs between the settings of this run and others, of
// what counts from the start on.
func (s *settings) fixedChanges(wanted *settings) (flags []string) {
	for _, f := range fixed {
		if !reflect.DeepEqual(f.of(s), f.of(wanted)) {
			flags = append(flags, f.flag)
		}
	}
	return append(flags, s.rankingChanges(wanted)...)
}

// rankingChanges names what differs of that which ranks a member.
func (s *settings) rankingChanges(wanted *settings) (flags []string) {
	for _, f := range ranking {
		if f.flag == "preempt" && s.rule.Name() != wanted.rule.Name() && reflect.DeepEqual(s.Config.Preempt, wanted.Config.Preempt) {
			continue // it follows from the rule
		}
		if !reflect.DeepEqual(f.of(s), f.of(wanted)) {
			flags = append(flags, f.flag)
		}
	}
	return flags
}

// reloaded returns the settings of a configuration of which only that counts which
// may change.
func (a *Agent) reloaded(c Config) (*settings, error) {
	base := a.cfg.given
	base.Hook, base.HookTimeout, base.CheckInterval = c.Hook, c.HookTimeout, c.CheckInterval
	base.Health, base.HealthInterval, base.HealthTimeout = c.Health, c.HealthInterval, c.HealthTimeout
	base.HealthRise, base.HealthFall = c.HealthRise, c.HealthFall
	base.FloatingIPs, base.Run = c.FloatingIPs, c.Run
	base.Elections, base.Placement, base.RebalanceDelay = c.Elections, c.Placement, c.RebalanceDelay
	next, err := base.validate()
	if err == nil {
		// An interface that was there, or may come as at the start, may be missing.
		err = errors.Join(next.checkCutOff(), next.resolveRuns(), base.checkInterfaces(a.floating()))
	}
	return next, err
}

// floating are the floating addresses of all elections as they are configured now.
func (a *Agent) floating() (all []floatingip.Address) {
	for _, e := range a.roll.all() {
		all = append(all, e.cfg().floating...)
	}
	return all
}

// reload takes other settings over. The keeper comes first: without it nothing can
// be held.
func (l *loop) reload(next *settings) (later []string, err error) {
	settings := maps.Clone(next.elections)
	settings[GroupElection] = next
	elections := []keeperElection{}
	for _, e := range l.elections {
		if cfg := settings[e.pub.name]; cfg != nil {
			elections = append(elections, keeperElection{e.pub.name, cfg})
		} else if e.candidate {
			elections = append(elections, keeperElection{e.pub.name, e.cfg}) // until it is handed over
		}
	}
	for _, name := range slices.Sorted(maps.Keys(next.elections)) {
		if l.byName[name] == nil {
			elections = append(elections, keeperElection{name, next.elections[name]})
		}
	}
	if err := l.configureKeeper(elections); err != nil {
		return nil, err
	}
	l.cfg, l.replace = next, true
	for _, e := range slices.Clone(l.elections) {
		switch cfg := settings[e.pub.name]; {
		case cfg == nil && e.candidate:
			e.retire()
		case cfg == nil:
		case !e.candidate:
			err = errors.Join(err, e.stand(cfg, &later))
		default:
			e.retiring = false
			err = errors.Join(err, e.configure(cfg, &later))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(next.elections)) {
		if l.byName[name] == nil {
			e, fault := l.add(name, next.elections[name], true)
			if err = errors.Join(err, fault); fault == nil {
				e.log.Info("this member is a candidate of the election now")
			}
		}
	}
	return later, err
}

// keeperElection is an election that the keeper is to act for.
type keeperElection struct {
	name string
	cfg  *settings
}

// configureKeeper has the keeper act for these elections alone.
func (l *loop) configureKeeper(elections []keeperElection) error {
	a := l.agent
	c := a.cfg.keeperConfig(a.self.Name, a.addr, a.apiAddr(), a.log)
	c.Elections = nil
	for _, e := range elections {
		c.Elections = append(c.Elections, e.cfg.keeperElection(e.name, a.runMark()))
	}
	return l.executor.Configure(c)
}

// configure takes other settings of an election over, but for what ranks this
// member in it.
func (e *election) configure(cfg *settings, later *[]string) error {
	old := e.cfg
	e.take(cfg, later)
	e.judgeFitness()
	if reflect.DeepEqual(old.surroundings(), e.cfg.surroundings()) {
		return nil
	}
	e.log.Info("the settings of the election have changed")
	return e.surround(old)
}

// take goes by other settings of the election from now on, but for what its core was
// made with, which later names.
func (e *election) take(cfg *settings, later *[]string) {
	old, next := e.cfg, *cfg
	for _, flag := range old.rankingChanges(&next) {
		*later = append(*later, fmt.Sprintf("%s of the election %s", flag, e.pub.name))
	}
	next.rule, next.role, next.preempt, next.PreemptDelay = old.rule, old.role, old.preempt, old.PreemptDelay
	e.cfg = &next
	e.pub.settings.Store(&next)
	if e.self.ID != next.ID {
		e.self.ID = next.ID
		e.look()
	}
}

// surroundings are the settings that surround prepares.
func (s *settings) surroundings() []any {
	return []any{s.FloatingIPs, s.Health, s.HealthInterval, s.HealthTimeout, s.HealthRise, s.HealthFall, s.Hook, s.HookTimeout, s.CheckInterval, s.run}
}

// surround prepares anew what watches this host for the election, where the
// settings have changed.
func (e *election) surround(old *settings) (err error) {
	e.unwatch()
	<-e.watched
	if !slices.Equal(old.FloatingIPs, e.cfg.FloatingIPs) {
		e.member.watchers.Go(e.links.Close) // the loop must not wait for it
		e.links, e.runs.addresses = nil, addressStates(floatingip.States(e.cfg.floating))
		e.fitness.ownAddress, e.fitness.cut = false, false
		e.findings.Clear(ownAddress, e.self.Name)
		e.findings.Clear(noLink, e.self.Name)
		if len(e.cfg.floating) > 0 {
			if err = e.watchLinks(); err != nil {
				e.fitness.cut = true
			}
		}
	}
	if !reflect.DeepEqual(old.surroundings()[1:6], e.cfg.surroundings()[1:6]) {
		e.monitor.Close()
		// The verdict stands until the first result of another check.
		if e.monitor = e.startHealth(); e.monitor == nil {
			e.fitness.sick = false
			e.pub.health.Store(nil)
		}
	}
	if old.Hook != e.cfg.Hook {
		e.runs.failed = ""
		e.findings.Clear(hookFailed, e.self.Name)
	}
	if !slices.Equal(old.run, e.cfg.run) {
		e.findings.Clear(commandFailing, e.self.Name)
	}
	e.findings.Clear(hookRefused, e.self.Name)
	e.checkHook()
	e.startWatching()
	e.linksChanged()
	e.judgeFitness()
	return err
}

// retire ends this member's candidacy in an election: it hands over first, and
// votes from then on.
func (e *election) retire() {
	if e.retiring {
		return
	}
	e.retiring = true
	e.log.Info("this member is a candidate of the election no longer: its settings name it no more")
	e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Departed})
	e.judgeFitness()
}

// finishRetiring lets go of what this member had for elections that it has handed
// over.
func (l *loop) finishRetiring() {
	ended := false
	for _, e := range l.elections[1:] {
		if !e.retiring || e.last.Leading || e.last.Releasing != 0 {
			continue
		}
		ended, e.retiring, e.candidate, l.replace = true, false, false, true
		voting := l.cfg.voting()
		voting.rule = e.cfg.rule
		old := e.cfg
		e.cfg = voting
		e.pub.settings.Store(voting)
		e.self = e.pub.selfOf(l.agent.self)
		e.findings.ClearAll(e.self.Name)
		_ = e.surround(old) // it has no addresses that could not be watched
		e.deadline, e.runs.command = nil, nil
		e.judgeFitness()
	}
	if !ended {
		return
	}
	elections := []keeperElection{}
	for _, e := range l.elections {
		if e.candidate {
			elections = append(elections, keeperElection{e.pub.name, e.cfg})
		}
	}
	if err := l.configureKeeper(elections); err != nil {
		l.agent.log.Error("the keeper still acts for an election that is no longer configured", "error", err)
	}
}

// stand makes this member a candidate of an election that it has only voted in.
func (e *election) stand(cfg *settings, later *[]string) error {
	old, voted := e.cfg, *e.cfg
	voted.rule, voted.role = cfg.rule, cfg.role // nothing has been made of them yet
	e.cfg, e.self.Role = &voted, cfg.role
	e.fitness.keeperless = true // until its release at start has ended
	e.candidate = true
	e.deadline = e.member.executor.Deadline(e.pub.name)
	e.take(cfg, later)
	e.look()
	e.placedBy = e.cfg.now().Boot + e.cfg.timing.Settle + placementWait
	e.log.Info("this member is a candidate of the election now")
	return e.surround(old)
}
