package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/placing"
	"doyen/seniority"
)

const (
	// MaxElections is how many further elections there may be over one group.
	MaxElections = placing.MaxElections
	// DefaultPlacement is how further elections are laid over the members.
	DefaultPlacement = "spread"
	// DefaultRebalanceDelay is how long a better placement must have lasted before an
	// election is moved to it.
	DefaultRebalanceDelay = time.Minute
)

// ElectionConfig is what a further election has of its own. A zero field is taken
// from the Config, except where it says otherwise.
type ElectionConfig struct {
	// Hook is the election's hook; "": the Config's, "off": none.
	Hook string
	// HookTimeout limits one run of the hook; 0: the Config's.
	HookTimeout time.Duration
	// CheckInterval is how often a leader's check runs; 0: the Config's, negative:
	// never.
	CheckInterval time.Duration

	// Health is the program whose failure makes this member no candidate of the
	// election; "": the Config's, "off": none.
	Health string
	// HealthInterval, HealthTimeout, HealthRise and HealthFall are how it is run and
	// judged; 0: as in the Config.
	HealthInterval, HealthTimeout time.Duration
	HealthRise, HealthFall        int

	// Rule is the order of preference; "": the Config's. It must be the same on
	// every member that names the election.
	Rule string
	// ID ranks this member under the bully rule; nil: the Config's.
	ID *uint64
	// Role is candidate, witness or observer; "": the Config's.
	Role string
	// Preempt says whether a preferred member takes over from a healthy leader; nil:
	// as the Config or the rule has it. It counts with the placement "rule" alone:
	// with another, elections are moved one at a time.
	Preempt *bool
	// PreemptDelay is how long that member must have been there; nil: the Config's.
	PreemptDelay *time.Duration

	// FloatingIPs are the election's own floating addresses; none: it has none.
	FloatingIPs []string
	// Run is a command and its arguments that run while this member leads the
	// election; nil: none.
	Run []string
	// Prefer are members that should lead the election, the first first: names,
	// addresses, or host:port. None: no member is preferred.
	Prefer []string
}

// electionName is what the name of a further election looks like.
var electionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// CheckElectionName says what is wrong with the name of a further election, in a
// sentence.
func CheckElectionName(name string) error {
	switch {
	case name == GroupElection:
		return fmt.Errorf("elections contain %s, which is the name of the group's own election", GroupElection)
	case !electionName.MatchString(name):
		return fmt.Errorf("elections contain %q, which is not made of 1 to 32 of the characters a-z, 0-9 and -, the first no -", name)
	}
	return nil
}

// checkElections checks the further elections and how they are placed.
func checkElections(s *settings) error {
	var faults []error
	var err error
	s.Placement = cmp.Or(s.Placement, DefaultPlacement)
	if s.placement, err = seniority.ParsePlacement(s.Placement); err != nil {
		faults = append(faults, err)
	}
	s.RebalanceDelay = cmp.Or(s.RebalanceDelay, DefaultRebalanceDelay)
	if n := len(s.Elections); n > MaxElections {
		faults = append(faults, fmt.Errorf("elections are %d, the most is %d", n, MaxElections))
	}
	s.Elections = maps.Clone(s.Elections)
	s.elections = map[string]*settings{}
	for _, name := range slices.Sorted(maps.Keys(s.Elections)) {
		if err := CheckElectionName(name); err != nil {
			faults = append(faults, err)
			continue
		}
		e, err := s.forElection(s.Elections[name])
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				faults = append(faults, fmt.Errorf("election %s: %s", name, line))
			}
			continue
		}
		s.elections[name] = e
	}
	return errors.Join(append(faults, s.checkShared())...)
}

// checkShared refuses a floating address that two elections have.
func (s *settings) checkShared() error {
	owner := map[string]string{}
	note := func(name string, addrs []floatingip.Address) (err error) {
		for _, a := range addrs {
			ip := a.IP().String()
			if other, taken := owner[ip]; taken {
				err = errors.Join(err, fmt.Errorf("floating-ip %s is given to the elections %s and %s", ip, other, name))
			}
			owner[ip] = name
		}
		return err
	}
	faults := []error{note(GroupElection, s.floating)}
	for _, name := range slices.Sorted(maps.Keys(s.elections)) {
		faults = append(faults, note(name, s.elections[name].floating))
	}
	return errors.Join(faults...)
}

// forElection returns the settings of a further election: the member's, with what
// the election has of its own.
func (s *settings) forElection(c ElectionConfig) (*settings, error) {
	e := *s
	e.elections, e.Elections = nil, nil
	e.Hook, e.Health = s.given.Hook, s.given.Health // before they were made absolute
	for _, f := range []struct{ to, from *string }{{&e.Hook, &c.Hook}, {&e.Health, &c.Health}, {&e.Rule, &c.Rule}, {&e.Role, &c.Role}} {
		*f.to = cmp.Or(*f.from, *f.to)
	}
	for _, f := range []struct{ to, from *time.Duration }{
		{&e.HookTimeout, &c.HookTimeout}, {&e.CheckInterval, &c.CheckInterval},
		{&e.HealthInterval, &c.HealthInterval}, {&e.HealthTimeout, &c.HealthTimeout},
	} {
		*f.to = cmp.Or(*f.from, *f.to)
	}
	e.HealthRise, e.HealthFall = cmp.Or(c.HealthRise, e.HealthRise), cmp.Or(c.HealthFall, e.HealthFall)
	for _, program := range []*string{&e.Hook, &e.Health} {
		if *program == Off {
			*program = ""
		}
	}
	if c.ID != nil {
		e.ID = *c.ID
	}
	if c.Preempt != nil {
		e.Config.Preempt = c.Preempt
	}
	if c.PreemptDelay != nil {
		e.PreemptDelay = *c.PreemptDelay
	}
	e.FloatingIPs, e.prefer, e.Run = slices.Clone(c.FloatingIPs), slices.Clone(c.Prefer), slices.Clone(c.Run)
	var floatErr error
	if e.floating, floatErr = floatingip.ParseAll(e.FloatingIPs); floatErr != nil {
		floatErr = fmt.Errorf("floating-ip: %w", floatErr)
	}
	err := errors.Join(checkDurations(&e), checkRule(&e), checkHook(&e), checkHealth(&e), floatErr)
	if s.placement != seniority.ByRule {
		e.preempt = false
	}
	return &e, err
}

// allFloating are the floating addresses of all elections.
func (s *settings) allFloating() []floatingip.Address {
	all := slices.Clone(s.floating)
	for _, name := range slices.Sorted(maps.Keys(s.elections)) {
		all = append(all, s.elections[name].floating...)
	}
	return all
}

// resolveRuns finds the programs of all commands.
func (s *settings) resolveRuns() (err error) {
	var faults []error
	if s.run, err = resolveRun(s.Run); err != nil {
		faults = append(faults, err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.elections)) {
		e := s.elections[name]
		if e.run, err = resolveRun(e.Run); err != nil {
			faults = append(faults, fmt.Errorf("election %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// voting returns the settings of an election that this member's own settings do
// not name: it votes, is no candidate, and holds nothing.
func (s *settings) voting() *settings {
	e := *s
	e.elections, e.Elections = nil, nil
	e.Hook, e.Health, e.FloatingIPs, e.floating, e.preempt = "", "", nil, nil, false
	e.Run, e.run = nil, nil
	if e.role == seniority.Candidate {
		e.role = seniority.Witness // as membersOf shows it to the other members
	}
	return &e
}
