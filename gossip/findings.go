package gossip

// Findings returns what a person should know, with the evidence.
func (g *Gossip) Findings() []Finding {
	all := g.ledger.current()
	g.mu.Lock()
	j := g.joiner
	g.mu.Unlock()
	for i := range all {
		// Rubbish of a stranger must not make the group look ill.
		if f := &all[i]; f.What == foundUndecryptable && !g.roster.hosts(f.Member) && !j.seeks(f.Member) {
			f.Degrades = false
		}
	}
	if j != nil {
		all = append(all, j.findings()...)
	}
	v := g.roster.current()
	self := g.roster.own()
	for i := range v.Members {
		p := &v.Members[i]
		if p.Rule != self.Rule {
			all = append(all, newFinding(foundRule, p.Name, p.Name+" elects by rule "+p.Rule+", this member by "+self.Rule))
		}
		if p.Mode != self.Mode {
			all = append(all, newFinding(foundMode, p.Name, p.Name+" is in mode "+p.Mode+", this member in "+self.Mode))
		}
	}
	return all
}
