package agent

import (
	"slices"
	"time"

	"doyen/seniority"
)

// arm sets the alarm to what is due first.
func (l *loop) arm() {
	now := l.agent.cfg.now().Boot
	due := now + beatInterval
	soonest := func(t time.Duration) {
		if t != 0 {
			due = min(due, t)
		}
	}
	soonest(l.lookAt)
	soonest(l.departBy)
	soonest(l.beatAt)
	for _, e := range l.elections {
		soonest(e.wake)
		soonest(e.releaseBy)
		if e.overdue != 0 {
			soonest(e.overdueAt)
		}
		if e.fitness.waiting {
			soonest(e.placedBy)
		}
	}
	for _, e := range l.elections {
		e.lateness.turn(now, due)
	}
	l.agent.beat(due)
	l.alarm.Set(due)
}

// tick does what is due.
func (l *loop) tick() {
	l.lookWhenDue()
	now := l.agent.cfg.now().Boot
	beat := now >= l.beatAt
	if beat {
		l.beatAt, l.replace = now+beatInterval, true
		if l.watchdog.judge() {
			l.watchdogChanged()
		}
		l.forgetElections(now)
	}
	l.batch(func() {
		for _, e := range l.elections {
			if e.releaseBy != 0 && now >= e.releaseBy {
				e.functionsReturned(true)
			}
			e.judgeOverdue()
			if e.fitness.waiting && now >= e.placedBy {
				e.judgeFitness()
			}
			if beat || e == l.group() || e.wake != 0 && now >= e.wake {
				e.step(seniority.Input{Kind: seniority.Tick})
			}
		}
	})
}

// endTurn does what all that has happened in a turn has led to: it sends what the
// elections have to say, and places them anew, which may give them more to say.
func (l *loop) endTurn() {
	l.flush()
	l.finishRetiring()
	for range 3 { // placing may move elections, which changes where they are led
		if !l.replace {
			break
		}
		l.replace = false
		l.batch(l.place)
	}
	l.flush()
	l.refreshFindings(l.agent.cfg.now().Boot)
	l.group().showFindings()
}

// lookWhenDue looks unless it has just done so.
func (l *loop) lookWhenDue() {
	if l.lookAt != 0 && l.agent.cfg.now().Boot >= l.lookAt {
		l.look()
	}
}

// look feeds the whole membership as gossip believes it to be now.
func (l *loop) look() {
	l.lookAt, l.looked = 0, l.agent.cfg.now().Boot
	l.lookFor(slices.Clone(l.elections)...)
	l.knowElections()
}

// lookFor is look for some elections: of those that share an interface each asks for itself.
func (l *loop) lookFor(elections ...*election) {
	l.view = l.agent.gossip.View()
	l.readDetails()
	l.batch(func() {
		for _, e := range elections {
			e.look()
		}
	})
	l.replace = true
}

// look feeds the election the membership. A member that may not lead is told so
// before it looks, and one that may again looks first: it may be apart.
func (e *election) look() {
	view := &e.member.view
	var members []seniority.Member
	var rule seniority.Rule
	if e.pub.label() != "" {
		e.learnRule()
		members, rule = e.membersOf(view), e.cfg.rule
	} else {
		members = make([]seniority.Member, len(view.Members))
		for i, p := range view.Members {
			members[i] = p.Member
		}
	}
	e.members.LookAnew()
	e.judgeAddress()
	e.judgeMode()
	e.findOwners()
	if e.lacks() != seniority.None {
		e.judgeFitness()
	}
	e.step(seniority.Input{Kind: seniority.View, Members: members, Settled: view.Settled, Apart: view.Apart, Rule: rule})
	e.judgeFitness()
}
