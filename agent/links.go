package agent

import (
	"errors"

	"doyen/agent/floatingip"
	"doyen/seniority"
)

// The findings about interfaces of floating addresses.
const noLink = "floating-ip-no-link"

// linksChanged looks at the interfaces of the floating addresses: without them
// this member hands over at once, and is no candidate.
func (l *loop) linksChanged() {
	if l.links == nil {
		return
	}
	err := l.links.Usable()
	l.cut = err != nil
	if err == nil {
		l.findings.clear(noLink, l.self.Name)
		l.judgeFitness()
		return
	}
	advice := "Look at the cable and the switch."
	if errors.Is(err, floatingip.ErrNoInterface) {
		advice = "Name an interface of this host in --floating-ip, or create it."
	}
	l.findings.set(0, 0, Finding{What: noLink, Member: l.self.Name, Evidence: err.Error(), Advice: advice, Degrades: true})
	if l.last.Leading {
		l.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.CarrierLost})
	}
	l.judgeFitness()
}
