package agent

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

// placement is how the doyen has laid the further elections over the members.
type placement struct {
	Term    uint64               `json:"t"` // under which the doyen leads the group
	Choices map[string][2]string `json:"c"` // first and second, by election
	// Move is the election that is to be handed over to its first choice now; "":
	// none. There is never more than one.
	Move string `json:"m,omitempty"`
}

// moveLimit is how long one move may take before another has its turn.
const moveLimit = 15 * time.Second

// placing is this member's part in the placement.
type placing struct {
	published *placement // by this member, as the doyen
	current   *placement // that all go by, as far as is known here

	leading bool                     // this member leads the group
	since   map[string]time.Duration // since when an election has been misplaced
	moving  time.Duration            // when the move that is published began
}

// place works the placement out anew, on the doyen, and follows the newest there is.
func (l *loop) place() {
	now := l.agent.cfg.now().Boot
	l.decidePlacement(now)
	l.followPlacement()
	l.publishDetail()
}

// decidePlacement publishes a placement while this member is the doyen.
func (l *loop) decidePlacement(now time.Duration) {
	p, st := &l.placing, &l.group().last
	if !st.Leading || l.cfg.placement == seniority.ByRule {
		*p = placing{current: p.current}
		if st.Leading && p.current != nil { // there was one, which counts no longer
			p.published = &placement{Term: st.Term}
		}
		return
	}
	if !p.leading {
		p.leading, p.since = true, map[string]time.Duration{}
	}
	placed := l.toPlace()
	if p.published == nil && l.placesTooEarly(now, placed) {
		return
	}
	if len(placed) == 0 {
		p.published = nil
		return
	}
	choices := seniority.Place(l.cfg.placement, l.agent.self.Name, placed)
	next := &placement{Term: st.Term, Choices: make(map[string][2]string, len(placed)), Move: l.move(now, placed, choices)}
	for i := range placed {
		next.Choices[placed[i].Name] = [2]string{choices[i].First, choices[i].Second}
	}
	if old := p.published; old == nil || old.Term != next.Term || old.Move != next.Move || !maps.Equal(old.Choices, next.Choices) {
		p.published = next
	}
}

// placesTooEarly reports whether the members of a new group may still be coming, or
// their candidacies: what is placed without them would have to move.
func (l *loop) placesTooEarly(now time.Duration, placed []seniority.Placed) bool {
	led := slices.ContainsFunc(placed, func(p seniority.Placed) bool { return p.Leader != "" })
	settle := l.begun + l.agent.cfg.timing.Settle
	return !led && (now < settle || now < settle+placementWait/2 && !l.detailsCurrent())
}

// detailsCurrent reports whether the newest details of all members are here.
func (l *loop) detailsCurrent() bool {
	for i := range l.view.Members {
		if _, current := l.agent.gossip.Detail(l.view.Members[i].Name); !current {
			return false
		}
	}
	return l.view.Settled
}

// toPlace describes the further elections for the placement.
func (l *loop) toPlace() []seniority.Placed {
	var placed []seniority.Placed
	for _, name := range l.namedElections() {
		e := l.byName[name]
		if e == nil {
			continue
		}
		p := seniority.Placed{Name: name, Leader: e.last.Leader, Choice: e.choice}
		members := e.membersOf(&l.view)
		for i := range members {
			if members[i].Name == e.self.Name && e.candidate {
				c := e.candidacy()
				members[i].ID, members[i].Role, members[i].Eligible = c.ID, c.Role, c.Unfit == ""
			}
		}
		slices.SortFunc(members, func(a, b seniority.Member) int {
			return cmp.Or(e.cfg.rule.Compare(&a, &b), cmp.Compare(a.Name, b.Name))
		})
		for i := range members {
			// In quorum mode a member without a vote can never lead.
			if members[i].MayLead() && (!e.cfg.quorum() || members[i].Voter != "") {
				p.Candidates = append(p.Candidates, members[i].Name)
			}
		}
		p.Prefer = l.preferred(e)
		placed = append(placed, p)
	}
	return placed
}

// preferred returns the members that are preferred for an election: as this
// member's own settings say, else as those of the first candidate that says so.
func (l *loop) preferred(e *election) (names []string) {
	entries := e.cfg.prefer
	for _, member := range slices.Sorted(maps.Keys(l.details)) {
		if len(entries) == 0 {
			entries = l.details[member].Elections[e.pub.name].Prefer
		}
	}
	for _, entry := range entries {
		for i := range l.view.Members {
			if isMember(&l.view.Members[i], entry) {
				names = append(names, l.view.Members[i].Name)
			}
		}
	}
	return names
}

// isMember reports whether an entry of prefer stands for a member.
func isMember(p *gossip.Peer, entry string) bool {
	if entry == p.Name || entry == p.Advertise || entry == p.Addr.String() || entry == p.Addr.Addr().String() {
		return true
	}
	host, _, err := net.SplitHostPort(p.Advertise)
	return err == nil && entry == host
}

// move returns the election that is to be handed over now, or "": one at a time,
// each only after its better placement has lasted for the rebalance delay.
func (l *loop) move(now time.Duration, placed []seniority.Placed, choices []seniority.Choice) string {
	p, delay := &l.placing, l.cfg.RebalanceDelay
	if delay < 0 {
		return ""
	}
	if l.cfg.placement == seniority.Together {
		delay = 0 // they follow the doyen
	}
	var due []seniority.Placed
	var to []seniority.Choice
	for i := range placed {
		name := placed[i].Name
		if seniority.Misplaced(placed[i:i+1], choices[i:i+1]) < 0 {
			delete(p.since, name)
			continue
		}
		if p.since[name] == 0 {
			p.since[name] = now
		}
		if now >= p.since[name]+delay {
			due, to = append(due, placed[i]), append(to, choices[i])
		}
	}
	if old := p.published; old != nil && old.Move != "" {
		at := slices.IndexFunc(placed, func(d seniority.Placed) bool { return d.Name == old.Move })
		switch {
		case at < 0 || choices[at].First == "" || placed[at].Leader == choices[at].First: // it is over
		case now < p.moving+moveLimit:
			return old.Move // without a leader, too: its hand-over is under way
		default:
			p.since[old.Move] = now // it does not succeed: others first
			return ""
		}
	}
	i := seniority.Misplaced(due, to)
	if i < 0 {
		return ""
	}
	p.moving = now
	return due[i].Name
}

// followPlacement goes by the newest placement that is known.
func (l *loop) followPlacement() {
	p, led := &l.placing, uint64(0)
	if st := &l.group().last; st.Leader != "" {
		led = st.Term
	}
	newer := func(next *placement) bool {
		return next != nil && (p.current == nil || seniority.Supersedes(next.Term, p.current.Term, led))
	}
	if newer(p.published) {
		p.current = p.published
	}
	for _, member := range slices.Sorted(maps.Keys(l.details)) {
		if d := l.details[member]; p.published == nil && newer(d.Placement) {
			p.current = d.Placement
		}
	}
	if p.current == nil {
		return
	}
	for _, e := range l.elections[1:] {
		choice := p.current.Choices[e.pub.name]
		if to := (seniority.Choice{First: choice[0], Second: choice[1]}); to != e.choice {
			e.choice = to
			e.step(seniority.Input{Kind: seniority.Choose, Choice: to})
		}
		if p.current.Move == e.pub.name && e.last.Leading && e.choice.First != e.self.Name {
			e.log.Info("this election moves to another member, to spread the load", "to", e.choice.First)
			e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Preempted, Name: e.choice.First})
		}
		e.judgeFitness()
	}
}

// awaitsPlacement reports whether the election has just begun here and this member
// leaves it to the one that it is placed at, or will be: so it need not move later.
func (e *election) awaitsPlacement() bool {
	return e != e.member.group() && e.candidate && e.member.cfg.placement != seniority.ByRule && e.choice.First != e.self.Name &&
		e.last.Leader == "" && !e.everLed && e.cfg.now().Boot < e.placedBy
}
