package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"doyen/agent/clock"
	"doyen/agent/hook"
)

// Config is what a keeper is told once. It is checked and copied at the start.
type Config struct {
	// Node, Addr, Cluster and Rule describe this node to the hook. Node and
	// Cluster also name the node-wide lock.
	Node, Addr, Cluster, Rule string
	// Hook is the program to run, an absolute path; "": none.
	Hook string
	// HookTimeout limits one run, and all tries of one release together; zero:
	// 30 s.
	HookTimeout time.Duration
	// CheckInterval is how often a leader's check runs; zero: 5 s, negative:
	// only when Order.CheckNow asks for it.
	CheckInterval time.Duration
	// RetryAfter is the pause before acquire or release is tried again; it
	// doubles with each failure, up to 30 times as long. Zero: 1 s.
	RetryAfter time.Duration
	// Quorum says that another node may lead ReleaseBudget after the deadline,
	// so that release is killed then. Otherwise only HookTimeout limits it.
	Quorum        bool
	ReleaseBudget time.Duration
	// Addresses are the floating addresses, as Tools.Addresses takes them.
	Addresses []string
	// HealthRun names the agent's run to its health checks; "": there are none.
	// A keeper process kills those that its agent has left behind.
	HealthRun string
	// Logger receives what a person should know; nil: slog.Default(). A keeper
	// process whose agent has died logs to stderr, as LogLevel and LogJSON say.
	Logger   *slog.Logger `json:"-"`
	LogLevel slog.Level
	LogJSON  bool
	// Now is the clock; nil: clock.Boot. Only Local can use another.
	Now func() time.Duration `json:"-"`
}

const (
	defaultTimeout = 30 * time.Second
	defaultCheck   = 5 * time.Second
	defaultRetry   = time.Second
	maxRetryFactor = 30
)

// checked returns a copy of c with the defaults filled in.
func (c Config) checked() (Config, error) {
	switch {
	case c.Node == "":
		return c, errors.New("the node has no name")
	case c.Hook != "" && !filepath.IsAbs(c.Hook):
		return c, fmt.Errorf("hook %s is not an absolute path", c.Hook)
	case c.HookTimeout < 0:
		return c, fmt.Errorf("hook-timeout of %v is negative", c.HookTimeout)
	case c.ReleaseBudget < 0:
		return c, fmt.Errorf("release-budget of %v is negative", c.ReleaseBudget)
	case c.RetryAfter < 0:
		return c, fmt.Errorf("retry pause of %v is negative", c.RetryAfter)
	}
	setDefault(&c.HookTimeout, defaultTimeout)
	setDefault(&c.CheckInterval, defaultCheck)
	setDefault(&c.RetryAfter, defaultRetry)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// backoff is how long to wait after the given number of failures in a row.
func (c *Config) backoff(failures int) time.Duration {
	wait := c.RetryAfter
	for range failures - 1 {
		wait = min(2*wait, maxRetryFactor*c.RetryAfter)
	}
	return wait
}

// Tools are what a keeper does besides running hooks. The keeper process gets
// them from Init, since functions do not travel between processes.
type Tools struct {
	// Deliver hands a dead leader's will to the others. It may take some
	// milliseconds, and reports nothing: nobody is left to try again.
	Deliver func(will []byte, targets []string)
	// Addresses prepares the floating addresses; leads says whether this node
	// leads at the moment of the call. Nil: Config.Addresses must be empty.
	Addresses func(c Config, leads func() bool) (*Addresses, error)
}

// Addresses are floating addresses that move together. Calls take some
// milliseconds at most; one goroutine makes them all. They are functions rather
// than methods of an interface, because a type that is in an interface brings
// every exported method of every type in it into the program (text/template
// might look one up by its name): with netlink's that is more than a megabyte.
type Addresses struct {
	// Take puts the addresses on, until the boot time given unless renewed.
	Take func(until time.Duration) error
	// Renew moves that time.
	Renew func(until time.Duration) error
	// Check puts back what is missing.
	Check func() error
	// Announce tells the neighbours again.
	Announce func()
	// Drop takes the addresses off, whoever put them there.
	Drop func() error
	// Close lets go of everything.
	Close func() error
}

// Order is all that the agent wants now. The newest counts; one that is
// replaced before it was read does not matter.
type Order struct {
	// Lead: this node leads Term, for as long as the word says so.
	Lead bool
	// Term is the term of the leader, this node or another.
	Term uint64
	// ReleaseTerm, if not 0, is the term whose release the agent waits for: a
	// report with Released answers it. ReleaseBy is when it must have ended
	// (boot time); 0: Config.HookTimeout alone limits it.
	ReleaseTerm uint64
	ReleaseBy   time.Duration
	// Leader is who leads, "" if nobody, Previous who led before; Reason says
	// why that changed.
	Leader, LeaderAddr, Previous, Reason string
	// CheckNow counts the reasons to run check at once.
	CheckNow uint64
	// Will is this leadership's will, and WillTargets whom it goes to.
	Will        []byte   `json:",omitempty"`
	WillTargets []string `json:",omitempty"`

	// Gen is the generation of the word that Lead is about, and Seq counts the
	// orders given to one keeper process. The package fills them in.
	Gen uint32
	Seq uint64
}

// Report is one thing that happened. Reports come in order. Every field is
// news of this report alone, except Held.
type Report struct {
	// Event, if not "", is the hook event of a run under Term that has begun
	// (Running) or ended: with exit status Exit, or -1 and a reason in Err if it
	// was killed or could not be started.
	Event    string        `json:",omitempty"`
	Term     uint64        `json:",omitempty"`
	Running  bool          `json:",omitempty"`
	Exit     int           `json:",omitempty"`
	Duration time.Duration `json:",omitempty"`
	Err      string        `json:",omitempty"`
	// Overtaken: it was killed because something newer made it pointless, which
	// is no failure of the hook.
	Overtaken bool `json:",omitempty"`
	// Output is the first hook.MaxOutput bytes of what the run printed.
	Output string `json:",omitempty"`
	// Held: acquire has succeeded, and nothing has happened since that would
	// make it doubtful.
	Held bool `json:",omitempty"`
	// AcquireFailures, if not 0, is how often in a row acquire of Term failed.
	AcquireFailures int `json:",omitempty"`
	// Fired, if not 0, is a term whose leadership the keeper has ended.
	Fired uint64 `json:",omitempty"`
	// Released, if not 0, is a term whose release has ended: nothing of it runs
	// any more and, unless ReleaseFailed, nothing is held.
	Released      uint64 `json:",omitempty"`
	ReleaseFailed bool   `json:",omitempty"`
	// StartupDone: the release at start has ended; until then no leadership can
	// begin.
	StartupDone bool `json:",omitempty"`
	// KeeperDied: the keeper process has ended and another is being started.
	// Nothing of the hook runs any more, and the leadership is over.
	KeeperDied bool `json:",omitempty"`

	// Note is a sentence for the log, and Seen the Seq of an order taken in.
	// Both are for the package's own use.
	Note string `json:",omitempty"`
	Seen uint64 `json:",omitempty"`
}

// newsless reports whether r only tells of a run: losing it changes nothing.
func (r *Report) newsless() bool {
	return r.Seen == 0 && r.Fired == 0 && r.Released == 0 && !r.StartupDone && !r.KeeperDied && r.AcquireFailures == 0 &&
		(r.Event != string(hook.Acquire) || r.Running)
}

// bootClock is the clock to use.
func (c *Config) bootClock() (func() time.Duration, func() clock.Alarm) {
	if c.Now == nil {
		return clock.Boot, clock.NewAlarm
	}
	return c.Now, func() clock.Alarm { return clock.NewTimerAlarm(c.Now) }
}
