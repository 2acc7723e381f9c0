package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"doyen/agent/clock"
	"doyen/agent/ownfindings"
	"doyen/agent/placing"
	"doyen/agent/voters"
	"doyen/gossip"
	"doyen/seniority"
)

// beatInterval is how often the loop turns when nothing happens, so that Live
// can tell a quiet loop from one that hangs.
const beatInterval = time.Second

// lookPause is, for each member there, how long the loop lets pass between two
// looks at the whole membership. When hundreds join at once it takes in what has
// changed twenty times a second, not once for each; of three none waits.
const lookPause = 50 * time.Microsecond

// loop is the one goroutine that owns the member: what gossip and the keeper
// say, and the cores of all its elections. What happens becomes one input of
// a core at a time, and what the core says is carried out before its next. It
// waits for nothing but the disk, and that only for terms.
type loop struct {
	agent    *Agent
	cfg      *settings // as they are now
	executor executor
	alarm    clock.Alarm

	begun     time.Duration // when the cores were made; 0: they are not yet
	beatAt    time.Duration // when all elections are ticked again
	batching  bool          // what further elections decide is carried out together
	undone    []*election   // whose cores have said what is not carried out yet
	replace   bool          // what the placement depends on has changed
	elections []*election   // the group's own first
	byName    map[string]*election
	pastTerms map[string]uint64 // the highest known of elections that are forgotten
	details   placing.Details
	detail    []byte // what this member has published
	placing   placing.Placing
	outbox    outbox
	watchers  sync.WaitGroup // what watches the elections, or ends doing so
	// news is what elections have to say that are not asked by the loop itself:
	// health, links, functions given to Lead.
	news chan news

	view gossip.View
	// lookAt is when to look at the membership again (0: not before it
	// changes), looked when that was done last.
	lookAt, looked time.Duration
	findings       ownfindings.List
	introduction   introduction
	deathWill      []byte // what the keeper tells the others if this process dies

	watchdog hostWatchdog
	// unwritable is why the last probe of the state directory failed.
	unwritable error
	departing  bool
	departBy   time.Duration
	leavers    []request
}

// introduction is what gossip was told last of this member, and of the leadership.
type introduction struct {
	self     seniority.Member
	unfit    string // why it is not eligible
	greeting seniority.Message
}

// news is one thing that an election is to take in.
type news struct {
	election *election
	take     func()
}

// group is the group's own election.
func (l *loop) group() *election { return l.elections[0] }

// add prepares an election: one that this member is a candidate of, or one that it
// only votes in. Once the member has joined it begins at once.
func (l *loop) add(name string, cfg *settings, candidate bool) (*election, error) {
	pub := l.agent.enlist(name, cfg)
	e, err := newElectionLoop(l, pub)
	if err != nil {
		l.agent.strike(pub)
		return nil, fmt.Errorf("floating-ip: %w", err)
	}
	e.candidate = candidate
	e.fitness.keeperless = candidate && l.begun != 0 // until its release at start has ended
	if candidate {
		e.deadline = l.executor.Deadline(name)
		e.monitor = e.startHealth()
		e.fitness.sick = e.monitor != nil
	}
	e.startWatching()
	l.elections, l.byName[name] = append(l.elections, e), e
	if l.begun == 0 {
		return e, nil
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	e.restoreMaintenance()
	e.look()
	return e, nil
}

// firstHealth is how long the first health check is waited for before this
// member joins, and may vote: one that takes longer, or hangs, must not keep it
// from that.
const firstHealth = 3 * time.Second

// startup waits for the startup release, so that what a crash has left behind is
// gone before this member can be elected, and for the first looks at interfaces and
// the first health checks, so that it is known whether it may be; false if ctx ended
// first.
func (l *loop) startup(ctx context.Context) bool {
	unreleased, unchecked := map[string]bool{}, 0
	for _, e := range l.elections {
		unreleased[e.pub.name] = true
		e.links.Wait()
		if e.monitor != nil {
			unchecked++
		}
	}
	patience := time.NewTimer(firstHealth)
	defer patience.Stop()
	for len(unreleased) > 0 || unchecked > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-patience.C:
			unchecked = 0
		case r := <-l.executor.Reports():
			if e := l.electionOf(&r); e != nil {
				now := l.agent.cfg.now().Boot
				e.runs.noteHook(now, &r)
				e.runs.noteAddress(now, r.Address)
				if r.StartupDone || r.Refused != "" {
					delete(unreleased, e.pub.name)
				}
				e.noteRefused(now, &r)
			}
		case n := <-l.news:
			first := n.election.pub.health.Load() == nil
			n.take()
			if first && n.election.pub.health.Load() != nil {
				unchecked--
			}
		}
	}
	return true
}

// join makes the cores, whose waits count from now, and joins the group.
func (l *loop) join() error {
	a, e := l.agent, l.group()
	l.begun = a.cfg.now().Boot
	for _, e := range l.elections {
		if err := e.begin(); err != nil {
			return err
		}
	}
	a.gossip.OnQuery(a.answer)
	l.deathWill = a.gossip.DeathWill()
	self := a.self
	self.Eligible = !e.fitness.sick
	return a.gossip.Start(self, gossip.Extra{
		HTTP: a.cfg.HTTP, Rule: a.cfg.rule.Name(), Mode: a.cfg.mode(), Voters: voters.Digest(a.cfg.Voters),
	})
}

// begin makes the core, whose waits count from now.
func (e *election) begin() error {
	var seed [32]byte
	rand.Read(seed[:])
	now, further := e.cfg.now(), e.pub.label() != ""
	kept := e.keptLease(now.Boot)
	e.placedBy = now.Boot + e.cfg.timing.Settle + placementWait
	if e.cfg.quorum() { // no doyen is elected before the voters vote
		e.placedBy += seniority.Drifted(max(e.cfg.timing.Lease, cmp.Or(kept, seniority.LongestLease())))
	}
	e.fitness.lacked = e.lacks()
	e.fitness.waiting = e.fitness.lacked == seniority.None && e.awaitsPlacement()
	self := e.self
	self.Eligible = e.fitness.lacked == seniority.None && !e.fitness.waiting
	cfg := seniority.Config{
		Self: self, Rule: e.cfg.rule, Timing: e.cfg.timing,
		Preempt: e.cfg.preempt, PreemptDelay: e.cfg.PreemptDelay, LoneWait: e.cfg.loneWait,
		Voters: e.cfg.Voters, Seed: seed, JoinsFromView: further, RenewalGrid: len(e.member.elections) > 1,
		KeptLease: kept,
	}
	stored := e.member.agent.state.highestOf(e.pub.name)
	cfg.Highest, cfg.HighestOf = stored.term, stored.holder
	if past := e.member.pastTerms[e.pub.name]; past > cfg.Highest {
		cfg.Highest, cfg.HighestOf = past, seniority.Holder{}
	}
	var err error
	e.core, err = seniority.New(cfg, now)
	return err
}

// placementWait is how long a new election waits to be placed, beyond what the
// doyen's own election may take.
const placementWait = time.Second

// keptLease is the longest lease that a former run may have promised in the
// election and that may still run; 0: unknown. One that begins long after this
// member has started need not wait for that.
func (e *election) keptLease(now time.Duration) time.Duration {
	kept := e.member.agent.keptLease()
	if now > e.member.begun+seniority.Drifted(max(kept, seniority.LongestLease())) {
		return e.cfg.timing.Lease
	}
	return kept
}

// watch lets the loop know of what happens to the election on this host. It ends
// with ctx.
func (e *election) watch(ctx context.Context) {
	for {
		n := news{election: e}
		select {
		case <-ctx.Done():
			return
		case <-e.links.Changed():
			n.take = e.linksChanged
		case r := <-e.monitor.Reports():
			n.take = func() { e.noteHealth(&r); e.judgeFitness() }
		case <-e.pub.functions.Moved():
			n.take = func() { e.functionsReturned(false); e.judgeOverdue(); e.step(seniority.Input{Kind: seniority.Tick}) }
		}
		select {
		case <-ctx.Done():
			return
		case e.member.news <- n:
		}
	}
}

// run turns the loop until this member has left the group.
func (l *loop) run(ctx context.Context) {
	ended := ctx.Done()
	a := l.agent
	for _, e := range l.elections {
		e.linksChanged()
		e.restoreMaintenance()
	}
	l.look()
	l.flush()
	for !l.gone() {
		l.arm()
		select {
		case <-ended:
			ended = nil
			l.depart()
		case <-a.gossip.Changed():
			l.lookAt = max(a.cfg.now().Boot, l.looked+time.Duration(len(l.view.Members))*lookPause)
			l.lookWhenDue()
		case m := <-a.gossip.Messages():
			l.batch(func() {
				l.receive(&m)
				l.receiveWaiting()
			})
		case g := <-a.gossip.Gone():
			l.receiveWaiting() // its last words may be among what waits
			for _, e := range l.elections {
				e.members.Ended(g)
				e.step(seniority.Input{Kind: seniority.Gone, Name: g.Name, Incarnation: g.Incarnation})
			}
		case r := <-l.executor.Reports():
			l.report(&r)
		case r := <-a.requests:
			l.serve(r)
		case <-a.store.news():
			l.storeChanged()
		case err := <-a.state.probes():
			l.noteProbe(err)
		case n := <-l.news:
			n.take()
		case <-l.alarm.C():
			l.tick()
		}
		l.endTurn()
	}
	for _, e := range l.elections {
		e.answerWaiting(a.cfg.now().Boot, &e.last, true)
	}
	for _, r := range l.leavers {
		r.reply <- outcome{result: Result{OK: true, Note: "this member has left the group"}}
	}
}

// receive feeds a message of an election.
func (l *loop) receive(m *gossip.ElectionMessage) {
	switch e := l.group(); m.Election {
	case "":
		e.receive(&m.Message)
	case GroupElection: // no member calls it so
	default:
		if e = l.know(m.Election); e != nil {
			e.receive(&m.Message)
		}
	}
}

// receiveWaiting feeds the messages that have come already, so that the answers to them
// leave together.
func (l *loop) receiveWaiting() {
	for range len(l.agent.gossip.Messages()) {
		select {
		case m := <-l.agent.gossip.Messages():
			l.receive(&m)
		default: // gossip has made room for newer ones
			return
		}
	}
}

// receive feeds one message.
func (e *election) receive(m *seniority.Message) {
	e.count("received", m.Kind)
	e.track.Hear(m, e.cfg.now())
	if m.Kind == seniority.Release && m.Will == [32]byte{} {
		e.pub.history.Explain(m.From, m.Term, m.Reason.String())
	}
	e.step(seniority.Input{Kind: seniority.Receive, Message: *m})
}

// depart begins to leave: a leader hands over first, and from now on no member
// elects this member.
func (l *loop) depart() {
	if l.departing {
		return
	}
	l.departing = true
	close(l.agent.leaving)
	l.agent.log.Info("leaving the group")
	release := time.Duration(0)
	for _, e := range l.elections {
		release = max(release, e.cfg.HookTimeout)
	}
	l.departBy = l.agent.cfg.now().Boot + release + leaveTimeout
	for _, e := range l.elections {
		e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Departed})
	}
}

// gone reports whether this member may leave now: it neither leads nor has a
// release under way, or has waited for that long enough.
func (l *loop) gone() bool {
	if !l.departing {
		return false
	}
	late := l.agent.cfg.now().Boot >= l.departBy
	for _, e := range l.elections {
		if !e.last.Leading && e.last.Releasing == 0 {
			continue
		}
		if !late {
			return false
		}
		e.log.Warn("leaving although release has not ended", "term", e.last.Releasing)
	}
	return true
}
