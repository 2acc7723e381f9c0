package agent

import (
	"cmp"
	"net"
	"slices"
	"time"

	"doyen/agent/placing"
	"doyen/gossip"
	"doyen/seniority"
)

// place works the placement out anew, on the doyen, and follows the newest there is.
func (l *loop) place() {
	c := placing.Config{Self: l.agent.self.Name, How: l.cfg.placement, Delay: l.cfg.RebalanceDelay}
	now, st := l.agent.cfg.now().Boot, &l.group().last
	if st.Leading {
		l.placing.Decide(now, c, st.Term, l.toPlace, func() bool { return l.placesTooEarly(now) })
	} else {
		l.placing.Rest()
	}
	l.followPlacement()
	l.publishDetail()
}

// placesTooEarly reports whether the members of a new group may still be coming, or
// their candidacies: what is placed without them would have to move.
func (l *loop) placesTooEarly(now time.Duration) bool {
	settle := l.begun + l.agent.cfg.timing.Settle
	return now < settle || now < settle+placementWait/2 && !l.detailsCurrent()
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
	if len(entries) == 0 {
		entries = l.details.Prefer(e.pub.name)
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

// followPlacement goes by the newest placement that is known.
func (l *loop) followPlacement() {
	led := uint64(0)
	if st := &l.group().last; st.Leader != "" {
		led = st.Term
	}
	current := l.placing.Follow(led, &l.details)
	if current == nil {
		return
	}
	for _, e := range l.elections[1:] {
		if to := current.Choice(e.pub.name); to != e.choice {
			e.choice = to
			e.step(seniority.Input{Kind: seniority.Choose, Choice: to})
		}
		if current.Move == e.pub.name && e.last.Leading && e.choice.First != e.self.Name {
			if e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Preempted, Name: e.choice.First}) == seniority.None {
				e.log.Info("this election moves to the member that it is placed at", "to", e.choice.First, "placement", l.cfg.placement.String())
			}
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

// placedAt is the member that the placement wants to lead the election, as far as it may:
// the candidates change before the placement does, and without a doyen it stays.
func (e *election) placedAt() string {
	for i := range e.members.Infos {
		if m := &e.members.Infos[i]; m.Name == e.choice.First && m.MayLead() {
			return m.Name
		}
	}
	return ""
}
