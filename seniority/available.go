package seniority

import (
	"slices"
	"time"
)

// watchers is how many members, the first in the line of succession, get a
// leader's renewals; a fixed number, so that a leader's cost does not grow.
const watchers = 3

// welcomes bounds how many members that lack a number a round also goes to, and
// how many more are asked when no watcher answers.
const welcomes = 32

// available is the electorate of available mode: the live voting members of
// this node's view.
type available struct {
	core    *Core
	targets []string
}

func (e *available) raised() bool { return true }
func (e *available) merges() bool { return true }

// farAhead: a member whose clock is wrong may have led alone under a term of
// any height, and its terms may not fall; so the others follow it up.
func (e *available) farAhead(_ Now, term uint64) bool  { return term > maxTerm }
func (e *available) heard(Now, *Message)               {}
func (e *available) saw()                              {}
func (e *available) seats(*Member) bool                { return true }
func (e *available) seat() uint64                      { return placeOf(e.core.self.Name) }
func (e *available) ballot(m *Message) string          { return m.From }
func (e *available) counts(*Message) Reason            { return None }
func (e *available) blocks(*Message) bool              { return true }
func (e *available) releaseBy() time.Duration          { return 0 }
func (e *available) reached() bool                     { return true }
func (e *available) probes(Now) []string               { return nil }
func (e *available) hears(Now) int                     { return 0 }
func (e *available) reaches(Now, *Member) (bool, bool) { return true, true }
func (e *available) confirmedBy(name string) time.Duration {
	return e.core.claim.ballots[name].confirmed
}

func (e *available) belongs(m *Message) Reason {
	if len(m.Voters) > 0 {
		return WrongElectorate
	}
	return None
}

func (e *available) admits(_ Now, m *Message) Reason {
	if e.core.self.Role == Observer {
		return NotAVoter
	}
	return e.belongs(m)
}

// leastApart is the least time for which a node that was cut off looks for the
// others before it claims. They answer within a second once packets pass; a
// switch may let none pass for some seconds after the link is up.
const leastApart = 10 * time.Second

// ready: a node that was cut off and has not found the others again waits as one
// that has just started and is alone. A node that is alone waits as configured; a group that has never had
// a leader waits for its seeds, so that the member that started first is there.
func (e *available) ready(now Now) (time.Duration, bool) {
	if e.core.view.apart {
		return e.core.view.apartAt + max(e.core.cfg.LoneWait, leastApart), e.core.cfg.LoneWait >= 0
	}
	if e.core.alone() {
		if e.core.metAt == 0 && e.core.cfg.LoneWait < 0 {
			return 0, false
		}
		if e.core.metAt == 0 {
			return e.core.started + e.core.cfg.LoneWait, true
		}
		return 0, true
	}
	if e.core.everLed || e.core.skipSettle {
		return 0, true
	}
	settle := e.core.metAt + e.core.timing.Settle
	if e.core.view.settled {
		settle = min(settle, max(e.core.view.settledAt, e.core.metAt))
	}
	return settle, true
}

// successors is how many candidates, the first in the line of succession, get a
// leader's renewals besides the watchers: it hands over only to one that answers.
const successors = 2

// ask: an election goes to every voting member, one taken for dead included: if
// it lives it will say so. A leadership is renewed with the first few, and a
// hand-over with the successor too: it goes only to a member that answers.
func (e *available) ask(stand Stand) []string {
	e.targets = e.targets[:0]
	watch, welcome, nextInLine := 0, 0, 0
	if e.core.silence > e.core.timing.Lease {
		watch = -welcomes // perhaps the watchers are dead, and others hear
	}
	for i := range e.core.view.members {
		m := &e.core.view.members[i]
		next := m.Name != e.core.self.Name && nextInLine < successors && e.core.contends(m)
		if next {
			nextInLine++
		}
		switch {
		case m.Name == e.core.self.Name:
		case stand == Asking:
			if m.Votes() {
				e.targets = append(e.targets, m.Name)
			}
		case m.Votes() && e.core.isSuspect(m):
			e.targets = append(e.targets, m.Name) // only an answer absolves it
		case m.Votes() && watch < watchers:
			watch++
			e.targets = append(e.targets, m.Name)
		case stand == Leading && e.core.claim.watched[m.Name] != 0:
			e.targets = append(e.targets, m.Name) // it expects renewals until it has heard that none follow
		case next, stand == Leaving && m.Name == e.core.claim.successor, m.Name == e.core.claim.courted:
			e.targets = append(e.targets, m.Name)
		case stand == Leading && welcome < welcomes && e.core.numbers.pending(m).Number != 0:
			welcome++
			e.targets = append(e.targets, m.Name)
		}
	}
	return e.targets
}

func (e *available) watches(name string) bool {
	switch m := e.core.view.member(name); {
	case m == nil || !m.Votes():
		return false
	case e.core.isSuspect(m):
		return true
	}
	n := 0
	for i := range e.core.view.members {
		m := &e.core.view.members[i]
		switch {
		case m.Name == name:
			return true
		case m.Name == e.core.self.Name || !m.Votes() || e.core.isSuspect(m):
		case n == watchers-1:
			return false
		default:
			n++
		}
	}
	return false
}

// elects: all must confirm, except that the leader taken for dead is not
// counted; one silent past the confirm time-out does not block once a majority
// has answered; after three time-outs no silent member blocks, unless this node
// has led in vain before (vain.go).
func (e *available) elects(now Now, timeout bool) bool {
	if !timeout && len(e.core.claim.ballots) < e.core.view.voting-1 {
		return false // counting after each answer would cost a crowd its square
	}
	granted, total := e.votes()
	if now.Boot < e.core.vain.till {
		steady := e.core.steady()
		return granted == total && total > 1 || timeout && steady > 1 && (2*steady > total || e.core.claim.asks >= maxAsks)
	}
	return granted == total || timeout && (2*granted > total || e.core.claim.asks >= maxAsks)
}

func (e *available) votes() (granted, total int) {
	for i := range e.core.view.members {
		m := &e.core.view.members[i]
		if !m.Votes() || m.Name == e.core.lapsed && e.core.isSuspect(m) || e.core.claim.ballots[m.Name].excused {
			continue
		}
		total++
		if e.core.claim.ballots[m.Name].granted {
			granted++
		}
	}
	return granted, total
}

// head is the part of the lease that a leader which hangs stops before the
// others elect, so that a release of ordinary length has ended by then.
const head = 10

// lease: the silence of others does not depose a leader; what carries it is that it
// runs, and renews.
func (e *available) lease(Now) (deadline, end time.Duration) {
	end = e.core.claim.round + e.core.timing.Lease
	return end - e.core.timing.Lease/head, end
}

func (e *available) unreached(now Now) bool {
	targets := e.ask(Leading)
	if len(targets) < len(e.core.view.members)-1 {
		return true
	}
	return slices.ContainsFunc(targets, func(name string) bool {
		return now.Boot-e.confirmedBy(name) > e.core.timing.Lease
	})
}
