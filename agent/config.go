package agent

import (
	"context"
	"log/slog"
	"time"

	"doyen/agent/hook"
	"doyen/agent/voters"
	"doyen/gossip"
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
const VotersSeeds = voters.Seeds

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
	// detected, and detected again when the addresses of the host change.
	AdvertiseAddr string
	// Seeds are where other members may be found: host[:port], [v6]:port, a
	// bare v6 address, a DNS name, srv+NAME, or exec:/path.
	Seeds []string
	// Cluster names the cluster; members of others are refused.
	Cluster string

	// Rule is the order of preference: seniority or bully.
	Rule string
	// ID ranks this member under the bully rule: any number, 0 by default.
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

	// Profile is the set of times: edge, fast, lan or wan; see seniority.Profile.
	// edge needs real-time scheduling, see Readiness.
	Profile string
	// Timing overrides single times of the profile; zero fields are the
	// profile's, except that a lease brings its third as the renewal. A
	// negative ReleaseBudget means none.
	Timing seniority.Timing

	// ProbeInterval is how often gossip probes one other member, to notice
	// members that are gone; the leader is watched by its renewals instead.
	// 0: 1 s.
	ProbeInterval time.Duration

	// Hook is the program run on leadership events; "" or "off": none.
	Hook string
	// HookTimeout limits one run of the hook.
	HookTimeout time.Duration
	// CheckInterval is how often the hook's check runs on the leader;
	// negative: never.
	CheckInterval time.Duration
	// Run is a command and its arguments that run while this member leads; nil:
	// none. A program without a slash is looked up in PATH.
	Run []string
	// Watchdog is the watchdog device that restarts the host when agent and keeper are
	// both dead or frozen while this member leads and has a hook or a command; "": none.
	// A member that cannot arm it is no candidate.
	Watchdog string
	// FloatingIPs are the built-in floating addresses, each ADDR/LEN@IFACE;
	// they move together.
	FloatingIPs []string
	// Keeper is "on": a second process runs the hook and cleans up after a
	// crash; or "off": this process runs it, and what needs the second one is
	// withdrawn in Ready. "": on if the program's main calls Init, else off.
	Keeper string

	// Health is the program whose failure makes this member no candidate; "" or
	// "off": none. The first result counts at once; until then it is no candidate.
	Health string
	// HealthInterval is how often it runs, and HealthTimeout limits one run.
	HealthInterval, HealthTimeout time.Duration
	// HealthRise and HealthFall are how many results in a row change the
	// verdict, for better and for worse.
	HealthRise, HealthFall int

	// Elections are the further elections over the same members, by name: of 1 to 32
	// of the characters a-z, 0-9 and -, at most 128. This member is a candidate of
	// these; it votes in all that any member names.
	Elections map[string]ElectionConfig
	// Placement is how they are laid over the members that may lead them: spread
	// evenly, together with the group's own leader, or each by its rule. "": spread.
	// It is the setting of the member that leads the group that counts.
	Placement string
	// RebalanceDelay is how long a better placement must have lasted before an
	// election is moved to it; 0: 1 m, negative: never.
	RebalanceDelay time.Duration

	// HTTP tells the other members where this one answers HTTP: "" on the
	// gossip port, "off" nowhere, else a host:port. The agent itself serves
	// none; see Agent.HTTP.
	HTTP string
	// EncryptKeyFile is the gossip keyring, one base64 key a line.
	EncryptKeyFile string
	// StateDir, if any, keeps the highest term, the longest lease promised, the
	// history and a time to stand aside across restarts.
	StateDir string

	// Store is "on": the replicated store, which needs Voters and StateDir; "":
	// off.
	Store string
	// StoreRestore is a file that Store.Save has written, and that a group whose
	// store is new begins with; "": none.
	StoreRestore string

	// Logger receives what the agent has to say; nil: slog.Default().
	Logger *slog.Logger

	seams seams
}

// seams are where tests put their own clock, network and keeper.
type seams struct {
	now       func() seniority.Now
	transport memberlist.NodeAwareTransport
	open      func() (memberlist.NodeAwareTransport, error) // in its place
	resolver  gossip.Resolver
	keeper    func(*Agent) (executor, error)
	leases    *leaseRecord
	health    func(ctx context.Context, limit time.Duration) hook.Result
}

// Validate reports everything that is wrong with the configuration: one line, a
// sentence that names the flag, for each fault. It touches neither network nor
// disk nor kernel; see CheckHost.
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
	// Watchdog is how long after agent and keeper are both dead or frozen the host
	// restarts; 0: it does not.
	Watchdog time.Duration
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
	restart := time.Duration(0)
	if s.needsWatchdog() {
		restart = s.watchdogTimeout()
	}
	return Bounds{
		Watchdog:      restart,
		LeastFailover: least, UsualFailover: usual,
		Lease: s.timing.Lease, ReleaseBudget: s.timing.ReleaseBudget,
		WorstFailover: s.timing.FailoverBound(candidates), Drift: driftPPM,
	}, nil
}

// driftPPM is the bound of clock drift in parts per million.
const driftPPM = 1_000_000 / seniority.Drift
