package agent

import (
	"net/netip"
	"slices"
	"time"

	"doyen/agent/voters"
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

// members is the line of succession as others are shown it. It is worked out anew
// whenever the order or the view has changed, and shared by every snapshot
// until then.
type members struct {
	stale bool // the view has changed
	order []seniority.Member
	infos []MemberInfo
	names []string
	// missing are the voters that no member is; astray the members that go by
	// another list of voters.
	missing, astray []string
	// lost are members that have vanished, the newest last; ends are the runs
	// whose end is known, by name.
	lost []lostMember
	ends map[string]gossip.Gone
}

type lostMember struct {
	MemberInfo
	addr        netip.AddrPort
	incarnation uint64
	since       time.Duration // boot time
}

// update brings the line up to date and returns what has changed in it.
func (l *members) update(now time.Duration, order []seniority.Member, view *gossip.View, list []string) []MemberEvent {
	if len(l.lost) > 0 && now >= l.lost[0].since+lostKept {
		l.stale = true
	}
	if !l.stale && slices.Equal(order, l.order) {
		return nil
	}
	l.stale = false
	l.lose(now, order)
	l.order = append(l.order[:0], order...)
	l.missing, l.astray = voters.Missing(list, order), nil
	addrs, unfit := make(map[string]string, len(view.Members)), make(map[string]string)
	own := voters.Digest(list)
	for _, p := range view.Members {
		addrs[p.Name] = p.Advertise
		if p.Unfit != "" {
			unfit[p.Name] = p.Unfit
		}
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
			StartTime: seconds(m.Start), Alive: true, Eligible: m.Eligible, Voter: m.Voter, Unfit: unfit[m.Name],
		})
	}
	for i, m := range l.lost {
		m.Rank, m.Died = len(order)+i+1, l.hasDied(m.Name)
		l.infos = append(l.infos, m.MemberInfo)
	}
	return moves(old, l.infos)
}

// lose moves the members that have vanished from the order to those lost, and
// forgets the lost ones that are back or have been gone for long.
func (l *members) lose(now time.Duration, order []seniority.Member) {
	there := make(map[string]bool, len(order))
	taken := make([]netip.AddrPort, len(order))
	for i := range order {
		there[order[i].Name] = true
		taken[i] = order[i].Addr
	}
	for _, was := range l.order {
		if there[was.Name] {
			continue
		}
		if end, known := l.ends[was.Name]; known && !end.Died && end.Incarnation == was.Incarnation {
			continue
		}
		i := slices.IndexFunc(l.infos, func(m MemberInfo) bool { return m.Name == was.Name })
		info := l.infos[i]
		info.Alive, info.Eligible, info.Unfit = false, false, ""
		l.lost = append(l.lost, lostMember{MemberInfo: info, addr: was.Addr, incarnation: was.Incarnation, since: now})
	}
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool {
		// Where another member is now, no member of that name will come back.
		return there[m.Name] || m.addr.IsValid() && slices.Contains(taken, m.addr) || now >= m.since+lostKept
	})
	l.lost = l.lost[max(len(l.lost)-lostLimit, 0):]
}

// ended takes note that a run of a member is known to have ended: as it has
// announced, so that it is not missed, or as its keeper says.
func (l *members) ended(g gossip.Gone) {
	if l.ends == nil || len(l.ends) > lostLimit {
		l.ends = map[string]gossip.Gone{}
	}
	l.ends[g.Name] = g
	l.stale = true
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool {
		return !g.Died && m.Name == g.Name && m.incarnation == g.Incarnation
	})
}

// hasDied reports whether the keeper of a member that has vanished has told of
// its death.
func (l *members) hasDied(name string) bool {
	return slices.ContainsFunc(l.lost, func(m lostMember) bool {
		return m.Name == name && l.ends[name].Died && l.ends[name].Incarnation == m.incarnation
	})
}

// hasLost reports whether a member has vanished without a good-bye.
func (l *members) hasLost(name string) bool {
	return slices.ContainsFunc(l.lost, func(m lostMember) bool { return m.Name == name })
}

// addr returns the host:port of a member, or "".
func (l *members) addr(name string) string {
	for i := range l.infos {
		if l.infos[i].Name == name {
			return l.infos[i].Addr
		}
	}
	return ""
}

// The changes of a MemberEvent, and their reasons.
const (
	joinChange    = "join"
	leaveChange   = "leave"
	updateChange  = "update"
	lostReason    = "lost"
	restartReason = "restarted"
)

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
			events = append(events, MemberEvent{Change: joinChange, Member: m})
		case !m.Alive && (was.Alive || !known):
			events = append(events, MemberEvent{Change: leaveChange, Reason: lostReason, Member: m})
		case m.Alive && was.StartTime != m.StartTime:
			events = append(events, MemberEvent{Change: updateChange, Reason: restartReason, Member: m})
		case was != m:
			events = append(events, MemberEvent{Change: updateChange, Member: m})
		}
	}
	for _, m := range old {
		if _, vanished := before[m.Name]; vanished && m.Alive {
			m.Alive = false
			events = append(events, MemberEvent{Change: leaveChange, Member: m})
		}
	}
	return events
}
