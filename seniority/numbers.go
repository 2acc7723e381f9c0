package seniority

import (
	"cmp"
	"slices"
	"time"
)

// numbers are the join numbers that a leader gives out.
type numbers struct {
	group uint64
	// open is until when the founder of the group still sorts newcomers in by
	// start time: hosts that boot together do not all find each other at once.
	open  time.Duration
	given map[string]assignment
}

// assignment is what a run of a member was last given; a restart is a new member, and
// so is a leader that has dropped its number because it lost the lead.
type assignment struct {
	incarnation uint64
	join        Join
	shown       bool // the member has shown it
}

// of returns what this run of the member was given, or zero.
func (n *numbers) of(m *Member) Join {
	if g := n.given[m.Name]; g.incarnation == m.Incarnation {
		return g.join
	}
	return Join{}
}

// pending returns the number that a member is still to be told, or zero.
func (n *numbers) pending(m *Member) Join {
	if m == nil || n.of(m) == m.Join {
		return Join{}
	}
	return n.of(m)
}

// assign numbers the members that have no place in the leader's group yet,
// after all that have, in the order they stand in: their own group's, or by
// start time. A group is founded by the first leadership that met anybody.
func (c *Core) assign(now Now) {
	if c.cfg.JoinsFromView {
		return
	}
	n := &c.numbers
	members := c.view.members
	group := c.self.Join.Group
	for i := 0; group == 0 && i < len(members); i++ {
		group = members[i].Join.Group
	}
	switch {
	case group == 0:
		c.found(now)
		return
	case group != n.group:
		*n = numbers{group: group, given: map[string]assignment{}}
	case now.Boot < n.open:
		c.found(now)
		return
	}
	if c.held < c.timing.Lease {
		return // numbers given by the leader before may still be on their way
	}
	last := c.lastNumber(group)
	var mine Join
	for i := range members {
		m := &members[i]
		g := n.given[m.Name]
		if g.incarnation == m.Incarnation && (m.Join.Number != 0 || !g.shown && m.Name != c.self.Name) {
			g.shown = g.shown || m.Join == g.join
			n.given[m.Name] = g
			continue
		}
		j := m.Join
		if j.Group != group || j.Number == 0 {
			last++
			j = Join{Group: group, Number: last}
		}
		n.given[m.Name] = assignment{incarnation: m.Incarnation, join: j, shown: j == m.Join}
		if m.Name == c.self.Name {
			mine = j
		}
	}
	if mine.Number != 0 {
		c.renumber(mine)
	}
}

// lastNumber returns the highest number of the group that is known, and forgets
// what was given to runs that are no longer there.
func (c *Core) lastNumber(group uint64) (last uint64) {
	for i := range c.view.members {
		if j := c.view.members[i].Join; j.Group == group {
			last = max(last, j.Number)
		}
	}
	for name, g := range c.numbers.given {
		last = max(last, g.join.Number)
		if m := c.view.member(name); m == nil || m.Incarnation != g.incarnation {
			delete(c.numbers.given, name)
		}
	}
	return last
}

// found numbers all members by start time and name. A member that claims to have
// started before the leader, which was the first, comes last: its clock is
// wrong, or it came late, and neither makes it senior.
func (c *Core) found(now Now) {
	n := &c.numbers
	if c.self.Join.Group == 0 {
		*n = numbers{group: c.claim.term, open: now.Boot + c.timing.Settle, given: map[string]assignment{}}
	}
	order := slices.Clone(c.view.members)
	slices.SortFunc(order, func(a, b Member) int {
		return cmp.Or(
			compareBool(a.Name != c.self.Name, b.Name != c.self.Name),
			compareBool(a.Start < c.self.Start, b.Start < c.self.Start),
			cmp.Compare(a.Start, b.Start), cmp.Compare(a.Name, b.Name))
	})
	for i := range order {
		n.given[order[i].Name] = assignment{incarnation: order[i].Incarnation, join: Join{Group: n.group, Number: uint64(i + 1)}}
	}
	c.renumber(n.of(&c.self))
}

// numberNewcomers numbers newcomers and tells them who leads.
func (c *Core) numberNewcomers(now Now) {
	if !c.met {
		for i := range c.view.members {
			c.notifyLeader(c.view.members[i].Name)
		}
		return
	}
	c.assign(now)
	for i := range c.view.members {
		m := &c.view.members[i]
		if c.welcomed[m.Name] != m.Incarnation && m.Name != c.self.Name {
			c.notifyLeader(m.Name)
		}
	}
	clear(c.welcomed)
	for i := range c.view.members {
		c.welcomed[c.view.members[i].Name] = c.view.members[i].Incarnation
	}
}
