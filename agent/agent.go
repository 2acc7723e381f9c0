package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"doyen/agent/floatingip"
	"doyen/gossip"
	"doyen/seniority"
)

// leaveTimeout limits how long the others are told that this member leaves,
// and how long the keeper may take to end once nothing is held any more.
const leaveTimeout = 3 * time.Second

// saveInterval is how often what may wait is stored, if it has changed.
const saveInterval = 5 * time.Second

// Agent is one member. All methods are safe for concurrent use, and answer
// from memory unless they take a context.
type Agent struct {
	cfg   *settings
	log   *slog.Logger
	logs  *logQueue
	self  seniority.Member
	addr  string
	state *stateDir

	gossip *gossip.Gossip
	snap   atomic.Pointer[snapshot]
	due    atomic.Int64 // boot time at which the loop turns again at the latest

	requests chan request
	leaving  chan struct{} // closed when this member begins to leave
	done     chan struct{} // closed when Run has returned
	ran      atomic.Bool

	events   hub
	watchers watchers
	tenures  tenures
	history  history
	tally    *tally

	// Only the loop stores these.
	maintenance atomic.Pointer[maintenance]
	health      atomic.Pointer[Health]
}

// New returns an agent that has bound its port and reads nothing from it yet.
// Its errors are sentences that name the flag. Run must be called, if only
// with a context that has ended, to give the port back.
func New(c Config) (*Agent, error) {
	cfg, err := c.validate()
	if err != nil {
		return nil, err
	}
	state, past, err := openState(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, state: state,
		requests: make(chan request), leaving: make(chan struct{}), done: make(chan struct{}),
		tenures: newTenures(), history: history{entries: past}, tally: newTally(),
	}
	a.log, a.logs = newLogQueue(cfg.Logger)
	if err := a.bind(); err != nil {
		a.logs.close()
		return nil, errors.Join(err, state.close())
	}
	a.snap.Store(a.blank())
	a.beat(cfg.now().Boot)
	return a, nil
}

// blank is what there is to see before and after Run: this member alone.
func (a *Agent) blank() *snapshot {
	var l line
	l.update(0, []seniority.Member{a.self}, &gossip.View{Members: []gossip.Peer{{Member: a.self, Advertise: a.addr}}}, a.cfg.Voters)
	return &snapshot{line: l.infos, names: l.names, missing: l.missing, astray: l.astray, findings: []Finding{}}
}

// bind takes the port and finds out who this member is: its name and address
// may depend on both.
func (a *Agent) bind() error {
	incarnation := randomUint64()
	c := a.cfg.gossipConfig()
	c.Incarnation, c.Log = incarnation, a.log
	g, err := gossip.New(c)
	if err != nil {
		return err
	}
	a.gossip, a.addr = g, g.Addr()
	a.self = seniority.Member{
		Name: g.Name(), Addr: g.AddrPort(), Incarnation: incarnation,
		Start: a.cfg.now().Wall * int64(time.Millisecond),
		ID:    a.cfg.ID, Role: a.cfg.role, Eligible: true,
	}
	a.self.Voter, err = ownVoter(a.cfg.Voters, g.Name(), g.Addr(), g.AddrPort(), net.DefaultResolver)
	if err == nil && a.self.Voter != "" && a.cfg.role == seniority.Observer {
		err = fmt.Errorf("voters contain this node as %s, but with role observer it has no vote", a.self.Voter)
	}
	if err == nil {
		err = a.checkClaim()
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

// gossipConfig is what gossip is told, but for this run's own.
func (s *settings) gossipConfig() gossip.Config {
	return gossip.Config{
		Name: s.Name, BindAddr: s.BindAddr, BindPort: s.port, Advertise: s.AdvertiseAddr,
		Seeds: s.Seeds, Cluster: s.Cluster, KeyFile: s.EncryptKeyFile, ProbeInterval: s.ProbeInterval,
		Transport: s.seams.transport,
	}
}

// Name returns the member's name.
func (a *Agent) Name() string { return a.self.Name }

// Addr returns the host:port that the other members reach this one at.
func (a *Agent) Addr() string { return a.addr }

// HTTP returns a listener for the HTTP connections that arrive on the gossip
// port. It is closed when Run returns.
func (a *Agent) HTTP() net.Listener { return a.gossip.HTTP() }

// Leaving is closed when this member begins to leave, whoever wants it to.
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
		a.snap.Store(a.blank())
		close(a.done)
		a.tenures.end(0)
		a.events.close()
		a.watchers.close()
		err = errors.Join(err, a.gossip.Close(), a.state.close())
		a.logs.close()
	}()
	if ctx.Err() != nil {
		return nil
	}
	l, err := a.newLoop()
	if err != nil {
		return err
	}
	defer l.alarm.Close()
	defer l.links.Close()
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		err = errors.Join(err, l.hands.Close(closing))
	}()
	l.monitor = a.startHealth()
	l.sick = l.monitor != nil
	defer l.monitor.Close()
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
	return saved()
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
	l := &loop{Agent: a, hands: h, word: h.Word(), alarm: a.cfg.alarm()}
	if len(a.cfg.floating) > 0 {
		if l.links, err = floatingip.WatchLinks(a.cfg.floating); err != nil {
			return nil, fmt.Errorf("floating-ip: %w", err)
		}
	}
	l.checkHook()
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
	if a.history.takeChanged() {
		err = errors.Join(err, a.state.keepHistory(a.history.list()))
	}
	return err
}
