package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"doyen/agent/clock"
	"doyen/agent/floatingip"
	"doyen/agent/hook"
	"doyen/agent/keeper"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// The defaults of Config that are no zero values.
const (
	DefaultBindAddr      = "0.0.0.0"
	DefaultBindPort      = 4000
	DefaultCluster       = "default"
	DefaultRule          = "seniority"
	DefaultRole          = "candidate"
	DefaultLoneWait      = 10 * time.Second
	DefaultProfile       = "lan"
	DefaultHookTimeout   = 30 * time.Second
	DefaultCheckInterval = 5 * time.Second
)

// What Config.Keeper and Config.HTTP may say besides an address.
const (
	On  = "on"
	Off = "off"
)

// VotersSeeds, as the only entry of Config.Voters, means that the seeds are
// the voters.
const VotersSeeds = "seeds"

// maxName limits names, of members and of clusters: together with the rest of
// what ranks a member they must fit into the 512 bytes that gossip carries.
const maxName = 200

// Config is everything one agent can be told. The zero value is usable: it is
// an agent of the cluster "default" on port 4000 that knows no other. Each
// field is the flag of its name; a zero field means the flag's default, and a
// pointer is used where zero itself means something.
type Config struct {
	// Name is the member's unique name; "": the advertised host:port as given.
	Name string
	// BindAddr is the address or the name of the interface to listen on.
	BindAddr string
	// BindPort is the one port for gossip and HTTP; nil: 4000, 0: a free one.
	BindPort *int
	// AdvertiseAddr is the host[:port] the others reach this node at; "":
	// detected.
	AdvertiseAddr string
	// Seeds are where other members may be found: host[:port], [v6]:port, a
	// bare v6 address, a DNS name, srv+NAME, or exec:/path.
	Seeds []string
	// Cluster names the cluster; members of others are refused.
	Cluster string

	// Rule is the order of preference: seniority or bully.
	Rule string
	// ID ranks this member under the bully rule.
	ID uint64
	// Role is candidate, witness or observer.
	Role string
	// Voters, if any, selects quorum mode: a majority of exactly these must
	// confirm a leader. Entries are names or host:port; the one entry "seeds"
	// means the seeds. The same on every node.
	Voters []string
	// LoneWait is, in available mode, how long a node that has never met
	// another waits before it may lead alone; nil: 10 s, 0: not at all,
	// negative: it never does.
	LoneWait *time.Duration
	// Preempt says whether a preferred member takes over from a healthy
	// leader; nil: as the rule has it.
	Preempt *bool
	// PreemptDelay is how long a preferred member must have been there first.
	PreemptDelay time.Duration

	// Profile is the set of times: fast, lan or wan.
	Profile string
	// Timing overrides single times of the profile; zero fields are the
	// profile's, except that a lease brings its third as the renewal. A
	// negative ReleaseBudget means none.
	Timing seniority.Timing

	// ProbeInterval is how often gossip probes one other member, to notice
	// members that are gone; the leader is watched by its renewals instead.
	// 0: 1 s.
	ProbeInterval time.Duration

	// Hook is the program run on leadership events; "": none.
	Hook string
	// HookTimeout limits one run of the hook.
	HookTimeout time.Duration
	// CheckInterval is how often the hook's check runs on the leader;
	// negative: never.
	CheckInterval time.Duration
	// FloatingIPs are the built-in floating addresses, each ADDR/LEN@IFACE;
	// they move together.
	FloatingIPs []string
	// Keeper is "on": a second process runs the hook and cleans up after a
	// crash; or "off": this process runs it, and what needs the second one is
	// withdrawn in Ready. "": on if the program's main calls Init, else off.
	Keeper string

	// Health is the program whose failure makes this member no candidate; "":
	// none. The first result counts at once; until then it is no candidate.
	Health string
	// HealthInterval is how often it runs, and HealthTimeout limits one run.
	HealthInterval, HealthTimeout time.Duration
	// HealthRise and HealthFall are how many results in a row change the
	// verdict, for better and for worse.
	HealthRise, HealthFall int

	// HTTP tells the other members where this one answers HTTP: "" on the
	// gossip port, "off" nowhere, else a host:port. The agent itself serves
	// none; see Agent.HTTP.
	HTTP string
	// EncryptKeyFile is the gossip keyring, one base64 key a line.
	EncryptKeyFile string
	// StateDir, if any, keeps the highest term, the longest lease promised, the
	// history and a time to stand aside across restarts.
	StateDir string

	// Logger receives what the agent has to say; nil: slog.Default().
	Logger *slog.Logger

	seams seams
}

// seams are where tests put their own clock, network and keeper.
type seams struct {
	now       func() seniority.Now
	transport memberlist.NodeAwareTransport
	keeper    func(*Agent) (hands, error)
	health    func(ctx context.Context, limit time.Duration) hook.Result
}

// Validate reports the first thing that is wrong with the configuration, as
// one sentence that names the flag. It touches neither network nor disk.
func (c Config) Validate() error {
	_, err := c.validate()
	return err
}

// Bounds are the figures that a configuration stands for.
type Bounds struct {
	// Lease and ReleaseBudget are as in effect.
	Lease, ReleaseBudget time.Duration
	// LeastFailover and UsualFailover are between what a group is usually without
	// a leader when that one's host dies or is cut off, without the hook. A leader
	// that is stopped, or killed while its host lives, costs a round trip or two.
	LeastFailover, UsualFailover time.Duration
	// WorstFailover is how long a group with that many candidates is without a
	// leader at most, after one fault and without the hook.
	WorstFailover time.Duration
	// Drift is how many parts per million the rates of the hosts' clocks may
	// differ by.
	Drift int
}

// Bounds computes what the configuration promises a group of so many candidates.
func (c Config) Bounds(candidates int) (Bounds, error) {
	s, err := c.validate()
	if err != nil {
		return Bounds{}, err
	}
	least, usual := s.timing.SilentFailover()
	return Bounds{
		LeastFailover: least, UsualFailover: usual,
		Lease: s.timing.Lease, ReleaseBudget: s.timing.ReleaseBudget,
		WorstFailover: s.timing.FailoverBound(candidates), Drift: driftPPM,
	}, nil
}

// driftPPM is the bound of clock drift in parts per million.
const driftPPM = 1_000_000 / seniority.Drift

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
