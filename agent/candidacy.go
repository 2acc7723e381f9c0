package agent

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"doyen/gossip"
	"doyen/seniority"
)

// What differs by election between members does not fit into the 512 bytes that
// gossip carries of each. So a member publishes it as its detail: in which
// elections it is a candidate, whether it may lead them, and, if it is the doyen,
// how they are placed.

// detail is what a member publishes beside its meta. Fields of newer versions are
// passed over.
type detail struct {
	Elections map[string]candidacy `json:"e,omitempty"`
	Placement *placement           `json:"p,omitempty"`
}

// candidacy is what ranks a member in a further election.
type candidacy struct {
	Rule   string         `json:"r,omitempty"`
	ID     uint64         `json:"i,omitempty"`
	Role   seniority.Role `json:"o,omitempty"`
	Unfit  string         `json:"u,omitempty"` // why it may not lead; "": it may
	Prefer []string       `json:"f,omitempty"`
}

// peerDetail is the detail of another member as it was read last.
type peerDetail struct {
	text []byte
	detail
}

// readDetails reads the details that have changed since the last look, and
// forgets those of members that have gone.
func (l *loop) readDetails() {
	there := make(map[string]bool, len(l.view.Members))
	for i := range l.view.Members {
		name := l.view.Members[i].Name
		there[name] = true
		text, _ := l.agent.gossip.Detail(name)
		old := l.details[name]
		switch {
		case name == l.agent.self.Name:
		case len(text) == 0:
			delete(l.details, name)
		case old == nil || !bytes.Equal(old.text, text):
			l.details[name] = &peerDetail{text: text, detail: parseDetail(text)}
		}
	}
	maps.DeleteFunc(l.details, func(name string, _ *peerDetail) bool { return !there[name] })
}

// parseDetail reads what another member has published, and drops what none of this
// version could have: names, roles and ids that are out of range.
func parseDetail(text []byte) (d detail) {
	if json.Unmarshal(text, &d) != nil {
		return detail{}
	}
	maps.DeleteFunc(d.Elections, func(name string, c candidacy) bool {
		return CheckElectionName(name) != nil || c.Role > seniority.Observer || c.ID > seniority.MaxID
	})
	if len(d.Elections) > MaxElections {
		d.Elections = nil
	}
	return d
}

// candidacy is what this member publishes of itself in the election.
func (e *election) candidacy() candidacy {
	c := candidacy{Rule: e.cfg.rule.Name(), ID: e.self.ID, Role: e.self.Role, Prefer: e.cfg.prefer}
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
	d := detail{Placement: l.placing.published}
	for _, e := range l.elections[1:] {
		if e.candidate {
			if d.Elections == nil {
				d.Elections = map[string]candidacy{}
			}
			d.Elections[e.pub.name] = e.candidacy()
		}
	}
	var text []byte
	if d.Elections != nil || d.Placement != nil {
		text, _ = json.Marshal(d) // it holds nothing that could fail
	}
	if !bytes.Equal(text, l.detail) {
		l.detail = text
		l.agent.gossip.SetDetail(text)
	}
}

// candidacyOf returns what a member has published of itself in an election; false:
// it is no candidate.
func (l *loop) candidacyOf(member, election string) (candidacy, bool) {
	if d := l.details[member]; d != nil {
		c, ok := d.Elections[election]
		return c, ok
	}
	return candidacy{}, false
}

// membersOf returns the members as the election is to see them: of the others, those
// that do not name it vote, as witnesses.
func (e *election) membersOf(view *gossip.View) []seniority.Member {
	members := make([]seniority.Member, len(view.Members))
	for i, p := range view.Members {
		m := p.Member
		if m.Name == e.self.Name {
			m.ID, m.Role = e.self.ID, e.self.Role
		} else if c, ok := e.member.candidacyOf(m.Name, e.pub.name); ok {
			m.ID, m.Role, m.Eligible = c.ID, c.Role, c.Unfit == ""
		} else if m.Role == seniority.Candidate {
			m.Role, m.Eligible = seniority.Witness, false
		}
		members[i] = m
	}
	return members
}

// named returns the names of all further elections that any member names.
func (l *loop) namedElections() []string {
	names := map[string]bool{}
	for _, e := range l.elections[1:] {
		if e.candidate {
			names[e.pub.name] = true
		}
	}
	for _, d := range l.details {
		for name := range d.Elections {
			names[name] = true
		}
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
	for _, member := range slices.Sorted(maps.Keys(l.details)) {
		if c, ok := l.details[member].Elections[name]; ok {
			if rule, err := seniority.ParseRule(c.Rule); err == nil {
				return rule
			}
		}
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
