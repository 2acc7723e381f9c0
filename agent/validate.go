package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
	"doyen/agent/keeper"
	"doyen/agent/voters"
	"doyen/gossip"
	"doyen/seniority"
)

// settings is a Config with every default filled in and every text parsed. It
// shares no memory with the Config it came from.
type settings struct {
	Config
	port     int
	rule     seniority.Rule
	role     seniority.Role
	timing   seniority.Timing
	floating []floatingip.Address
	run      []string // Run with the program as an absolute path, once New has found it
	loneWait time.Duration
	preempt  bool

	given     Config // as it was given, without defaults
	placement seniority.Placement
	elections map[string]*settings // of the further elections
	prefer    []string             // of a further election
	// now reads both clocks of this host, alarm goes off by them.
	now   func() seniority.Now
	alarm func() clock.Alarm
	// resolver looks names up.
	resolver gossip.Resolver
}

// quorum reports whether the electorate is a fixed list of voters.
func (s *settings) quorum() bool { return len(s.Voters) > 0 }

// mode is the name of the electorate.
func (s *settings) mode() string {
	if s.quorum() {
		return "quorum"
	}
	return "available"
}

// validate fills in the defaults and checks everything that can be checked
// without asking the network or the disk.
func (c Config) validate() (*settings, error) {
	s := &settings{Config: c, given: c, now: c.seams.now}
	s.alarm = func() clock.Alarm { return clock.NewTimerAlarm(func() time.Duration { return s.now().Boot }) }
	if s.now == nil {
		s.now, s.alarm = clock.Now, clock.NewAlarm
	}
	if s.resolver = c.seams.resolver; s.resolver == nil {
		s.resolver = net.DefaultResolver
	}
	s.BindAddr = cmp.Or(s.BindAddr, DefaultBindAddr)
	s.Cluster = cmp.Or(s.Cluster, DefaultCluster)
	s.Rule = cmp.Or(s.Rule, DefaultRule)
	s.Role = cmp.Or(s.Role, DefaultRole)
	s.Profile = cmp.Or(s.Profile, DefaultProfile)
	s.HookTimeout = cmp.Or(s.HookTimeout, DefaultHookTimeout)
	s.CheckInterval = cmp.Or(s.CheckInterval, DefaultCheckInterval)
	s.Seeds = slices.Clone(c.Seeds)
	s.port, s.loneWait = DefaultBindPort, DefaultLoneWait
	if c.BindPort != nil {
		s.port = *c.BindPort
	}
	if c.LoneWait != nil {
		s.loneWait = *c.LoneWait
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	var faults []error
	for _, check := range []func(*settings) error{checkNames, checkHTTP, checkDurations, checkRule, checkTiming, checkVoters, checkHook, checkHealth, checkElections, checkStore} {
		faults = append(faults, check(s))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, asUnusable(err)
	}
	return s, nil
}

// checkNames checks what other members see of this one, and where they are
// looked for.
func checkNames(s *settings) error {
	var faults []error
	for _, f := range []struct{ flag, value string }{{"name", s.Name}, {"cluster", s.Cluster}} {
		if len(f.value) > maxName {
			faults = append(faults, fmt.Errorf("%s of %d bytes is longer than %d", f.flag, len(f.value), maxName))
		}
	}
	if len(faults) > 0 { // gossip, whose limit is higher, must not refuse the same text in a second sentence
		return errors.Join(faults...)
	}
	return s.gossipConfig().Check()
}

// maxDuration bounds the durations that Timing does not: twice one of them, added to the
// clock, must be a time.
const maxDuration = 100 * 365 * 24 * time.Hour

// checkDurations checks that no duration is so long that its end is no time.
func checkDurations(s *settings) error {
	var faults []error
	for _, f := range []struct {
		flag  string
		value time.Duration
	}{
		{"hook-timeout", s.HookTimeout}, {"check-interval", s.CheckInterval}, {"lone-wait", s.loneWait},
		{"preempt-delay", s.PreemptDelay}, {"rebalance-delay", s.RebalanceDelay},
		{"health-interval", s.HealthInterval}, {"health-timeout", s.HealthTimeout},
	} {
		if f.value > maxDuration {
			faults = append(faults, fmt.Errorf("%s of %v is longer than 100 years (%v)", f.flag, f.value, maxDuration))
		}
	}
	return errors.Join(faults...)
}

// checkHTTP checks that HTTP names an address that can be listened on.
func checkHTTP(s *settings) error {
	if s.HTTP == "" || s.HTTP == Off {
		return nil
	}
	_, port, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		return fmt.Errorf("http of %q is neither off nor [HOST]:PORT, such as 127.0.0.1:8080 or :8080", s.HTTP)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("http of %q has no port between 0 and 65535", s.HTTP)
	}
	return nil
}

// checkRule parses what ranks members and decides who may take over.
func checkRule(s *settings) error {
	var ruleErr, roleErr error
	var faults []error
	s.rule, ruleErr = seniority.ParseRule(s.Rule)
	s.role, roleErr = seniority.ParseRole(s.Role)
	faults = append(faults, ruleErr, roleErr)
	if s.PreemptDelay < 0 {
		faults = append(faults, fmt.Errorf("preempt-delay of %v is negative", s.PreemptDelay))
	}
	if ruleErr == nil {
		s.preempt = s.rule.Preempts()
	}
	if s.Config.Preempt != nil {
		s.preempt = *s.Config.Preempt
	}
	return errors.Join(faults...)
}

// checkTiming lays the single times over the profile's and checks that they
// fit together.
func checkTiming(s *settings) error {
	t, err := seniority.Profile(s.Profile)
	if err != nil {
		return err
	}
	o := s.Config.Timing
	if o.Lease != 0 {
		t.Lease, t.Renewal = o.Lease, o.Lease/3
	}
	t.Renewal = cmp.Or(o.Renewal, t.Renewal)
	t.Confirm = cmp.Or(o.Confirm, t.Confirm)
	t.Stagger = cmp.Or(o.Stagger, t.Stagger)
	t.Settle = cmp.Or(o.Settle, t.Settle)
	t.ReleaseBudget = max(cmp.Or(o.ReleaseBudget, t.ReleaseBudget), 0)
	s.timing = t
	if s.floating, err = floatingip.ParseAll(s.FloatingIPs); err != nil {
		err = fmt.Errorf("floating-ip: %w", err)
	}
	return errors.Join(err, s.checkTimes(0))
}

// checkTimes checks that the times fit together when the kernel needs cutOff to
// take the floating addresses off.
func (s *settings) checkTimes(cutOff time.Duration) error {
	err := s.timing.Check(s.quorum(), cutOff)
	if err == nil {
		return nil
	}
	if given := s.Config.Timing; given.Lease != 0 && given.Renewal == 0 {
		err = fmt.Errorf("%w; the renewal is a third of the lease of %v, as none is given", err, given.Lease)
	}
	return fmt.Errorf("with profile %s, %w", s.Profile, err)
}

// checkCutOff refuses, in quorum mode, a lease that leaves this kernel no time to
// cut the floating addresses off. It makes and removes tables of nftables to find
// out, so only an agent that is about to run does it.
func (s *settings) checkCutOff() error {
	floating := s.allFloating()
	if !s.quorum() || len(floating) == 0 {
		return nil
	}
	cutOff, without := floatingip.CutOff(floating)
	err := s.checkTimes(cutOff)
	if err != nil && without != nil {
		err = fmt.Errorf("%w; the kernel would need less with nftables, which cannot be used here: %w", err, without)
	}
	return err
}

// checkVoters checks the list of voters.
func checkVoters(s *settings) (err error) {
	s.Voters, err = voters.Check(s.Voters, s.Seeds)
	return err
}

// checkHook makes the hook's path independent of the working directory.
func checkHook(s *settings) (err error) {
	if s.HookTimeout < 0 {
		return fmt.Errorf("hook-timeout of %v is negative", s.HookTimeout)
	}
	if s.Keeper == "" {
		s.Keeper = Off
		if keeper.Available() {
			s.Keeper = On
		}
	}
	if s.Keeper != On && s.Keeper != Off {
		return fmt.Errorf("keeper %q is neither on nor off", s.Keeper)
	}
	if len(s.Run) > 0 && s.Run[0] == "" {
		return errors.New("run: the command has no name")
	}
	if s.Hook == "" || s.Hook == Off {
		s.Hook = ""
		return nil
	}
	if s.Hook, err = filepath.Abs(s.Hook); err != nil {
		return fmt.Errorf("hook %s: %w", s.Config.Hook, err)
	}
	return nil
}
