package keepalived

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// unit is what moves as one: an election.
type unit struct {
	name      string
	source    string // what it was, for a comment
	instances []*instance
	tracked
}

// maxElection is the longest name of an election.
const maxElection = 32

// units puts the instances of a sync group together.
func (m *model) units() []*unit {
	var list []*unit
	grouped := map[string]*unit{}
	for _, g := range m.groups {
		u := &unit{name: g.name, source: "vrrp_sync_group " + g.name, tracked: g.tracked}
		for _, name := range g.members {
			grouped[name] = u
		}
	}
	for _, i := range m.instances {
		u := grouped[i.name]
		if u == nil {
			u = &unit{name: i.name, source: "vrrp_instance " + i.name}
		}
		if !slices.Contains(list, u) {
			list = append(list, u)
		}
		u.instances = append(u.instances, i)
		u.scripts = append(u.scripts, i.scripts...)
		u.interfaces = append(u.interfaces, i.interfaces...)
		u.notify = append(u.notify, i.notify...)
	}
	taken := map[string]bool{"group": true}
	for _, u := range list {
		u.name = election(u.name, taken)
	}
	return list
}

// election makes a name of an election that is not taken.
func election(name string, taken map[string]bool) string {
	name = strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name), "-")
	if name == "" {
		name = "vrrp"
	}
	name = name[:min(len(name), maxElection-4)]
	made := name
	for n := 2; taken[made]; n++ {
		made = fmt.Sprintf("%s-%d", name, n)
	}
	taken[made] = true
	return made
}

func (u *unit) addresses() []string {
	var all []string
	for _, i := range u.instances {
		for _, a := range i.addresses {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// priority is the first instance's that has one; 0: none.
func (u *unit) priority() int {
	for _, i := range u.instances {
		if i.priority > 0 {
			return i.priority
		}
	}
	return 0
}

// preempts reports whether a host with a higher priority takes over from a healthy
// one, and after which time.
func (u *unit) preempts() (bool, time.Duration) {
	preempts, delay := false, time.Duration(0)
	for _, i := range u.instances {
		preempts = preempts || !i.nopreempt && (i.priority > 0 || i.state == "MASTER")
		delay = max(delay, i.delay)
	}
	return preempts, delay
}

// overruled names what instances say of the one that leads where the file of settings
// says something else: for their group, or for all.
func (c *converter) overruled(units []*unit) {
	longest := time.Duration(0)
	for _, u := range units {
		if preempts, delay := u.preempts(); preempts {
			longest = max(longest, delay)
		}
	}
	anyPreempts := slices.ContainsFunc(units, func(u *unit) bool { preempts, _ := u.preempts(); return preempts })
	for _, u := range units {
		preempts, _ := u.preempts()
		for _, i := range u.instances {
			if l := i.line("priority"); l != nil && !l.named {
				switch {
				case !preempts:
					c.notes.add(l, "a healthy leader stays where it is (nopreempt), and the member that has been there longest is the next")
				case i.priority != u.priority():
					c.notes.add(l, "the instances of a sync group move together, by the priority of the first, which is %d", u.priority())
				}
			}
			if l := i.line("nopreempt"); l != nil && preempts {
				c.notes.add(l, "another instance of its sync group preempts, and they move together")
			} else if l != nil && anyPreempts {
				c.notes.add(l, "other instances preempt, and elections move to be laid evenly; rebalance-delay is for all of them")
			}
			if l := i.line("preempt_delay"); l != nil && !l.named && (!preempts || i.delay != longest) {
				c.notes.add(l, "there is one such delay for all, %v, and none where nothing preempts", longest)
			}
		}
	}
}

// preferred is the host that leads if it can, where the file tells: this host, if it
// begins as MASTER, or else the only other.
func (m *model) preferred(u *unit) string {
	from := m.first()
	switch state := u.instances[0].state; {
	case from == nil:
	case state == "MASTER":
		return from.own
	case state == "BACKUP" && len(from.peers) == 1:
		return from.peers[0]
	}
	return ""
}

// fast is the longest interval of advertisements that is a case for the profile
// fast: there and here, three of them missed are a leader that is gone.
const fast = 300 * time.Millisecond

func (m *model) fast() bool {
	return slices.ContainsFunc(m.instances, func(i *instance) bool { return i.advert > 0 && i.advert <= fast })
}

// first is the first instance that names other hosts, by whose addresses the hosts
// are called; nil if none does.
func (m *model) first() *instance {
	for _, i := range m.instances {
		if len(i.peers) > 0 {
			return i
		}
	}
	return nil
}

// hosts are the addresses of all hosts, and whether this host is among them.
func (m *model) hosts() (all []string, own bool) {
	i := m.first()
	if i == nil {
		return nil, false
	}
	all = slices.Clone(i.peers)
	if i.own != "" {
		all = append(all, i.own)
	}
	slices.Sort(all)
	return slices.Compact(all), i.own != ""
}
