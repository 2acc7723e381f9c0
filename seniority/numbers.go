package seniority

// numbers are the join numbers that a leader has given out and that their
// owners do not show yet.
type numbers struct {
	group uint64
	given map[string]Join
}

// pending returns the number that a member is still to be told, or zero.
func (n *numbers) pending(m *Member) Join {
	if m == nil || m.Join.Group == n.group && m.Join.Number != 0 {
		return Join{}
	}
	return n.given[m.Name]
}

// assign numbers the members that have no place in the leader's group yet,
// after all that have, in the order they stand in: their own group's, or by
// start time. A group is founded by the first leadership that met anybody.
func (c *Core) assign() {
	n := &c.numbers
	if n.given == nil {
		n.given = map[string]Join{}
	}
	members := c.view.members
	n.group = c.self.Join.Group
	for i := 0; n.group == 0 && i < len(members); i++ {
		n.group = members[i].Join.Group
	}
	if n.group == 0 {
		n.group = c.claim.term
	}
	last := uint64(0)
	for i := range members {
		if j := members[i].Join; j.Group == n.group {
			last = max(last, j.Number)
		}
	}
	for name, j := range n.given {
		if c.view.member(name) == nil || j.Group != n.group {
			delete(n.given, name)
			continue
		}
		last = max(last, j.Number)
	}
	var mine Join
	for i := range members {
		m := &members[i]
		if m.Join.Group == n.group && m.Join.Number != 0 {
			delete(n.given, m.Name)
			continue
		}
		if _, ok := n.given[m.Name]; ok {
			continue
		}
		last++
		j := Join{Group: n.group, Number: last}
		if m.Name == c.self.Name {
			mine = j
			continue
		}
		n.given[m.Name] = j
	}
	if mine.Number != 0 {
		c.renumber(mine)
	}
}

// welcome numbers newcomers and tells them who leads.
func (c *Core) welcome(now Now) {
	if !c.met {
		for i := range c.view.members {
			c.enlighten(c.view.members[i].Name)
		}
		return
	}
	c.assign()
	for i := range c.view.members {
		m := &c.view.members[i]
		if c.welcomed[m.Name] != m.Incarnation && m.Name != c.self.Name {
			c.enlighten(m.Name)
		}
	}
	clear(c.welcomed)
	for i := range c.view.members {
		c.welcomed[c.view.members[i].Name] = c.view.members[i].Incarnation
	}
}
