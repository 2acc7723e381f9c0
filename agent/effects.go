package agent

import (
	"cmp"
	"slices"
	"time"

	"doyen/seniority"
)

// carryOut does what the core says, in the order of the fields of its output:
// first the disk, then the deadline, then the network (where there are further elections,
// at the end of the turn), then all that watches. It returns false, with the rest dropped, if the core must be told
// that the leadership it reports is over already.
func (e *election) carryOut(now seniority.Now, out *seniority.Output) bool {
	st := out.Status
	e.owe(out)
	durable := e.persist(now.Boot)
	if !e.extend(&st, durable) {
		return false
	}
	e.wake = out.Wake
	if durable && !e.late(now) {
		e.send(now, out.Messages)
	}
	e.publish(now, st, out.Notes)
	return true
}

// stateUnwritable is the finding about a disk that fails.
const stateUnwritable = "state-unwritable"

// owe notes what must be on disk before anything is sent, or led without being
// sent, as by a member alone. The core says it once; a disk that fails is tried
// again at every step.
func (e *election) owe(out *seniority.Output) {
	term := max(out.Persist, leadTerm(&out.Status))
	if term <= e.owed.promise.term {
		return
	}
	e.owed.promise = promise{term: term}
	if term == out.Persist {
		e.owed.promise.holder = out.PersistOf
	}
	e.owed.lease = max(e.owed.lease, out.MaxLease)
}

// persist stores what is owed. While it fails this member is mute: to claim or
// confirm a term that a restart would not remember could make two leaders.
func (e *election) persist(now time.Duration) bool {
	a := e.member.agent
	err := e.member.timed(func() error {
		return a.state.keepTerm(e.pub.name, e.owed.promise, e.owed.lease)
	})
	if err == nil {
		err = a.leases.keep(e.owed.lease)
	}
	e.unstored = err
	e.member.findUnwritable(now)
	return err == nil
}

// persistAll stores what these elections owe at once. One that fails is tried again
// when its election's output is carried out.
func (l *loop) persistAll(elections []*election) {
	s := l.agent.state
	if s == nil || len(elections) < 2 {
		return
	}
	terms, lease := map[string]promise{}, time.Duration(0)
	for _, e := range elections {
		terms[e.pub.name] = e.owed.promise
		lease = max(lease, e.owed.lease)
	}
	_ = l.timed(func() error { return s.keepTerms(terms, lease) }) // persist tells of an error
}

// timed stores terms, and logs it if that took so long that a claimant asks again.
func (l *loop) timed(store func() error) error {
	if l.agent.state == nil {
		return store()
	}
	began := l.agent.cfg.now().Boot
	err := store()
	if took := l.agent.cfg.now().Boot - began; took > l.agent.cfg.timing.Confirm {
		l.agent.log.Warn("storing a term took long, and the election waited for it: a slow disk, or a host that stood still", "took", took.Round(time.Millisecond))
	}
	return err
}

// noteProbe takes in whether a term could be stored now. A member that could not
// store one is no candidate.
func (l *loop) noteProbe(err error) {
	l.unwritable = err
	l.findUnwritable(l.agent.cfg.now().Boot)
	for _, e := range l.elections {
		e.judgeFitness()
	}
}

// findUnwritable keeps the finding about the state directory up to date: it stays while
// the last probe failed, or what an election owes is not stored.
func (l *loop) findUnwritable(now time.Duration) {
	name, err := l.agent.self.Name, l.unwritable
	for _, e := range l.elections {
		err = cmp.Or(e.unstored, err)
	}
	if err == nil {
		l.findings.Clear(stateUnwritable, name)
		return
	}
	if l.findings.Evidence(stateUnwritable, name) == "" {
		l.agent.log.Error("cannot store a term, so this member neither leads nor confirms another", "error", err)
	}
	l.findings.Set(now, 0, Finding{
		What: stateUnwritable, Member: name, Evidence: err.Error(), Degrades: true,
		Advice: "Make room on the disk of --state-dir and make it writable; until then this member neither leads nor confirms another.",
	})
}

// extend brings the deadline in line with the status: a leadership counts
// only from the instant the deadline carries it. False: the keeper has fired, or
// the term is not on disk.
func (e *election) extend(st *seniority.Status, durable bool) bool {
	if e.deadline == nil {
		return !st.Leading // the keeper holds nothing for an election that this member only votes in
	}
	if !st.Leading {
		e.deadline.Disarm()
		return true
	}
	if durable && e.deadline.Extend(st.Term, st.Deadline) {
		e.lateness.extended(st.Deadline)
		return true
	}
	e.deadline.Disarm()
	return false
}

// late reports whether so much time has passed since the core decided that its
// messages are no longer true; the core is about to be told the time.
func (e *election) late(now seniority.Now) bool {
	if e.cfg.now().Boot-now.Boot < e.cfg.timing.Lease {
		return false
	}
	e.wake = now.Boot
	e.pub.tally.add(func(c *Counters) { c.Dropped[seniority.Asleep.String()]++ })
	return true
}

// send hands the messages to gossip: at the end of the turn, so that those to one member
// share datagrams, or at once if there is only one election.
func (e *election) send(now seniority.Now, messages []seniority.Message) {
	l := e.member
	for i := range messages {
		e.count("sent", messages[i].Kind)
		l.outbox.add(e.pub.label(), &messages[i], now.Boot)
	}
	if len(l.elections) == 1 {
		l.outbox.send(l.agent.gossip)
	}
}

// flush sends what the elections have decided in this turn, but for messages of which so
// much time has passed since that they are no longer true.
func (l *loop) flush() {
	if len(l.outbox.messages) == 0 {
		return
	}
	if late := l.outbox.drop(l.agent.cfg.now().Boot - l.agent.cfg.timing.Lease); late > 0 {
		l.agent.group.tally.add(func(c *Counters) { c.Dropped[seniority.Asleep.String()] += uint64(late) })
	}
	l.outbox.send(l.agent.gossip)
}

// awayAfter is after how long a pause the network may have been away too, as when a host
// was suspended, and the others may have lost this member: gossip takes some seconds to. A
// processor that others use keeps a member waiting for less, and the last of two must not
// wait for an answer then.
const awayAfter = 2 * time.Second

// publish shows the new state to all that look; none of them can slow it down.
func (e *election) publish(now seniority.Now, st seniority.Status, notes []seniority.Note) {
	a := e.member.agent
	a.beat(now.Boot)
	if st.Leader != "" && st.Leader == st.Previous && st.Leader == e.last.Leader {
		st.Previous = e.last.Previous // to the core, a leader that raises its term follows itself
	}
	if old := &e.last; old.Leader != st.Leader || old.Leading != st.Leading || old.Term != st.Term || old.Eligible != st.Eligible {
		e.member.replace = true
	}
	e.last, e.everLed = st, e.everLed || st.Leader != ""
	e.track.Follow(now, &st, notes)
	if slices.ContainsFunc(notes, func(n seniority.Note) bool { return n.Kind == seniority.Awoke && n.Paused >= awayAfter }) {
		a.gossip.Rejoin() // the view is as old as the pause
	}
	moves := e.members.Update(now.Boot, e.core.Order(), &e.member.view, e.cfg.Voters)
	e.tellMaintenance(now, &st)
	e.tellHealth(now, &st)
	e.tellLost(now, &st, notes)
	e.findClock(now, &st)
	e.member.refreshFindings(now.Boot)
	e.pub.snap.Store(e.snapshot(&st))
	e.pub.functions.End(leadTerm(&st))
	e.record(now, notes)
	if e == e.member.group() {
		e.lines.Moves(now.Boot, moves, &e.members, st.Leading && !e.cfg.quorum())
		for _, m := range moves {
			e.pub.emit("member", MemberEvent{Change: m.What, Reason: m.Reason, Member: memberInfo(&m.Member)})
		}
		e.member.introduce(&st)
		e.member.greet()
	}
	e.pub.watchers.Publish(e.pub.Status())
	a.store.look()
	if e.candidate {
		e.instruct(&st, notes, len(moves) > 0)
	}
	e.answerWaiting(now.Boot, &st, false)
}

// snapshot freezes what the loop knows.
func (e *election) snapshot(st *seniority.Status) *snapshot {
	s := &snapshot{
		addr:   e.member.agent.Addr(),
		status: *st, deadline: e.deadline, keeperPID: e.member.executor.PID(),
		members: e.members.Infos, names: e.members.Names, missing: e.members.Missing, astray: e.members.Astray, settled: e.member.view.Settled,
		placed: e.placedAt(), heard: e.track.HeardAt(st.Leader), patience: e.track.Patience, hook: e.runs.hook, command: e.runs.command, watchdog: e.member.watchdog.state,
		addresses: e.runs.addresses,
		findings:  e.member.findings.Published(), hookFails: e.findings.Evidence(hookFailed, e.self.Name),
		diskFails: e.member.findings.Evidence(stateUnwritable, e.self.Name),
	}
	if st.Leader != "" {
		s.leader = Leader{
			Leader: st.Leader, Addr: e.members.AddrOf(st.Leader), Term: st.Term,
			Since: e.track.Since(), Self: st.Leader == e.self.Name,
		}
	}
	return s
}

// showFindings publishes the findings that have changed since the last snapshot.
func (e *election) showFindings() {
	s := e.pub.snap.Load()
	if published := e.member.findings.Published(); len(published) != len(s.findings) || !slices.Equal(published, s.findings) {
		next := *s
		next.findings = published
		e.pub.snap.Store(&next)
	}
}

// introduce gives gossip what ranks this member in the group's own election, and
// why it may not lead.
func (l *loop) introduce(st *seniority.Status) {
	m, unfit, lacked := l.agent.self, "", l.group().fitness.lacked
	m.Join, m.Eligible = st.Join, st.Eligible
	switch {
	case m.Eligible:
	case lacked != seniority.None:
		unfit = lacked.String()
	case st.AsideUntil != 0:
		unfit = seniority.StoodAside.String()
	}
	if in := &l.introduction; m != in.self || unfit != in.unfit {
		in.self, in.unfit = m, unfit
		l.agent.gossip.SetSelf(m, unfit)
	}
}

// greet gives gossip what newcomers should know of the leadership.
func (l *loop) greet() {
	m, ok := l.group().core.Greeting()
	if !ok {
		m = seniority.Message{}
	}
	old := &l.introduction.greeting
	if m.From == old.From && m.Term == old.Term && m.Seq == old.Seq {
		return
	}
	*old = m
	if !ok {
		l.agent.gossip.SetGreeting(nil)
		return
	}
	l.agent.gossip.SetGreeting(seniority.AppendMessage(nil, &m))
}

// leadTerm is the term this member leads, or 0.
func leadTerm(st *seniority.Status) uint64 {
	if st.Leading {
		return st.Term
	}
	return 0
}
