package seniority

import (
	"cmp"
	"slices"
	"time"
)

// view is the membership as gossip believes it, in the line of succession. It
// is recomputed whole from every View, never patched.
type view struct {
	members   []Member
	spare     []Member // to sort the next view in
	pair      [2]Member
	index     map[string]int
	voting    int           // members that vote
	most      int           // of them in the last time
	mostAt    time.Duration // when
	settled   bool
	settledAt time.Duration
	apart     bool // this node may have been cut off from others
	apartAt   time.Duration
}

// member returns a member by name, or nil.
func (v *view) member(name string) *Member {
	if i, ok := v.index[name]; ok {
		return &v.members[i]
	}
	return nil
}

// before reports whether a comes before b in the line of succession.
func (v *view) before(a, b string) bool { return v.index[a] < v.index[b] }

// setView takes over a membership. This node's own entry is its own knowledge of
// itself, but for the address and, with JoinsFromView, what ranks it.
func (c *Core) setView(members []Member, settled bool) {
	v := &c.view
	// A member that was there begins at its old place: what is nearly in order is
	// sorted in no time, however many they are.
	next := append(v.spare[:0], make([]Member, len(v.members))...)
	put := func(m *Member) {
		if at, ok := v.index[m.Name]; ok {
			next[at] = *m
		} else {
			next = append(next, *m)
		}
	}
	for i := range members {
		m := &members[i]
		if m.Name == c.self.Name {
			c.self.Addr = m.Addr // gossip knows where this node is reached now
			if c.cfg.JoinsFromView {
				c.self.Join, c.self.ID, c.self.Role = m.Join, m.ID, m.Role
			}
			continue
		}
		put(m)
	}
	put(&c.self)
	next = slices.DeleteFunc(next, func(m Member) bool { return m.Name == "" })
	v.members, v.spare = next, v.members
	v.settled = settled
	v.voting = 0
	for i := range v.members {
		if v.members[i].Votes() {
			v.voting++
		}
	}
	c.arrange()
	c.electorate.saw()
}

// compare orders two members: negative if a comes first in the line of
// succession. The placement of this election comes before its rule.
func (c *Core) compare(a, b *Member) int {
	return cmp.Or(cmp.Compare(c.choice.rank(a.Name), c.choice.rank(b.Name)), c.cfg.Rule.Compare(a, b))
}

// arrange puts the view into the line of succession.
func (c *Core) arrange() {
	v := &c.view
	slices.SortFunc(v.members, func(a, b Member) int {
		v.pair = [2]Member{a, b} // else each comparison allocates both
		return c.compare(&v.pair[0], &v.pair[1])
	})
	if v.index == nil {
		v.index = map[string]int{}
	}
	clear(v.index)
	for i := range v.members {
		v.index[v.members[i].Name] = i
	}
}

// choose takes the placement of this election in.
func (c *Core) choose(to Choice) {
	if c.choice != to {
		c.choice = to
		c.arrange()
	}
}

// refreshSelf brings a change of this node itself into the view.
func (c *Core) refreshSelf() {
	c.self.Eligible = c.unfit == None && c.asideUntil == 0
	*c.view.member(c.self.Name) = c.self
	c.arrange()
}

// renumber gives this node a join number, or takes it away.
func (c *Core) renumber(j Join) {
	if c.self.Join == j || c.cfg.JoinsFromView {
		return
	}
	c.self.Join = j
	c.refreshSelf()
	if j.Number != 0 {
		c.note(Note{Kind: Numbered, Term: j.Group})
	}
}

// apart notes whether this node may have been cut off from others.
func (c *Core) apart(now Now, apart bool) {
	if apart && !c.view.apart {
		c.view.apartAt = now.Boot
	}
	c.view.apart = apart
}

// meet takes a new membership in.
func (c *Core) meet(now Now, members []Member, settled bool) {
	if settled && !c.view.settled {
		c.view.settledAt = now.Boot
	}
	c.size(now)
	c.setView(members, settled)
	c.size(now)
	if len(c.view.members) > 1 && c.metAt == 0 {
		c.metAt = now.Boot
	}
	if c.led.name != "" {
		m := c.view.member(c.led.name)
		if m != nil && m.Incarnation != c.led.incarnation {
			c.gone(now, c.led.name, c.led.incarnation)
		}
	}
	for name, s := range c.suspects {
		if m := c.view.member(name); m == nil || m.Incarnation != s.incarnation || m.Join != s.join {
			delete(c.suspects, name)
		}
	}
	for name := range c.penalties {
		if c.view.member(name) == nil && now.Boot >= c.penalties[name].until {
			delete(c.penalties, name)
		}
	}
	if c.phase == Holding {
		c.numberNewcomers(now)
	}
}

// sizeFor is for how long a node remembers that its group was larger: on a bad link, or
// behind a cut, gossip loses members that are well.
const sizeFor = 3 * time.Minute

// size takes the present view in, and returns how many voting members the group had at
// most, this node included, as far as it remembers.
func (c *Core) size(now Now) int {
	if c.view.voting >= c.view.most || now.Boot > c.view.mostAt+sizeFor {
		c.view.most, c.view.mostAt = c.view.voting, now.Boot
	}
	return c.view.most
}

// gone notes that a run of a member has ended.
func (c *Core) gone(now Now, name string, incarnation uint64) {
	if c.electorate.merges() && c.voter.holder == name && c.voter.incarnation == incarnation {
		c.voter.forget()
	}
	if c.led.name == name && c.led.incarnation == incarnation {
		c.inheritSilent()
		c.lapse(now, LeaderDied)
	}
}

// isSuspect reports whether this run of the member is taken for dead.
func (c *Core) isSuspect(m *Member) bool {
	s, ok := c.suspects[m.Name]
	return ok && s.incarnation == m.Incarnation
}

// clearSuspect clears a suspicion: the member speaks.
func (c *Core) clearSuspect(m *Message) {
	delete(c.suspects, m.From)
}

// contends reports whether the member may be the next leader.
func (c *Core) contends(m *Member) bool {
	return m.MayLead() && !c.isSuspect(m) && c.electorate.seats(m)
}

// lastResort is how many leases a node that stands aside leaves to the others,
// if there are any, before it claims after all: they may not be able to win.
const lastResort = 4

// mayClaim reports whether this node may claim at all: not while something that
// a leader needs is missing, nor while the release of its last term runs, which
// would hold back what a new leadership takes. One that must lead (Core.mustLead) may although
// its health check fails: where the checks fail everywhere the lead stays, and can be handed on.
func (c *Core) mayClaim() bool {
	fit := c.unfit == None || c.unfit == Unhealthy && c.mustLead
	return c.self.Role == Candidate && fit && c.releasing == 0 && c.electorate.seats(&c.self)
}

// givesWay reports whether this node stands aside and leaves the lead to others.
// If no other member is there to do it, it may claim: a hook that is broken
// everywhere must not leave the group without a leader.
func (c *Core) givesWay() bool {
	return !c.self.Eligible && !c.mustLead && slices.ContainsFunc(c.view.members, func(m Member) bool { return c.contends(&m) })
}

// place is how many others come before this node when the next leader is
// sought. Of those that stand aside, and claim only if no other member does, each
// gives way to the others before it.
func (c *Core) place() int {
	n := 0
	for i := range c.view.members {
		m := &c.view.members[i]
		if m.Name == c.self.Name {
			break
		}
		if c.contends(m) || !c.self.Eligible && m.Role == Candidate && !c.isSuspect(m) && c.electorate.seats(m) {
			n++
		}
	}
	return n
}

// alone reports whether no other member is there, apart from a leader taken for dead.
func (c *Core) alone() bool {
	for i := range c.view.members {
		if m := &c.view.members[i]; m.Name != c.self.Name && !c.isSuspect(m) {
			return false
		}
	}
	return true
}
