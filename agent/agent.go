package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/logqueue"
	"doyen/agent/ownfindings"
	"doyen/agent/placing"
	"doyen/agent/realtime"
	"doyen/agent/voters"
	"doyen/agent/words"
	"doyen/gossip"
	"doyen/seniority"
)

// leaveTimeout limits how long the others are told that this member leaves,
// and how long the keeper may take to end once nothing is held any more.
const leaveTimeout = 3 * time.Second

// historiesSize bounds how much of a further election's history is kept for the next
// run: that of all is one file.
const historiesSize = 32

// saveInterval is how often what may wait is stored, if it has changed, and how
// often it is tried whether a term could be.
const saveInterval = 5 * time.Second

// Agent is one member. All methods are safe for concurrent use, and answer
// from memory unless they take a context.
type Agent struct {
	cfg   *settings
	log   *slog.Logger
	logs  *logqueue.Queue
	self  seniority.Member
	addr  string
	state *stateDir
	// leases is kept by voters of quorum mode, beside the state directory: the
	// next run may be without one.
	leases *leaseRecord
	store  *keptStore // nil: off

	gossip *gossip.Gossip
	group  *Election
	roll   roll         // all elections, the group's own included
	due    atomic.Int64 // boot time at which the loop turns again at the latest

	requests chan request
	leaving  chan struct{} // closed when this member begins to leave
	done     chan struct{} // closed when Run has returned
	ran      atomic.Bool
}

// ErrUnusable is wrapped by the errors of New, Validate and Reload about the
// configuration itself and what it names, which would be the same at the next try; not by
// those about a port that is taken or a disk that fails.
var ErrUnusable = errors.New("the configuration is unusable")

// unusable is an error about the configuration. It reads as that error alone.
type unusable struct{ error }

// Unwrap makes it ErrUnusable as well.
func (u unusable) Unwrap() []error { return []error{ErrUnusable, u.error} }

// asUnusable makes an error one about the configuration; nil stays nil.
func asUnusable(err error) error {
	if err == nil {
		return nil
	}
	return unusable{err}
}

// New returns an agent that has bound its port and reads nothing from it yet.
// Its errors are sentences that name the flag, and those about the configuration wrap
// ErrUnusable. Run must be called, if only with a context that has ended, to give the
// port back.
//
// New does not look for all that Config.CheckHost finds, such as a hook that cannot be
// run. That a Keeper that is on needs a program whose main calls Init is an error of Run.
func New(c Config) (*Agent, error) {
	cfg, err := c.validate()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(cfg.checkCutOff(), cfg.resolveRuns()); err != nil {
		return nil, asUnusable(err)
	}
	state, past, err := openState(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, state: state,
		requests: make(chan request), leaving: make(chan struct{}), done: make(chan struct{}),
	}
	a.log, a.logs = logqueue.New(cfg.Logger)
	a.group = a.enlist(GroupElection, cfg)
	a.group.history.Restore(past)
	for _, name := range slices.Sorted(maps.Keys(cfg.elections)) {
		a.enlist(name, cfg.elections[name])
	}
	for _, note := range state.notes() {
		a.log.Warn(note)
	}
	if err := a.bind(); err != nil {
		a.logs.Close()
		return nil, errors.Join(err, state.close())
	}
	for _, e := range a.roll.all() {
		e.introduce(e.selfOf(a.self))
	}
	if err := a.openStore(); err != nil {
		err = errors.Join(err, a.gossip.Close(), state.close())
		a.logs.Close()
		return nil, err
	}
	a.beat(cfg.now().Boot)
	return a, nil
}

// bind takes the port and finds out who this member is: its name and address
// may depend on both.
func (a *Agent) bind() error {
	incarnation := randomUint64()
	c := a.cfg.gossipConfig()
	c.Incarnation, c.Log = incarnation, a.log
	if open := a.cfg.seams.open; open != nil {
		t, err := open()
		if err != nil {
			return err
		}
		c.Transport = t
	}
	g, err := gossip.New(c)
	if err != nil {
		if a.cfg.seams.open != nil {
			err = errors.Join(err, c.Transport.Shutdown())
		}
		if c.KeyFile != "" && gossip.CheckKeyFile(c.KeyFile) != nil {
			return asUnusable(err)
		}
		return err
	}
	a.gossip, a.addr = g, g.Addr()
	a.self = seniority.Member{
		Name: g.Name(), Addr: g.AddrPort(), Incarnation: incarnation,
		Start: a.cfg.now().Wall * int64(time.Millisecond),
		ID:    a.cfg.ID, Role: a.cfg.role, Eligible: true,
	}
	a.self.Voter, err = voters.Own(a.cfg.Voters, g.Name(), g.Addr(), g.AddrPort(), a.cfg.resolver)
	if err == nil && a.self.Voter != "" && a.cfg.role == seniority.Observer {
		err = fmt.Errorf("voters contain this node as %s, but with role observer it has no vote", a.self.Voter)
	}
	if err == nil {
		err = a.checkClaim()
	}
	err = asUnusable(err)
	if a.leases = a.cfg.seams.leases.again(); a.leases == nil && a.self.Voter != "" {
		a.leases = openLeaseRecord(a.cfg.Cluster, a.self.Voter)
	}
	if err != nil {
		return errors.Join(err, g.Close())
	}
	return nil
}

// checkClaim refuses voters whose names no claim could carry to those who hear
// of leaders by gossip alone.
func (a *Agent) checkClaim() error {
	const most = 1<<64 - 1
	join := seniority.Join{Group: most, Number: most}
	n := len(seniority.AppendMessage(nil, &seniority.Message{
		Kind: seniority.Claim, From: a.self.Name, Voter: a.self.Voter, Voters: a.cfg.Voters,
		Incarnation: most, Term: most, Seq: most, Lease: 1<<63 - 1, Held: 1<<63 - 1, Join: join, Given: join,
	}))
	if n > gossip.MaxGossip {
		return fmt.Errorf("voters are too long together: every claim names them, and is %d bytes longer than gossip carries", n-gossip.MaxGossip)
	}
	return nil
}

// keptLease is the longest lease that the last run may have promised; 0: unknown.
// Where both places know of one, either may be older than the last run.
func (a *Agent) keptLease() time.Duration {
	kept := time.Duration(0)
	if a.state != nil {
		kept = a.state.kept.LongestLease
	}
	if a.leases != nil {
		kept = max(kept, a.leases.kept)
	}
	return kept
}

// gossipConfig is what gossip is told, but for this run's own.
func (s *settings) gossipConfig() gossip.Config {
	var floating []netip.Addr
	for _, a := range s.allFloating() {
		if !floatingip.IsOwn(a) { // a misconfiguration, which others are to see
			floating = append(floating, a.IP())
		}
	}
	return gossip.Config{
		Floating: floating,
		Name:     s.Name, BindAddr: s.BindAddr, BindPort: s.port, Advertise: s.AdvertiseAddr,
		Seeds: s.Seeds, Cluster: s.Cluster, KeyFile: s.EncryptKeyFile, ProbeInterval: s.ProbeInterval,
		Transport: s.seams.transport, Resolver: s.resolver,
	}
}

// Name returns the member's name.
func (a *Agent) Name() string { return a.self.Name }

// Addr returns the host:port that the other members reach this one at.
func (a *Agent) Addr() string { return a.gossip.Addr() }

// HTTP returns a listener for the HTTP connections that arrive on the gossip
// port. It is closed when Run returns.
func (a *Agent) HTTP() net.Listener { return a.gossip.HTTP() }

// apiAddr is where programs on this host reach the API: over loopback, where changes need
// no token, if it is bound to all addresses. It is Addr where HTTP is off, or at a port
// that is not known here.
func (a *Agent) apiAddr() string {
	at := a.gossip.Bound()
	if a.cfg.HTTP != "" {
		host, port, err := net.SplitHostPort(a.cfg.HTTP)
		if err != nil || port == "0" {
			return a.Addr()
		}
		if at, err = netip.ParseAddrPort(net.JoinHostPort(cmp.Or(host, "0.0.0.0"), port)); err != nil {
			return a.cfg.HTTP // a name
		}
	}
	switch {
	case !at.Addr().IsUnspecified():
		return at.String()
	case at.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
	default:
		return netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()).String()
	}
}

// Leaving is closed when this member begins to leave, for any reason.
func (a *Agent) Leaving() <-chan struct{} { return a.leaving }

// Rekey reads the gossip keyring again.
func (a *Agent) Rekey() error { return a.gossip.Rekey() }

// Run joins the group and takes part in it until ctx ends or Leave is called;
// it then hands over, runs the hook's release, leaves, and returns nil. It may
// be called once. When it returns, nothing of the agent runs any more.
func (a *Agent) Run(ctx context.Context) (err error) {
	if a.ran.Swap(true) {
		return errors.New("an agent can run only once")
	}
	defer func() {
		close(a.done)
		for _, e := range a.roll.all() {
			e.close()
		}
		err = errors.Join(err, a.store.close(), a.gossip.Close(), a.state.close())
		a.logs.Close()
	}()
	if ctx.Err() != nil {
		return nil
	}
	l, err := a.newLoop()
	if err != nil {
		return err
	}
	if a.cfg.needsRealtime() {
		if err := realtime.LockMemory(); err != nil {
			a.log.Warn("memory may be paged out, which can cost a leader its lease", "lease", a.cfg.timing.Lease, "error", err)
		}
	}
	defer l.alarm.Close()
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		err = errors.Join(err, l.executor.Close(closing))
	}()
	defer func() {
		for _, e := range l.elections {
			e.close()
		}
		l.watchers.Wait()
	}()
	l.logStart()
	if !l.startup(ctx) {
		return nil
	}
	if err := l.join(); err != nil {
		return err
	}
	saved := a.saveNowAndThen(ctx)
	l.run(ctx)
	leaving, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := a.gossip.Leave(leaving); err != nil {
		a.log.Warn("the others may take a moment to notice that this member has left", "error", err)
	}
	a.log.Info("this member has left the group")
	return saved()
}

// logStart logs what this member is and what it was told.
func (l *loop) logStart() {
	c := l.agent.cfg
	attrs := []any{
		"version", Version, "name", l.agent.self.Name, "address", l.agent.addr, "cluster", c.Cluster,
		"mode", c.mode(), "rule", c.rule.Name(), "role", c.role.String(),
		"profile", c.Profile, "lease", c.timing.Lease, "seeds", words.OrNone(c.Seeds),
	}
	if c.quorum() {
		attrs = append(attrs, "voters", words.OrNone(c.Voters))
	}
	hook := c.Hook
	if hook == "" {
		hook = "none"
	}
	attrs = append(attrs, "hook", hook, "floating_ips", words.OrNone(c.FloatingIPs), "keeper", c.Keeper)
	if len(c.Run) > 0 {
		attrs = append(attrs, "run", strings.Join(c.Run, " "))
	}
	l.agent.log.Info("this member starts", attrs...)
}

// beat tells Live and the readers of the leadership when the loop turns next.
func (a *Agent) beat(due time.Duration) { a.due.Store(int64(due)) }

// randomUint64 returns a random number other than zero.
func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// newLoop starts the keeper and makes the loop around it.
func (a *Agent) newLoop() (*loop, error) {
	start := startKeeper
	if a.cfg.seams.keeper != nil {
		start = a.cfg.seams.keeper
	}
	h, err := start(a)
	if err != nil {
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	l := &loop{
		agent: a, cfg: a.cfg, executor: h, alarm: a.cfg.alarm(), news: make(chan news),
		byName: map[string]*election{}, watchdog: newHostWatchdog(a.cfg),
		details:  placing.NewDetails(func(name string) bool { return CheckElectionName(name) == nil }),
		findings: ownfindings.List{Log: a.log, Quiet: inMaintenance},
	}
	for _, name := range append([]string{GroupElection}, slices.Sorted(maps.Keys(a.cfg.elections))...) {
		cfg := a.cfg
		if name != GroupElection {
			cfg = a.cfg.elections[name]
		}
		if _, err := l.add(name, cfg, true); err != nil {
			return l, err
		}
	}
	if l.watchdog.judge() {
		l.watchdogChanged()
	}
	return l, nil
}

// saveNowAndThen keeps in the state directory, if there is one, what may be
// stored a little late, whenever it has changed. The function it returns does so
// for the last time.
func (a *Agent) saveNowAndThen(ctx context.Context) (last func() error) {
	if a.state == nil {
		return func() error { return nil }
	}
	ctx, stop := context.WithCancel(ctx)
	var saver sync.WaitGroup
	saver.Go(func() {
		for {
			a.state.probe()
			select {
			case <-ctx.Done():
				return
			case <-time.After(saveInterval):
			}
			if err := a.saveChanged(); err != nil {
				a.log.Warn("cannot store the history, or the time to stand aside", "error", err)
			}
		}
	})
	return func() error {
		stop()
		saver.Wait()
		return a.saveChanged()
	}
}

func (a *Agent) saveChanged() error {
	err := a.saveMaintenance()
	if a.group.history.TakeChanged() {
		err = errors.Join(err, a.state.keepHistory(a.group.history.List()))
	}
	changed, all := false, map[string][]Leadership{}
	for _, e := range a.roll.all() {
		if e != a.group {
			changed = e.history.TakeChanged() || changed
			l := e.history.List()
			all[e.name] = l[max(len(l)-historiesSize, 0):]
		}
	}
	if changed {
		err = errors.Join(err, a.state.keepHistories(all))
	}
	return err
}
