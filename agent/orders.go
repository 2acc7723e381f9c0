package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"doyen/agent/keeper"
	"doyen/seniority"
)

const (
	// acquireLimit is after how many failed runs of acquire a leader hands over.
	acquireLimit = 3
	// acquireAside is for how long it then leaves the lead to others.
	acquireAside = time.Minute
)

// instruct tells the keeper what is wanted now. It is the whole of it each
// time, so that an instruction that is overtaken does not matter. moved says
// that the members have changed, and with them who should get the will.
func (e *election) instruct(st *seniority.Status, notes []seniority.Note, moved bool) {
	o := keeper.Order{
		Election: e.pub.name, Lead: st.Leading && (e.member.agent.store.noted(e.pub.name, st.Term) || e.order.Lead), Term: st.Term,
		ReleaseTerm: st.Releasing, ReleaseBy: st.ReleaseBy,
		Leader: st.Leader, LeaderAddr: e.members.AddrOf(st.Leader), Previous: st.Previous, Leadership: e.track.Leadership(),
		Reason: changeReason(st), CheckNow: e.order.CheckNow, Announce: e.order.Announce, ReleaseUntil: e.releaseUntil(st),
	}
	for _, n := range notes {
		met, stays := n.Kind == seniority.OtherLeader, n.Kind == seniority.OtherYielded
		if met || stays {
			o.CheckNow++
		}
		// Of two that meet, one that is likely to yield must not take the other's clients over
		// in the moment before.
		if met && !st.Doubtful || stays {
			o.Announce++
		}
	}
	if st.Leading && !e.pub.functions.Outside(st.Term) {
		if o.Will = e.order.Will; o.Will == nil || e.order.Term != st.Term {
			o.Will = e.will(st)
		}
	}
	if !e.member.departing { // then no member needs to be told of the end of this process
		o.Death = e.member.deathWill
	}
	if o.WillTargets = e.order.WillTargets; moved || o.WillTargets == nil {
		o.WillTargets = e.member.willTargets()
	}
	if !sameOrder(&o, &e.order) {
		e.order = o
		e.member.executor.Order(o)
	}
}

// will is the leader's last message, for the keeper to deliver if this process
// dies.
func (e *election) will(st *seniority.Status) []byte {
	return e.member.agent.gossip.Will(e.pub.label(), &seniority.Message{
		Kind: seniority.Release, From: e.self.Name, Incarnation: e.self.Incarnation,
		Term: st.Term, Reason: seniority.LeaderDied, Will: st.Will,
	})
}

// willTargets are the members that the keeper tells.
func (l *loop) willTargets() []string {
	targets := []string{}
	for _, a := range l.agent.gossip.WillTargets() {
		targets = append(targets, a.String())
	}
	return targets
}

// sameOrder reports whether two orders ask for the same.
func sameOrder(a, b *keeper.Order) bool {
	return a.Lead == b.Lead && a.Term == b.Term && a.ReleaseTerm == b.ReleaseTerm && a.ReleaseBy == b.ReleaseBy &&
		a.ReleaseUntil == b.ReleaseUntil &&
		a.Leader == b.Leader && a.Leadership == b.Leadership && a.LeaderAddr == b.LeaderAddr && a.Previous == b.Previous && a.Reason == b.Reason &&
		a.CheckNow == b.CheckNow && a.Announce == b.Announce && slices.Equal(a.Will, b.Will) && slices.Equal(a.Death, b.Death) && slices.Equal(a.WillTargets, b.WillTargets)
}

// report takes in what the keeper says.
func (l *loop) report(r *keeper.Report) {
	now := l.agent.cfg.now().Boot
	if l.watchdog.note(r.Watchdog, l.agent.log) {
		l.watchdogChanged()
	}
	if r.KeeperDied {
		f := Finding{
			What: "keeper-died", Member: l.agent.self.Name,
			Evidence: "the keeper of this member ended and was started again: " + r.Err,
			Advice:   "See the log for why; a keeper must not be killed.",
		}
		if strings.Contains(r.Err, keeper.Unresponsive) { // by this process
			f.Advice = "The keeper was stopped, or its host had no CPU for it: give the host more."
		}
		l.findings.Set(now, findingsKept, f)
		for _, e := range l.elections {
			e.runs.keeperDied()
			e.fitness.keeperless = true
			e.fire()
			e.judgeFitness()
		}
		return
	}
	if e := l.electionOf(r); e != nil {
		e.report(now, r)
	}
}

// electionOf returns the election that a report is of; nil: it is here no longer.
func (l *loop) electionOf(r *keeper.Report) *election {
	return l.byName[cmp.Or(r.Election, GroupElection)]
}

// keeperRefused is the finding about an election that the keeper cannot act for.
const keeperRefused = "keeper-refused"

// noteRefused takes in that the keeper cannot act for the election, or can again.
func (e *election) noteRefused(now time.Duration, r *keeper.Report) {
	switch {
	case r.Refused != "":
		e.fitness.keeperless = true
		e.findings.Set(0, 0, Finding{
			What: keeperRefused, Member: e.self.Name, Degrades: true,
			Evidence: "the keeper cannot act for the election " + e.pub.name + ": " + r.Refused,
			Advice:   "Mend that and have the agent read its configuration again.",
		})
	case r.StartupDone:
		if e.fitness.keeperless {
			e.runs.keeperReplaced(now, r.Released)
		}
		e.fitness.keeperless = false
		e.findings.Clear(keeperRefused, e.self.Name)
	}
}

// report takes in what the keeper says of the election.
func (e *election) report(now time.Duration, r *keeper.Report) {
	e.runs.noteHook(now, r)
	e.runs.noteCommand(now, r)
	e.runs.noteAddress(now, r.Address)
	e.noteRefused(now, r)
	switch {
	case r.Address != nil:
		e.step(seniority.Input{Kind: seniority.Tick}) // publishes it
	case r.Refused != "":
		e.fire()
		e.judgeFitness()
	case r.StartupDone:
		if r.Released != 0 {
			e.endRelease(r.Released)
		}
		e.judgeFitness()
	case r.Fired != 0:
		e.findKeeperLate(now, r.Fired, r.Late)
		e.step(seniority.Input{Kind: seniority.Fired, Term: r.Fired, Reason: e.firedReason(now)})
	case r.Released != 0:
		e.endRelease(r.Released)
	case r.Command != nil && r.Command.Failures >= commandLimit && e.last.Leading && r.Term == e.last.Term:
		e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.CommandFailed, Aside: acquireAside})
	case r.Command != nil:
		e.step(seniority.Input{Kind: seniority.Tick}) // publishes it
	case r.AcquireFailures >= acquireLimit && e.last.Leading && r.Term == e.last.Term:
		e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.HookFailed, Aside: acquireAside})
	}
}

// fire ends the leadership or the hand-over there is.
func (e *election) fire() {
	term := e.last.Releasing
	if e.last.Leading {
		term = e.last.Term
	}
	if term != 0 {
		e.step(seniority.Input{Kind: seniority.Fired, Term: term, Reason: seniority.KeeperFired})
	}
}

// releaseUntil is the limit of the release of a planned hand-over, 0 without one:
// HookTimeout from its beginning, for the hook and for the functions given to Lead.
func (e *election) releaseUntil(st *seniority.Status) time.Duration {
	if st.Phase != seniority.Yielding {
		e.yielded = yielded{}
		return 0
	}
	if e.yielded.term != st.Releasing {
		e.yielded = yielded{term: st.Releasing, until: e.cfg.now().Boot + e.cfg.HookTimeout}
	}
	return e.yielded.until
}

// yielded is the release of a planned hand-over under way.
type yielded struct {
	term  uint64
	until time.Duration // boot time of its limit
}

// endRelease lets the hand-over go on, once the functions given to Lead have
// returned too: they are as much part of the leadership as the hook.
func (e *election) endRelease(term uint64) {
	if e.pub.functions.Busy(term) {
		e.released = term
		now := e.cfg.now().Boot
		e.releaseBy = cmp.Or(e.releaseUntil(&e.last), e.last.ReleaseBy, now+e.cfg.HookTimeout)
		e.overdueAt = max(e.releaseBy, now+returnTime)
		return
	}
	e.step(seniority.Input{Kind: seniority.Released, Term: term})
}

// returnTime is what a function given to Lead may take at least before it is called late.
// After a pause of this process its limit is over before it has been told to return.
const returnTime = time.Second

// functionsReturned goes on with a release that waited for functions given to Lead:
// because one has returned, or because they have had their time.
func (e *election) functionsReturned(late bool) {
	term := e.released
	if term == 0 || e.pub.functions.Busy(term) && !late {
		return
	}
	if late {
		e.overdue = term
		e.judgeOverdue()
	}
	e.released, e.releaseBy = 0, 0
	e.step(seniority.Input{Kind: seniority.Released, Term: term})
}

// functionLate is the finding about a function given to Lead that goes on for too long.
const functionLate = "lead-function-late"

// judgeOverdue keeps the finding up to date about functions given to Lead that had not
// returned when their leadership was released.
func (e *election) judgeOverdue() {
	term := e.overdue
	if term == 0 {
		return
	}
	inside, outside := e.pub.functions.Late(term)
	switch {
	case !inside && !outside:
		e.findings.Clear(functionLate, e.self.Name)
		e.overdue, e.overdueAt = 0, 0
		return
	case e.overdueAt == 0 || e.cfg.now().Boot < e.overdueAt:
		return
	}
	e.overdueAt = 0
	f := Finding{
		What: functionLate, Member: e.self.Name, Degrades: true,
		Evidence: fmt.Sprintf("a function given to Lead goes on although its leadership of term %d has ended", term),
		Advice:   "Let the function return soon after its context has ended, within HookTimeout; until then two members may be at work.",
	}
	if !inside {
		f.Evidence = fmt.Sprintf("agent exec has not said that its command has ended, although the leadership of term %d has", term)
		f.Advice = "See whether the command still runs on the host of agent exec, which kills it before the lease ends; until it has, two members may be at work."
	}
	e.findings.Set(e.cfg.now().Boot, 0, f)
}
