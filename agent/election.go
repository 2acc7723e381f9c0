package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"doyen/agent/electionlog"
	"doyen/agent/floatingip"
	"doyen/agent/functions"
	"doyen/agent/health"
	"doyen/agent/history"
	"doyen/agent/keeper"
	"doyen/agent/members"
	"doyen/agent/ownfindings"
	"doyen/agent/stream"
	"doyen/gossip"
	"doyen/seniority"
)

// GroupElection is the name of the group's own election, which always exists.
const GroupElection = "group"

// Election is one election as this member takes part in it. All methods are safe
// for concurrent use, and answer from memory unless they take a context.
type Election struct {
	name  string
	agent *Agent
	self  seniority.Member
	log   *slog.Logger

	// settings are the member's, with what this election has of its own. Only the
	// loop changes them.
	settings atomic.Pointer[settings]

	snap      atomic.Pointer[snapshot]
	events    stream.Hub[Event]
	watchers  stream.Latest[Status]
	functions *functions.Set
	history   history.History
	tally     *tally

	// Only the loop stores these.
	maintenance atomic.Pointer[maintenance]
	health      atomic.Pointer[Health]
}

// Name returns the election's name.
func (e *Election) Name() string { return e.name }

// cfg are the settings as they are now.
func (e *Election) cfg() *settings { return e.settings.Load() }

// newElection returns an election that nothing has happened in.
func newElection(a *Agent, name string, cfg *settings, log *slog.Logger) *Election {
	e := &Election{name: name, agent: a, log: log, functions: functions.New(ErrLeadershipOver), tally: newTally()}
	e.settings.Store(cfg)
	return e
}

// introduce says who this member is in the election, once that is known.
func (e *Election) introduce(self seniority.Member) {
	e.self = self
	e.snap.Store(e.blank())
}

// blank is what there is to see before and after Run: this member alone.
func (e *Election) blank() *snapshot {
	var m members.Line
	m.Update(0, []seniority.Member{e.self}, &gossip.View{Members: []gossip.Peer{{Member: e.self, Advertise: e.agent.addr}}}, e.cfg().Voters)
	return &snapshot{addr: e.agent.addr, members: m.Infos, names: m.Names, missing: m.Missing, astray: m.Astray, findings: []Finding{},
		addresses: addressStates(floatingip.States(e.cfg().floating))}
}

// close ends what others hold of the election: nothing more will happen in it.
func (e *Election) close() {
	e.snap.Store(e.blank())
	e.functions.End(0)
	e.events.Close()
	e.watchers.Close()
}

// election is one election at work: its core, and what surrounds the core. Only
// the member's loop uses it.
type election struct {
	pub       *Election
	member    *loop
	cfg       *settings
	self      seniority.Member
	log       *slog.Logger
	candidate bool               // this member's settings name it; else it only votes
	retiring  bool               // they do no longer, and it is being handed over
	unwatch   context.CancelFunc // ends watch
	watched   chan struct{}      // closed when it is watched no longer
	namers    map[string]namer   // the other members whose settings name it
	unnamed   time.Duration      // since when no member's settings name it; 0: one's do

	choice   seniority.Choice // its placement
	everLed  bool             // a leader has been known
	placedBy time.Duration    // until when a new one waits to be placed

	core     *seniority.Core
	deadline *keeper.Deadline
	wake     time.Duration // when the core wants a Tick; 0: not before something happens
	last     seniority.Status
	undone   *seniority.Output // what the core has said in this batch; nil: nothing
	undoneAt seniority.Now
	lateness lateness

	members  members.Line
	track    history.Track
	lines    *electionlog.Log
	findings ownfindings.Election
	lacking  time.Duration // since when a majority of the voters is missing; 0: it is not

	runs  runs
	order keeper.Order

	waiting   []request // step-downs under way
	owed      owed      // what must be on disk before anything is sent
	unstored  error     // why that is not there
	released  uint64    // a term whose release has ended, but not every Lead function
	releaseBy time.Duration
	overdue   uint64        // a term that was released before every Lead function had returned
	overdueAt time.Duration // when that is a finding; 0: it is
	yielded   yielded       // the planned hand-over under way

	fitness fitness
	monitor *health.Monitor   // nil: no health check
	links   *floatingip.Links // nil: no floating addresses
}

// owed is what a restart must know: the highest term, and the longest lease that this run
// may have promised.
type owed struct {
	promise promise
	lease   time.Duration
}

// label is the name as findings, logs and metrics carry it: "" for the group's own.
func (e *Election) label() string {
	if e.name == GroupElection {
		return ""
	}
	return e.name
}

// newElectionLoop prepares an election to be worked on by the loop.
func newElectionLoop(l *loop, pub *Election) (*election, error) {
	e := &election{
		unwatch: func() {}, watched: make(chan struct{}), namers: map[string]namer{},
		pub: pub, member: l, cfg: pub.cfg(), self: pub.self, log: pub.log, lines: electionlog.New(pub.log, pub.self.Name),
		findings: l.findings.Of(pub.label()),
	}
	e.lines.Further, e.lines.Quorum = pub.label() != "", e.cfg.quorum()
	e.runs = newRuns(pub, e.findings)
	if len(e.cfg.floating) > 0 {
		if err := e.watchLinks(); err != nil {
			return nil, err
		}
	}
	e.checkHook()
	e.checkVoter()
	return e, nil
}

// startWatching lets the loop know of what happens to the election on this host.
func (e *election) startWatching() {
	ctx, cancel := context.WithCancel(context.Background())
	e.unwatch, e.watched = cancel, make(chan struct{})
	ended := e.watched
	e.member.watchers.Go(func() {
		defer close(ended)
		e.watch(ctx)
	})
}

// close ends what watches this host for the election.
func (e *election) close() {
	e.unwatch()
	e.monitor.Close()
	e.links.Close()
}
