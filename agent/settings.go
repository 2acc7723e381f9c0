package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
	"doyen/agent/keeper"
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
	loneWait time.Duration
	preempt  bool
	// now reads both clocks of this host, alarm goes off by them.
	now   func() seniority.Now
	alarm func() clock.Alarm
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
	s := &settings{Config: c, now: c.seams.now}
	s.alarm = func() clock.Alarm { return clock.NewTimerAlarm(func() time.Duration { return s.now().Boot }) }
	if s.now == nil {
		s.now, s.alarm = clock.Now, clock.NewAlarm
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
	for _, check := range []func(*settings) error{checkNames, checkRule, checkTiming, checkVoters, checkHook, checkHealth} {
		if err := check(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// checkNames checks what other members see of this one.
func checkNames(s *settings) error {
	if s.port < 0 || s.port > 65535 {
		return fmt.Errorf("bind-port of %d is not between 0 and 65535", s.port)
	}
	for _, f := range []struct{ flag, value string }{{"name", s.Name}, {"cluster", s.Cluster}} {
		if len(f.value) > maxName {
			return fmt.Errorf("%s of %d bytes is longer than %d", f.flag, len(f.value), maxName)
		}
		if strings.ContainsFunc(f.value, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return fmt.Errorf("%s of %q contains a space or a character that cannot be printed", f.flag, f.value)
		}
	}
	for _, seed := range s.Seeds {
		if strings.TrimSpace(seed) == "" {
			return fmt.Errorf("seeds contain an empty entry")
		}
	}
	return nil
}

// checkRule parses what ranks members and decides who may take over.
func checkRule(s *settings) (err error) {
	if s.rule, err = seniority.ParseRule(s.Rule); err != nil {
		return err
	}
	if s.role, err = seniority.ParseRole(s.Role); err != nil {
		return err
	}
	s.preempt = s.rule.Preempts()
	if s.Config.Preempt != nil {
		s.preempt = *s.Config.Preempt
	}
	if s.PreemptDelay < 0 {
		return fmt.Errorf("preempt-delay of %v is negative", s.PreemptDelay)
	}
	return nil
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
	if s.floating, err = floatingip.ParseAll(s.FloatingIPs); err != nil {
		return fmt.Errorf("floating-ip: %w", err)
	}
	var cutOff time.Duration
	if len(s.floating) > 0 {
		// Where the kernel cannot cut off in time, the keeper says why.
		cutOff, _ = floatingip.CutOff(s.floating)
	}
	if err := t.Check(s.quorum(), cutOff); err != nil {
		return fmt.Errorf("with profile %s, %w", s.Profile, err)
	}
	s.timing = t
	return nil
}

// checkVoters replaces the word seeds by the seeds and refuses lists that the
// protocol cannot count: an entry is one node, and a node one entry.
func checkVoters(s *settings) error {
	s.Voters = slices.Clone(s.Voters)
	if len(s.Voters) == 0 {
		return nil
	}
	if slices.Equal(s.Voters, []string{VotersSeeds}) {
		if s.Voters = slices.Clone(s.Seeds); len(s.Voters) == 0 {
			return fmt.Errorf("voters are the seeds, and there are no seeds")
		}
	}
	for i, v := range s.Voters {
		switch {
		case strings.TrimSpace(v) == "":
			return fmt.Errorf("voters contain an empty entry")
		case strings.HasPrefix(v, "srv+"), strings.HasPrefix(v, "exec:"):
			return fmt.Errorf("voters entry %s may stand for several nodes; name each voter", v)
		case slices.Contains(s.Voters[:i], v):
			return fmt.Errorf("voters contain %s twice", v)
		}
	}
	return nil
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
	if s.Hook == "" {
		return nil
	}
	if s.Hook, err = filepath.Abs(s.Hook); err != nil {
		return fmt.Errorf("hook %s: %w", s.Config.Hook, err)
	}
	return nil
}
