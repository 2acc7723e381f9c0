package agent

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"doyen/seniority"
)

// roll is the list of the elections that this member knows. The loop changes it;
// anyone may ask.
type roll struct {
	mu     sync.RWMutex
	byName map[string]*Election
	list   []*Election // the group's own first, the others by name
}

// get returns the election of that name, or nil.
func (r *roll) get(name string) *Election {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// all returns all elections, the group's own first, the others by name.
func (r *roll) all() []*Election {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.list
}

// set replaces the list.
func (r *roll) set(change func(byName map[string]*Election)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = map[string]*Election{}
	}
	change(r.byName)
	r.list = make([]*Election, 0, len(r.byName))
	for _, e := range r.byName {
		r.list = append(r.list, e)
	}
	slices.SortFunc(r.list, func(a, b *Election) int { return strings.Compare(a.label(), b.label()) })
}

// ErrNoElection is the error of the methods of a nil *Election.
var ErrNoElection = errors.New("this member knows no election of that name")

// Election returns the election of that name, the group's own included; nil: this
// member knows none of that name. Of the methods of nil, those that return an error
// return ErrNoElection; IsLeader, Leader, Status and Watch know of no leader; the others
// panic.
func (a *Agent) Election(name string) *Election { return a.roll.get(name) }

// ElectionNames returns the names of all elections that this member knows, the
// group's own first, the others by name.
func (a *Agent) ElectionNames() []string {
	var names []string
	for _, e := range a.roll.all() {
		names = append(names, e.name)
	}
	return names
}

// enlist returns the election of that name, which it puts on the roll if it is new.
func (a *Agent) enlist(name string, cfg *settings) *Election {
	if e := a.roll.get(name); e != nil {
		return e
	}
	log := a.log
	if name != GroupElection {
		log = log.With("election", name)
	}
	e := newElection(a, name, cfg, log)
	if a.state != nil {
		e.history.Restore(a.state.histories[name])
	}
	if a.self.Name != "" {
		e.introduce(e.selfOf(a.self))
	}
	a.roll.set(func(byName map[string]*Election) { byName[name] = e })
	return e
}

// strike takes an election off the roll.
func (a *Agent) strike(e *Election) {
	a.roll.set(func(byName map[string]*Election) { delete(byName, e.name) })
	e.close()
}

// selfOf is this member as the election sees it.
func (e *Election) selfOf(self seniority.Member) seniority.Member {
	self.ID, self.Role = e.cfg().ID, e.cfg().role
	return self
}
