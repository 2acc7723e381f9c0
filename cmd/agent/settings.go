package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"doyen/agent"
	"doyen/agent/floatingip"
	"doyen/seniority"
)

// A setting is one thing that can be said by a flag, an environment variable
// or a key of the configuration file, all of the same name. Another setting is
// another line of the table below.
type setting struct {
	name  string
	alias string // a second name with the same meaning; "" if there is none
	usage string // the placeholder of the value is in backquotes
	text  string // the default, as --help shows it
	list  bool   // comma-separated and repeatable; values add up
	flag  bool   // a bare --name means --name=true
	// argv: a command line. In the file it is a list, each entry as it is; as
	// arguments it is what follows a -- after the flags.
	argv bool
	// set checks one value and stores it; for a list, one entry. Its error
	// completes the sentence "--name: …".
	set func(*options, string) error
}

// settings is everything that can be configured, in the order of --help. The
// defaults shown are those of package agent, which alone applies them.
var settings = []setting{
	{name: "config", usage: "read settings from a YAML `FILE`; its keys are the names of these flags",
		set: text(func(o *options) *string { return &o.configFile })},

	{name: "bind-addr", alias: "bind-interface", text: agent.DefaultBindAddr, usage: "`ADDRESS` or interface name to listen on",
		set: text(func(o *options) *string { return &o.BindAddr })},
	{name: "bind-port", text: strconv.Itoa(agent.DefaultBindPort), usage: "the one `PORT`, for gossip (TCP and UDP) and HTTP; 0 picks a free one",
		set: setBindPort},
	{name: "advertise-addr", text: "detected", usage: "`HOST[:PORT]` the others reach this node at; names are resolved",
		set: text(func(o *options) *string { return &o.AdvertiseAddr })},
	{name: "name", text: "the advertised address", usage: "unique `NAME` of this member",
		set: text(func(o *options) *string { return &o.Name })},
	{name: "seeds", alias: "join", list: true, usage: "where others may be found, `SEED[,SEED…]`: host[:port], [v6]:port, a DNS name (all its addresses), srv+NAME, exec:/path; this node itself may be in the list",
		set: entry(func(o *options) *[]string { return &o.Seeds })},
	{name: "cluster", text: agent.DefaultCluster, usage: "`NAME` of the cluster; members of another are refused",
		set: text(func(o *options) *string { return &o.Cluster })},

	{name: "rule", text: agent.DefaultRule, usage: "who is preferred: `RULE` seniority (the oldest) or bully (the highest id)",
		set: word(func(o *options) *string { return &o.Rule }, seniority.ParseRule)},
	{name: "id", text: "0", usage: "this member's `NUMBER` under the rule bully: unsigned, 64 bits",
		set: setID},
	{name: "role", text: agent.DefaultRole, usage: "`ROLE` candidate, witness (votes, never leads) or observer (neither)",
		set: word(func(o *options) *string { return &o.Role }, seniority.ParseRole)},
	{name: "voters", text: "none: available mode", list: true, usage: "quorum mode: seeds, or the list of voters `HOST:PORT[,HOST:PORT…]`, the same on every node; a majority of exactly these must confirm a leader",
		set: entry(func(o *options) *[]string { return &o.Voters })},
	{name: "lone-wait", text: agent.DefaultLoneWait.String(), usage: "how long (`DURATION`) a node that has never met another waits before it leads alone; 0s: not at all, negative: it never does",
		set: setLoneWait},
	{name: "preempt", flag: true, text: "bully: true, seniority: false", usage: "whether a preferred member takes over from a healthy leader",
		set: setPreempt},
	{name: "preempt-delay", text: "0s", usage: "how long (`DURATION`) the preferred member must have been there before it does",
		set: atLeastZero(func(o *options) *time.Duration { return &o.PreemptDelay })},

	{name: "profile", text: agent.DefaultProfile, usage: "timing `SET`: edge (one switch, real-time scheduling), fast (one switch), lan (one site) or wan",
		set: word(func(o *options) *string { return &o.Profile }, seniority.Profile)},
	{name: "lease", text: "by profile", usage: "`DURATION` a confirmed claim is good for: a silent leader is replaced after it",
		set: positive(func(o *options) *time.Duration { return &o.Timing.Lease })},
	{name: "renewal", text: "by profile", usage: "how often (`DURATION`) a leader renews; at most half the lease",
		set: positive(func(o *options) *time.Duration { return &o.Timing.Renewal })},
	{name: "confirm", text: "by profile", usage: "`DURATION` after which a claimant asks again",
		set: positive(func(o *options) *time.Duration { return &o.Timing.Confirm })},
	{name: "stagger", text: "by profile", usage: "head start (`DURATION`) of one place in the line of succession",
		set: positive(func(o *options) *time.Duration { return &o.Timing.Stagger })},
	{name: "settle", text: "by profile", usage: "`DURATION` a new group waits for seeds that neither answer nor refuse",
		set: positive(func(o *options) *time.Duration { return &o.Timing.Settle })},
	{name: "release-budget", text: "by profile", usage: "quorum mode: how long (`DURATION`) before its lease ends a leader that cannot renew stops and runs release",
		set: positive(func(o *options) *time.Duration { return &o.Timing.ReleaseBudget })},
	{name: "probe-interval", text: "1s", usage: "how often (`DURATION`) gossip probes one other member; the leader is watched by its renewals instead",
		set: positive(func(o *options) *time.Duration { return &o.ProbeInterval })},

	{name: "hook", usage: "`PROGRAM` run as 'PROGRAM EVENT' on release, acquire, check and change; off: none",
		set: text(func(o *options) *string { return &o.Hook })},
	{name: "hook-timeout", text: agent.DefaultHookTimeout.String(), usage: "limit (`DURATION`) of one run of the hook",
		set: positive(func(o *options) *time.Duration { return &o.HookTimeout })},
	{name: "check-interval", text: agent.DefaultCheckInterval.String(), usage: "how often (`DURATION`) the hook's check runs on the leader; 0s: never",
		set: zeroIsOff(func(o *options) *time.Duration { return &o.CheckInterval })},
	{name: "keeper", text: agent.On, usage: "`on` or off: the second process, which runs the hook and cleans up after a crash",
		set: oneOf(func(o *options) *string { return &o.Keeper }, agent.On, agent.Off)},

	{name: "floating-ip", list: true, usage: "`ADDR/LEN@IFACE`, repeatable: a floating address that the leader holds, v4 or v6; all move together",
		set: setFloatingIP},

	{name: "run", argv: true, usage: "`COMMAND [ARG…]`: a program that runs while this member leads; it has ended, or is killed, before another leads",
		set: entry(func(o *options) *[]string { return &o.Run })},

	{name: "watchdog", usage: "watchdog `DEVICE` such as /dev/watchdog, armed while this member leads and has a hook or a command: a host whose agent and keeper are both dead or frozen restarts",
		set: text(func(o *options) *string { return &o.Watchdog })},

	{name: "health", usage: "`PROGRAM` whose failure makes this member no candidate, and a leader hand over; off: none",
		set: text(func(o *options) *string { return &o.Health })},
	{name: "health-interval", text: agent.DefaultHealthInterval.String(), usage: "how often (`DURATION`) the health check runs",
		set: positive(func(o *options) *time.Duration { return &o.HealthInterval })},
	{name: "health-timeout", text: agent.DefaultHealthTimeout.String(), usage: "limit (`DURATION`) of one run of the health check, which is then killed and has failed",
		set: positive(func(o *options) *time.Duration { return &o.HealthTimeout })},
	{name: "health-rise", text: strconv.Itoa(agent.DefaultHealthRise), usage: "after how many successes in a row (`NUMBER`) a member is a candidate again",
		set: atLeastOne(func(o *options) *int { return &o.HealthRise })},
	{name: "health-fall", text: strconv.Itoa(agent.DefaultHealthFall), usage: "after how many failures in a row (`NUMBER`) it is none any more; the first result of all counts at once",
		set: atLeastOne(func(o *options) *int { return &o.HealthFall })},

	{name: "elections", text: "none", list: true, usage: "`NAME[,NAME…]` of further elections over the same members; in the file also a map, {NAME: {floating-ip: …, hook: …}, …}, of what each has of its own",
		set: addElection},
	{name: "placement", text: agent.DefaultPlacement, usage: "how the further elections are laid over the members: `HOW` spread (evenly), together (all where the group's own is led) or rule (each by its rule)",
		set: word(func(o *options) *string { return &o.Placement }, seniority.ParsePlacement)},
	{name: "rebalance-delay", text: "1m", usage: "how long (`DURATION`) a better placement must have lasted before an election is moved to it; negative: never",
		set: setRebalanceDelay},

	{name: "http", text: "the bind port", usage: "other `ADDRESS` for the HTTP API, or off",
		set: text(func(o *options) *string { return &o.HTTP })},
	{name: "api-token-file", usage: "`FILE` with the token that remote calls which change something must bear",
		set: text(func(o *options) *string { return &o.tokenFile })},
	{name: "tls-cert-file", usage: "PEM `FILE` with the certificate, and those below it, that HTTPS is answered with; other hosts must then use HTTPS",
		set: text(func(o *options) *string { return &o.tlsCertFile })},
	{name: "tls-key-file", usage: "PEM `FILE` with its private key",
		set: text(func(o *options) *string { return &o.tlsKeyFile })},
	{name: "encrypt-key-file", usage: "gossip keyring `FILE`: one base64 key a line, the first encrypts (see keygen)",
		set: text(func(o *options) *string { return &o.EncryptKeyFile })},
	{name: "state-dir", usage: "`DIRECTORY` that keeps the highest term, the history and a time to stand aside across restarts",
		set: text(func(o *options) *string { return &o.StateDir })},

	{name: "store", text: agent.Off, usage: "`on` or off: the replicated store; needs --voters and --state-dir",
		set: oneOf(func(o *options) *string { return &o.Store }, agent.On, agent.Off)},
	{name: "store-restore", usage: "`FILE` of 'agent store save' that a new group's store begins with; a store that exists is left as it is",
		set: text(func(o *options) *string { return &o.StoreRestore })},

	{name: "loop-rate", usage: "`NUMBER`: taken for the sake of old command lines, and without effect: nothing loops here",
		set: text(func(o *options) *string { return &o.loopRate })},

	{name: "log-level", text: "info", usage: "`LEVEL` debug, info, warn or error",
		set: setLogLevel},
	{name: "log-format", text: logText, usage: "`FORMAT` of the log on stderr: text or json",
		set: oneOf(func(o *options) *string { return &o.logFormat }, logText, logJSON)},
}

// find returns the setting that name, or the alias name, stands for.
func find(name string) (setting, bool) {
	for _, s := range settings {
		if name != "" && (name == s.name || name == s.alias) {
			return s, true
		}
	}
	return setting{}, false
}

// env is the environment variable of a setting.
func (s setting) env() string { return envName(s.name) }

// envs are all that it may have, those of aliases included.
func (s setting) envs() []string {
	if s.argv {
		return nil
	}
	if s.alias == "" {
		return []string{s.env()}
	}
	return []string{s.env(), envName(s.alias)}
}

func envName(flag string) string {
	return "DOYEN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// The rest of the file is one parser for each kind of value.

func text(field func(*options) *string) func(*options, string) error {
	return func(o *options, v string) error {
		*field(o) = v
		return nil
	}
}

// entry adds one entry to a list.
func entry(field func(*options) *[]string) func(*options, string) error {
	return func(o *options, v string) error {
		*field(o) = append(*field(o), v)
		return nil
	}
}

func oneOf(field func(*options) *string, words ...string) func(*options, string) error {
	return func(o *options, v string) error {
		for _, w := range words {
			if v == w {
				*field(o) = v
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
	}
}

func parseDuration(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 500ms, 10s or 1m30s", v)
	}
	return d, nil
}

// bounded parses a duration that must not be below least; why says so.
func bounded(field func(*options) *time.Duration, least time.Duration, why string) func(*options, string) error {
	return func(o *options, v string) error {
		d, err := parseDuration(v)
		if err != nil {
			return err
		}
		if d < least {
			return fmt.Errorf("%s is not %s", v, why)
		}
		*field(o) = d
		return nil
	}
}

// positive is for durations whose zero means "the default" to package agent: a
// user who writes 0s means something else.
func positive(field func(*options) *time.Duration) func(*options, string) error {
	return bounded(field, 1, "longer than zero")
}

func atLeastZero(field func(*options) *time.Duration) func(*options, string) error {
	return bounded(field, 0, "zero or longer")
}

// zeroIsOff turns the user's 0s into package agent's word for off, a negative
// duration.
func zeroIsOff(field func(*options) *time.Duration) func(*options, string) error {
	parse := atLeastZero(field)
	return func(o *options, v string) error {
		if err := parse(o, v); err != nil {
			return err
		}
		if *field(o) == 0 {
			*field(o) = -1
		}
		return nil
	}
}

// atLeastOne is for numbers whose zero means "the default" to package agent.
func atLeastOne(field func(*options) *int) func(*options, string) error {
	return func(o *options, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is not a number between 1 and 65535", v)
		}
		*field(o) = int(n)
		return nil
	}
}

func setBindPort(o *options, v string) error {
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a port between 0 and 65535", v)
	}
	p := int(port)
	o.BindPort = &p
	return nil
}

func setID(o *options, v string) error {
	id, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number between 0 and %d", v, uint64(math.MaxUint64))
	}
	o.ID = id
	return nil
}

func setFloatingIP(o *options, v string) error {
	_, err := floatingip.Parse(v)
	if err == nil {
		o.FloatingIPs = append(o.FloatingIPs, v)
	}
	return err
}

// word stores a text that check takes. A bad one is not stored, so that what is
// checked of the whole says nothing more about it.
func word[T any](field func(*options) *string, check func(string) (T, error)) func(*options, string) error {
	return func(o *options, v string) error {
		_, err := check(v)
		if err == nil {
			*field(o) = v
		}
		return err
	}
}

func setLoneWait(o *options, v string) error {
	d, err := parseDuration(v)
	o.LoneWait = &d
	return err
}

func setPreempt(o *options, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", v)
	}
	o.Preempt = &b
	return nil
}

func setLogLevel(o *options, v string) error {
	if err := o.logLevel.UnmarshalText([]byte(v)); err != nil || !strings.EqualFold(o.logLevel.String(), v) {
		return fmt.Errorf("%q is none of debug, info, warn, error", v)
	}
	return nil
}
