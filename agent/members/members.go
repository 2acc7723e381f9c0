package members

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
	// endsLimit bounds the members of which the end of a run is known. It is as many as
	// gossip remembers, for all of a large group may leave at once.
	endsLimit = 4096
)

// Info is one member in the line of succession, or one that was lost lately.
type Info struct {
	Name  string
	Addr  string // host:port, as advertised
	ID    uint64
	Role  seniority.Role
	Rank  int   // 1 is the first in the line
	Start int64 // Unix nanoseconds
	Alive bool
	// Eligible says whether it may be elected, which no witness or observer may; Unfit
	// is why a candidate may not, in a word, as far as that is known.
	Eligible bool
	Unfit    string
	Voter    string // the entry of voters that it found itself to be; a list of voters makes one without ineligible
	Died     bool   // it is not alive, and its keeper has told so
}

// MayLead reports whether the member may be elected now.
func (m *Info) MayLead() bool { return m.Alive && m.Eligible }

// Line is the line of succession, and behind it the members lost lately. One goroutine
// uses it; what its exported fields hold never changes once it is there. The zero value
// is empty.
type Line struct {
	// Infos are all members of the line, Names the names of those alive.
	Infos []Info
	Names []string
	// Missing are the voters that no member is; Astray the members that go by
	// another list of voters.
	Missing, Astray []string

	stale bool // the view has changed
	order []seniority.Member
	// lost are members that have vanished, the newest last; ends are the runs
	// whose end is known, by name.
	lost []lostMember
	ends map[string]gossip.Gone
}

type lostMember struct {
	info        Info
	addr        netip.AddrPort
	incarnation uint64
	since       time.Duration // boot time
}

// LookAnew says that the view has changed since the last update.
func (l *Line) LookAnew() { l.stale = true }

// Update brings the line up to date and returns what has changed in it. order are the
// members alive in their order, list is the list of voters.
func (l *Line) Update(now time.Duration, order []seniority.Member, view *gossip.View, list []string) []Change {
	if len(l.lost) > 0 && now >= l.lost[0].since+lostKept {
		l.stale = true
	}
	if !l.stale && slices.Equal(order, l.order) {
		return nil
	}
	l.stale = false
	l.lose(now, order)
	l.order = append(l.order[:0], order...)
	l.Missing, l.Astray = voters.Missing(list, order), nil
	addrs, unfit := make(map[string]string, len(view.Members)), make(map[string]string)
	own := voters.Digest(list)
	for _, p := range view.Members {
		addrs[p.Name] = p.Advertise
		if p.Unfit != "" {
			unfit[p.Name] = p.Unfit
		}
		if p.Voters != own {
			l.Astray = append(l.Astray, p.Name)
		}
	}
	old := l.Infos
	l.Infos = make([]Info, 0, len(order)+len(l.lost))
	l.Names = make([]string, 0, len(order))
	for i, m := range order {
		addr := addrs[m.Name]
		if addr == "" {
			addr = m.Addr.String()
		}
		l.Names = append(l.Names, m.Name)
		info := Info{
			Name: m.Name, Addr: addr, ID: m.ID, Role: m.Role, Rank: i + 1,
			Start: m.Start, Alive: true, Eligible: m.MayLead(), Voter: m.Voter, Unfit: unfit[m.Name],
		}
		if len(list) > 0 && m.Voter == "" {
			info.Eligible, info.Unfit = false, seniority.NotAVoter.String()
		}
		l.Infos = append(l.Infos, info)
	}
	for i, m := range l.lost {
		m.info.Rank, m.info.Died = len(order)+i+1, l.HasDied(m.info.Name)
		l.Infos = append(l.Infos, m.info)
	}
	return moves(old, l.Infos)
}

// lose moves the members that have vanished from the order to those lost, and
// forgets the lost ones that are back or have been gone for long.
func (l *Line) lose(now time.Duration, order []seniority.Member) {
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
		i := slices.IndexFunc(l.Infos, func(m Info) bool { return m.Name == was.Name })
		info := l.Infos[i]
		info.Alive, info.Eligible, info.Unfit = false, false, ""
		l.lost = append(l.lost, lostMember{info: info, addr: was.Addr, incarnation: was.Incarnation, since: now})
	}
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool {
		// Where another member is now, no member of that name will come back.
		return there[m.info.Name] || m.addr.IsValid() && slices.Contains(taken, m.addr) || now >= m.since+lostKept
	})
	l.lost = l.lost[max(len(l.lost)-lostLimit, 0):]
}

// Ended takes note that a run of a member is known to have ended: as it has
// announced, so that it is not missed, or as its keeper says.
func (l *Line) Ended(g gossip.Gone) {
	if l.ends == nil || len(l.ends) >= endsLimit {
		l.ends = map[string]gossip.Gone{}
	}
	l.ends[g.Name] = g
	l.stale = true
	l.lost = slices.DeleteFunc(l.lost, func(m lostMember) bool {
		return !g.Died && m.info.Name == g.Name && m.incarnation == g.Incarnation
	})
}

// HasDied reports whether the keeper of a member that has vanished has told of
// its death.
func (l *Line) HasDied(name string) bool {
	return slices.ContainsFunc(l.lost, func(m lostMember) bool {
		return m.info.Name == name && l.ends[name].Died && l.ends[name].Incarnation == m.incarnation
	})
}

// HasLost reports whether a member has vanished without a good-bye.
func (l *Line) HasLost(name string) bool {
	return slices.ContainsFunc(l.lost, func(m lostMember) bool { return m.info.Name == name })
}

// AddrOf returns the host:port of a member, or "".
func (l *Line) AddrOf(name string) string {
	for i := range l.Infos {
		if l.Infos[i].Name == name {
			return l.Infos[i].Addr
		}
	}
	return ""
}

// End returns the run of a member whose end is known, the last of them.
func (l *Line) End(name string) (gone gossip.Gone, known bool) {
	gone, known = l.ends[name]
	return gone, known
}

// Voters are the names of the members alive that have a vote, in their order.
func (l *Line) Voters() (names []string) {
	for i := range l.order {
		if l.order[i].Voter != "" {
			names = append(names, l.order[i].Name)
		}
	}
	return names
}

// Change is one change of the line.
type Change struct {
	What   string // Join, Leave or Update
	Reason string // of a Leave: Lost or "", of an Update: Restarted or ""
	Member Info
}

// The values of Change.What, and of Change.Reason.
const (
	Join      = "join"
	Leave     = "leave"
	Update    = "update"
	Lost      = "lost"      // it did not say that it leaves
	Restarted = "restarted" // it is another run
)

// moves compares two lines. A new rank alone is no event: one member that
// joins or leaves moves all behind it.
func moves(old, now []Info) []Change {
	before := make(map[string]Info, len(old))
	for _, m := range old {
		before[m.Name] = m
	}
	var events []Change
	for _, m := range now {
		was, known := before[m.Name]
		delete(before, m.Name)
		was.Rank = m.Rank
		switch {
		case m.Alive && !was.Alive:
			events = append(events, Change{What: Join, Member: m})
		case !m.Alive && (was.Alive || !known):
			events = append(events, Change{What: Leave, Reason: Lost, Member: m})
		case m.Alive && was.Start != m.Start:
			events = append(events, Change{What: Update, Reason: Restarted, Member: m})
		case was != m:
			events = append(events, Change{What: Update, Member: m})
		}
	}
	for _, m := range old {
		if _, vanished := before[m.Name]; vanished && m.Alive {
			m.Alive = false
			events = append(events, Change{What: Leave, Member: m})
		}
	}
	return events
}
