package gossip

import (
	"time"

	"doyen/gossip/findings"
)

// summaryEvery is how often the log may tell what was refused.
const summaryEvery = time.Minute

// summarise logs what was refused, in a line a minute at most.
func (g *Gossip) summarise() {
	defer g.wg.Done()
	every := time.NewTicker(summaryEvery)
	defer every.Stop()
	for {
		select {
		case <-g.life.Done():
			return
		case <-every.C:
			if refused := g.findings.Summary(); refused != nil {
				g.cfg.Log.Warn("much was refused on the port", refused...)
			}
		}
	}
}

// Findings returns what a person should know, with the evidence.
func (g *Gossip) Findings() []findings.Finding {
	all := g.findings.Current()
	g.mu.Lock()
	j := g.joiner
	g.mu.Unlock()
	for i := range all {
		// Rubbish of a stranger must not make the group look ill.
		if f := &all[i]; f.What == findings.Undecryptable && !g.members.hosts(f.Member) && !j.seeks(f.Member) {
			f.Degrades = false
		}
	}
	if j != nil {
		all = append(all, j.seedFindings()...)
	}
	v := g.members.current()
	self := g.members.own()
	for i := range v.Members {
		p := &v.Members[i]
		if p.Rule != self.Rule {
			all = append(all, findings.New(findings.RuleDiffers, p.Name, p.Name+" elects by rule "+p.Rule+", this member by "+self.Rule))
		}
		if p.Mode != self.Mode {
			all = append(all, findings.New(findings.ModeDiffers, p.Name, p.Name+" is in mode "+p.Mode+", this member in "+self.Mode))
		}
	}
	return all
}
