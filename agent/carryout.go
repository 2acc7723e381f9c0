package agent

import (
	"time"

	"doyen/seniority"
)

// carryOut does what the core says, in the order of the fields of its output:
// first the disk, then the deadline word, then the network, then everybody who
// watches. It returns false, with the rest dropped, if the core must be told
// that the leadership it reports is over already.
func (l *loop) carryOut(now seniority.Now, out *seniority.Output) bool {
	st := out.Status
	l.owe(out)
	durable := l.persist(now.Boot)
	if !l.extend(&st, durable) {
		return false
	}
	l.wake = out.Wake
	if durable && !l.late(now) {
		l.send(out.Messages)
	}
	l.publish(now, st, out.Notes)
	return true
}

// stateUnwritable is the finding about a disk that fails.
const stateUnwritable = "state-unwritable"

// owe notes what must be on disk before anything is sent, or led without being
// sent, as by a member alone. The core says it once; a disk that fails is tried
// again at every step.
func (l *loop) owe(out *seniority.Output) {
	if term := max(out.Persist, leadTerm(&out.Status)); term > l.owed.HighestTerm {
		l.owed.HighestTerm = term
		l.owed.LongestLease = max(l.owed.LongestLease, out.MaxLease)
	}
}

// persist stores what is owed. While it fails this member is mute: to claim or
// confirm a term that a restart would not remember could make two leaders.
func (l *loop) persist(now time.Duration) bool {
	err := l.state.keepTerm(l.owed.HighestTerm, l.owed.LongestLease)
	if err == nil {
		l.findings.clear(stateUnwritable, l.self.Name)
		return true
	}
	if l.findings.get(stateUnwritable, l.self.Name) == "" {
		l.log.Error("cannot store the highest term, so this member takes no part in elections", "error", err)
	}
	l.findings.set(now, 0, Finding{
		What: stateUnwritable, Member: l.self.Name, Evidence: err.Error(), Degrades: true,
		Advice: "Make room on the disk of --state-dir and make it writable; until then this member takes no part in elections.",
	})
	return false
}

// extend brings the deadline word in line with the status: a leadership counts
// only from the instant the word carries it. False: the keeper has fired, or
// the term is not on disk.
func (l *loop) extend(st *seniority.Status, durable bool) bool {
	if !st.Leading {
		l.word.Disarm()
		return true
	}
	if durable && l.word.Extend(st.Term, st.Deadline) {
		return true
	}
	l.word.Disarm()
	return false
}

// late reports whether so much time has passed since the core decided that its
// messages are no longer true; the core is about to be told the time.
func (l *loop) late(now seniority.Now) bool {
	if l.cfg.now().Boot-now.Boot < l.cfg.timing.Lease {
		return false
	}
	l.wake = now.Boot
	l.tally.add(func(c *Counters) { c.Dropped[seniority.Asleep.String()]++ })
	return true
}

// send hands the messages to gossip.
func (l *loop) send(messages []seniority.Message) {
	for i := range messages {
		l.count("sent", messages[i].Kind)
		l.gossip.Send(&messages[i])
	}
}

// publish lets everybody see the new state; nobody who looks can slow it down.
func (l *loop) publish(now seniority.Now, st seniority.Status, notes []seniority.Note) {
	l.beat(now.Boot)
	l.last = st
	l.told.follow(now, &st, notes)
	moves := l.line.update(now.Boot, l.core.Order(), &l.view, l.cfg.Voters)
	l.tellMaintenance(now, &st)
	l.tellHealth(now, &st)
	l.refreshFindings(now.Boot)
	s := l.snapshot(&st)
	l.snap.Store(s)
	l.tenures.end(leadTerm(&st))
	l.record(now, notes)
	for _, m := range moves {
		l.emit("member", m)
	}
	l.watchers.publish(l.Status())
	l.introduce(&st)
	l.greet()
	l.instruct(&st, notes, len(moves) > 0)
	l.answerWaiting(&st)
}

// snapshot freezes what the loop knows.
func (l *loop) snapshot(st *seniority.Status) *snapshot {
	s := &snapshot{
		status: *st, word: l.word, keeperPID: l.hands.PID(),
		line: l.line.infos, names: l.line.names, missing: l.line.missing, astray: l.line.astray, settled: l.view.Settled,
		heard: l.told.heardAt(st.Leader), patience: l.told.patience, hook: l.hook,
		findings: l.findings.published, hookFails: l.findings.get(hookFailed, l.self.Name),
	}
	if st.Leader != "" {
		s.leader = Leader{
			Leader: st.Leader, Addr: l.line.addr(st.Leader), Term: st.Term,
			Since: l.told.since, Self: st.Leader == l.self.Name,
		}
	}
	return s
}

// introduce gives gossip what ranks this member.
func (l *loop) introduce(st *seniority.Status) {
	m := l.self
	m.Join, m.Eligible = st.Join, st.Eligible
	if m != l.introduced {
		l.introduced = m
		l.gossip.SetSelf(m)
	}
}

// greet gives gossip what newcomers should know of the leadership.
func (l *loop) greet() {
	m, ok := l.core.Greeting()
	if !ok {
		m = seniority.Message{}
	}
	if m.From == l.greeted.From && m.Term == l.greeted.Term && m.Seq == l.greeted.Seq {
		return
	}
	l.greeted = m
	if !ok {
		l.gossip.SetGreeting(nil)
		return
	}
	l.gossip.SetGreeting(seniority.AppendMessage(nil, &m))
}

// leadTerm is the term this member leads, or 0.
func leadTerm(st *seniority.Status) uint64 {
	if st.Leading {
		return st.Term
	}
	return 0
}
