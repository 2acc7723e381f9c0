package agent

import (
	"bytes"
	"maps"
	"slices"

	"doyen/agent/placing"
	"doyen/gossip"
	"doyen/seniority"
)

// readDetails reads the details of the other members that are there, and forgets
// those of members that have gone.
func (l *loop) readDetails() {
	there := make(map[string]bool, len(l.view.Members))
	for i := range l.view.Members {
		name := l.view.Members[i].Name
		there[name] = true
		if name != l.agent.self.Name {
			text, _ := l.agent.gossip.Detail(name)
			l.details.Read(name, text)
		}
	}
	l.details.Keep(there)
}

// candidacy is what this member publishes of itself in the election.
func (e *election) candidacy() placing.Candidacy {
	c := placing.Candidacy{Rule: e.cfg.rule.Name(), ID: e.self.ID, Role: e.self.Role, Prefer: e.cfg.prefer}
	if e.last.Eligible || e.fitness.lacked == seniority.None && e.fitness.waiting {
		return c
	}
	switch {
	case e.fitness.lacked != seniority.None:
		c.Unfit = e.fitness.lacked.String()
	case e.last.AsideUntil != 0:
		c.Unfit = seniority.StoodAside.String()
	default:
		c.Unfit = seniority.NotEligible.String()
	}
	return c
}

// publishDetail publishes what this member has to say of the further elections, if
// that has changed.
func (l *loop) publishDetail() {
	d := placing.Detail{Placement: l.placing.Published()}
	for _, e := range l.elections[1:] {
		if e.candidate {
			if d.Elections == nil {
				d.Elections = map[string]placing.Candidacy{}
			}
			d.Elections[e.pub.name] = e.candidacy()
		}
	}
	if text := d.Text(); !bytes.Equal(text, l.detail) {
		l.detail = text
		l.agent.gossip.SetDetail(text)
	}
}

// membersOf returns the members as the election is to see them: of the others, those
// that do not name it vote, as witnesses.
func (e *election) membersOf(view *gossip.View) []seniority.Member {
	members := make([]seniority.Member, len(view.Members))
	for i, p := range view.Members {
		m := p.Member
		if m.Name == e.self.Name {
			m.ID, m.Role = e.self.ID, e.self.Role
		} else if c, ok := e.member.details.Of(m.Name, e.pub.name); ok {
			m.ID, m.Role, m.Eligible = c.ID, c.Role, c.Unfit == ""
		} else if m.Role == seniority.Candidate {
			m.Role, m.Eligible = seniority.Witness, false
		}
		members[i] = m
	}
	return members
}

// namedElections returns the names of all further elections that any member names.
func (l *loop) namedElections() []string {
	names := map[string]bool{}
	for _, e := range l.elections[1:] {
		if e.candidate {
			names[e.pub.name] = true
		}
	}
	for _, name := range l.details.Candidates() {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// knowElections begins to vote in the elections that others name.
func (l *loop) knowElections() {
	for _, name := range l.namedElections() {
		l.know(name)
	}
}

// ruleOf is the rule that the candidates of an election go by.
func (l *loop) ruleOf(name string) seniority.Rule {
	if rule, ok := l.details.Rule(name); ok {
		return rule
	}
	return l.agent.cfg.rule
}

// learnRule takes the rule over that the candidates go by, on a member that only votes:
// it may have heard of the election before it could know that.
func (e *election) learnRule() {
	if rule := e.member.ruleOf(e.pub.name); !e.candidate && rule.Name() != e.cfg.rule.Name() {
		cfg := *e.cfg
		cfg.rule = rule
		e.cfg = &cfg
		e.pub.settings.Store(&cfg)
	}
}

// know returns the election of that name, and begins to vote in one that is new;
// nil: there are too many.
func (l *loop) know(name string) *election {
	if e := l.byName[name]; e != nil {
		return e
	}
	if len(l.elections) > MaxElections || CheckElectionName(name) != nil {
		l.agent.group.tally.add(func(c *Counters) { c.Dropped["election-unknown"]++ })
		return nil
	}
	cfg := l.cfg.voting()
	cfg.rule = l.ruleOf(name)
	e, err := l.add(name, cfg, false)
	if err != nil {
		l.agent.log.Error("cannot vote in an election", "election", name, "error", err)
		return nil
	}
	l.agent.log.Debug("this member votes in an election that others hold", "election", name)
	return e
}
