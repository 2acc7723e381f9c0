package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"doyen/agent/clock"
)

const (
	// Group is the name of the group's own election, and of one without a name.
	Group = "group"
	// MaxElections is how many elections a keeper serves at once.
	MaxElections = 129
)

// Config is what a keeper is told when it starts. It is checked and copied then.
type Config struct {
	// Node, Addr and Cluster describe this node to the hooks. Node and Cluster also
	// name the node-wide lock.
	Node, Addr, Cluster string
	// API is where client commands in hooks and commands reach the agent.
	API string
	// Elections are what the keeper acts for; see Keeper.Configure.
	Elections []Election
	// RetryAfter is the pause before acquire or release is tried again; it
	// doubles with each failure, up to 30 times as long. Zero: 1 s.
	RetryAfter time.Duration
	// Quorum says that another node may lead ReleaseBudget after the deadline,
	// so that release is killed then. Otherwise only HookTimeout limits it.
	Quorum bool
	// Watchdog is the device that restarts the host when agent and keeper are both
	// dead or frozen while an election has a hook or a command at work; "": none.
	Watchdog string
	// WatchdogTimeout is the device's timeout, in whole seconds; zero: 2 s.
	WatchdogTimeout time.Duration
	// LockMemory has a keeper process keep its memory from being paged out, if it
	// may: its agent's lease is too short for a page that is read from a disk.
	LockMemory bool
	// Logger receives what a person should know; nil: slog.Default(). It does
	// not travel: a keeper process makes its own, which writes to stderr as
	// LogLevel and LogJSON say.
	Logger   *slog.Logger `json:"-"`
	LogLevel slog.Level
	LogJSON  bool
	// Now is the clock; nil: clock.Boot. Only Local can use another.
	Now func() time.Duration `json:"-"`
}

// Election is what a keeper does for one election.
type Election struct {
	// Name is that of the election; "": Group.
	Name string
	// Rule is the election's rule, for the hook.
	Rule string
	// Hook is the program to run, an absolute path; "": none.
	Hook string
	// HookTimeout limits one run, and all tries of one release together; zero:
	// 30 s.
	HookTimeout time.Duration
	// CheckInterval is how often a leader's check runs; zero: 5 s, negative:
	// only when Order.CheckNow asks for it.
	CheckInterval time.Duration
	// ReleaseBudget is how long after the deadline another node may lead; see
	// Config.Quorum. Zero: at the deadline.
	ReleaseBudget time.Duration
	// Addresses are the floating addresses, as Tools.Addresses takes them.
	Addresses []string
	// Run is the command that runs while this node leads, and its arguments; the
	// program is an absolute path. Nil: none.
	Run []string
	// HealthRun names the agent's run to its health checks; "": there are none.
	// A keeper process kills those that its agent has left behind.
	HealthRun string
}

const (
	defaultTimeout = 30 * time.Second
	defaultCheck   = 5 * time.Second
	defaultRetry   = time.Second
	// defaultWatchdog is the least timeout with which a busy host is not restarted.
	defaultWatchdog = 2 * time.Second
	maxRetryFactor  = 30
)

// electionName is what the name of an election looks like.
var electionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// checked returns a copy of c with the defaults filled in.
func (c Config) checked() (Config, error) {
	switch {
	case c.Node == "":
		return c, errors.New("the node has no name")
	case c.WatchdogTimeout < 0:
		return c, fmt.Errorf("watchdog timeout of %v is negative", c.WatchdogTimeout)
	case c.RetryAfter < 0:
		return c, fmt.Errorf("retry pause of %v is negative", c.RetryAfter)
	case len(c.Elections) == 0:
		return c, errors.New("the keeper has no election to act for")
	case len(c.Elections) > MaxElections:
		return c, fmt.Errorf("%d elections are more than %d", len(c.Elections), MaxElections)
	}
	setDefault(&c.RetryAfter, defaultRetry)
	setDefault(&c.WatchdogTimeout, defaultWatchdog)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Elections = slices.Clone(c.Elections)
	names := map[string]bool{}
	for i := range c.Elections {
		var err error
		if c.Elections[i], err = c.Elections[i].checked(); err != nil {
			return c, err
		}
		name := c.Elections[i].Name
		if names[name] {
			return c, fmt.Errorf("there are two elections of the name %s", name)
		}
		names[name] = true
	}
	return c, nil
}

// checked returns a copy of e with the defaults filled in.
func (e Election) checked() (Election, error) {
	if e.Name == "" {
		e.Name = Group
	}
	switch {
	case !electionName.MatchString(e.Name):
		return e, fmt.Errorf("%q is no name of an election", e.Name)
	case e.Hook != "" && !filepath.IsAbs(e.Hook):
		return e, fmt.Errorf("hook %s is not an absolute path", e.Hook)
	case len(e.Run) > 0 && !filepath.IsAbs(e.Run[0]):
		return e, fmt.Errorf("command %s is not an absolute path", e.Run[0])
	case e.HookTimeout < 0:
		return e, fmt.Errorf("hook-timeout of %v is negative", e.HookTimeout)
	case e.ReleaseBudget < 0:
		return e, fmt.Errorf("release-budget of %v is negative", e.ReleaseBudget)
	}
	setDefault(&e.HookTimeout, defaultTimeout)
	setDefault(&e.CheckInterval, defaultCheck)
	e.Addresses, e.Run = slices.Clone(e.Addresses), slices.Clone(e.Run)
	return e, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// holds reports whether a leadership of the election may hold anything.
func (e *Election) holds() bool { return e.Hook != "" || len(e.Addresses) > 0 || len(e.Run) > 0 }

// backoff is how long to wait after the given number of failures in a row.
func (c *Config) backoff(failures int) time.Duration {
	wait := c.RetryAfter
	for range failures - 1 {
		wait = min(2*wait, maxRetryFactor*c.RetryAfter)
	}
	return wait
}

// bootClock is the clock to use.
func (c *Config) bootClock() (now func() time.Duration, alarm func(ring func()) clock.Alarm) {
	if c.Now == nil {
		return clock.Boot, clock.NewAlarmFunc
	}
	return c.Now, func(ring func()) clock.Alarm { return clock.NewTimerAlarmFunc(c.Now, ring) }
}
