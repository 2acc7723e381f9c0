package agent

import (
	"slices"
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

const (
	// lostKept is for how long a member that vanished without a good-bye is
	// still shown, as not alive, and asked in surveys.
	lostKept = 10 * time.Minute
	// lostLimit bounds how many of them are.
	lostLimit = 64
)

// line is the line of succession as others are shown it. It is worked out anew
// whenever the order or the view has changed, and shared by every snapshot
// until then.
type line struct {
	stale bool // the view has changed
	order []seniority.Member
	infos []MemberInfo
	names []string
	// missing are the voters that no member is; astray the members that go by
	// another list of voters.
	missing, astray []string
	// lost are members that have vanished, the newest last; byes are the runs
	// whose end was announced, by name.
	lost []lostMember
	byes map[string]uint64
}

type lostMember struct {
	MemberInfo
	incarnation uint64
	since       time.Duration // boot time
}

// update brings the line up to date and returns what has changed in it.
func (l *line) update(now time.Duration, order []seniority.Member, view *gossip.View, voters []string) []MemberEvent {
	if len(l.lost) > 0 && now >= l.lost[0].since+lostKept {
		l.stale = true
	}
	if !l.stale && slices.Equal(order, l.order) {
		return nil
	}
	l.stale = false
	l.lose(now, order)
	l.order = append(l.order[:0], order...)
	l.missing, l.astray = missingVoters(voters, order), nil
	addrs := make(map[string]string, len(view.Members))
	own := digest(voters)
	for _, p := range view.Members {
		addrs[p.Name] = p.Advertise
		if p.Voters != own {
			l.astray = append(l.astray, p.Name)
		}
	}
	old := l.infos
	l.infos = make([]MemberInfo, 0, len(order)+len(l.lost))
	l.names = make([]string, 0, len(order))
	for i, m := range order {
		addr := addrs[m.Name]
		if addr == "" {
			addr = m.Addr.String()
		}
		l.names = append(l.names, m.Name)
		l.infos = append(l.infos, MemberInfo{
			Name: m.Name, Addr: addr, ID: m.ID, Role: m.Role.String(), Rank: i + 1,
			StartTime: seconds(m.Start), Alive: true, Eligible: m.Eligible,
		})
	}
	for i, m := range l.lost {
		m.Rank = len(order) + i + 1
		l.infos = append(l.infos, m.MemberInfo)
	}
	return moves(old, l.infos)
}

// lose moves the members that have vanished from the order to those lost, and
// forgets the lost ones that are back or have been gone for long.
func (l *line) lose(now time.Duration, order []seniority.Member) {
	there := make(map[string]bool, len(order))
	for i := range order {
		there[order[i].Name] = true
	}
	for _, was := range l.order {
		if there[was.Name] {
			continue
		}
		if run, said := l.byes[was.Name]; said && run == was.Incarnation {
			delete(l.byes, was.Name)
			continue
		}
		i := slices.IndexFunc(l.infos, func(m MemberInfo) bool { return m.Name == was.Name })
		info := l.infos[i]
		info.Alive, info.Eligible = false, false
		l.lost = append(l.lost, lostMember{MemberInfo: info, incarnation: was.Incarnation, since: now})
	}
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool {
		return there[m.Name] || now >= m.since+lostKept
	})
	l.lost = l.lost[max(len(l.lost)-lostLimit, 0):]
}

// bye takes note that a run of a member has ended as announced, so that nobody
// misses it.
func (l *line) bye(name string, incarnation uint64) {
	if l.byes == nil || len(l.byes) > lostLimit {
		l.byes = map[string]uint64{}
	}
	l.byes[name] = incarnation
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool { return m.Name == name && m.incarnation == incarnation })
	l.stale = true
}

// addr returns the host:port of a member, or "".
func (l *line) addr(name string) string {
	for i := range l.infos {
		if l.infos[i].Name == name {
			return l.infos[i].Addr
		}
	}
	return ""
}

// moves compares two lines. A new rank alone is no event: one member that
// joins or leaves moves all behind it.
func moves(old, now []MemberInfo) []MemberEvent {
	before := make(map[string]MemberInfo, len(old))
	for _, m := range old {
		before[m.Name] = m
	}
	var events []MemberEvent
	for _, m := range now {
		was, known := before[m.Name]
		delete(before, m.Name)
		was.Rank = m.Rank
		switch {
		case m.Alive && !was.Alive:
			events = append(events, MemberEvent{Change: "join", Member: m})
		case !m.Alive && (was.Alive || !known):
			events = append(events, MemberEvent{Change: "leave", Member: m})
		case was != m:
			events = append(events, MemberEvent{Change: "update", Member: m})
		}
	}
	for _, m := range old {
		if _, vanished := before[m.Name]; vanished && m.Alive {
			m.Alive = false
			events = append(events, MemberEvent{Change: "leave", Member: m})
		}
	}
	return events
}
