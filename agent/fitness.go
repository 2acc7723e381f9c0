package agent

import (
	"errors"
	"fmt"
	"slices"

	"doyen/agent/floatingip"
	"doyen/seniority"
)

// fitness is what decides whether this member may lead an election, beyond what
// holds for all of them.
type fitness struct {
	ownAddress bool             // a floating address is this host's own
	owners     []string         // the members whose own address is a floating one
	cut        bool             // an interface of a floating address cannot be used
	quorum     bool             // of available mode, and the group is one of quorum mode
	sick       bool             // what the health check said last; true until it has
	unfit      bool             // what SetHealth said last
	keeperless bool             // the keeper has died, and the one after it has not released what was left
	waiting    bool             // for the placement, and for nothing else
	lacked     seniority.Reason // what the core was told last that it lacks
}

// lacks says what keeps this member from leading, or None. It is the one input of
// the core on that, so every condition is here.
func (e *election) lacks() seniority.Reason {
	switch {
	case e.member.departing, e.retiring:
		return seniority.Departed
	case e.member.view.Clash:
		return seniority.NotEligible // it is no member until the clash is over
	case !e.candidate:
		return seniority.NotEligible
	case e.fitness.keeperless:
		return seniority.KeeperFired // no deadline can be armed
	case e.fitness.ownAddress, len(e.fitness.owners) > 0:
		return seniority.NotEligible // the floating address is not to be had
	case e.fitness.cut:
		return seniority.CarrierLost
	case e.member.view.Stray != "":
		return seniority.AddressGone
	case e.fitness.quorum:
		return seniority.WrongElectorate
	case e.member.unwritable != nil:
		return seniority.StateUnwritable
	case e.storeLacks() != seniority.None:
		return e.storeLacks()
	case e.lacksWatchdog():
		return seniority.NoWatchdog
	case e.fitness.sick, e.fitness.unfit:
		return seniority.Unhealthy
	}
	return seniority.None
}

// judgeFitness tells the core whether this member may be elected.
func (e *election) judgeFitness() {
	if e.core == nil {
		return // begin tells it
	}
	lacks := e.lacks()
	waiting := lacks == seniority.None && e.awaitsPlacement()
	if lacks == e.fitness.lacked && waiting == e.fitness.waiting {
		return
	}
	e.fitness.lacked, e.fitness.waiting = lacks, waiting
	reason := lacks
	if waiting {
		reason = seniority.NotEligible
	}
	e.step(seniority.Input{Kind: seniority.Health, Eligible: reason == seniority.None, Reason: reason})
}

// The findings about interfaces of floating addresses, about this member's own
// address, and about floating addresses that are a host's own.
const (
	noLink      = "floating-ip-no-link"
	addressGone = "address-gone"
	ownAddress  = "floating-ip-own"
)

// linksChanged looks at the interfaces of the floating addresses: without them
// this member hands over at once, and is no candidate.
func (e *election) linksChanged() {
	if e.links == nil || e.core == nil {
		return // run looks once there is a core
	}
	err := e.links.Usable()
	was := e.fitness.cut
	own := errors.Is(err, floatingip.ErrOwnAddress)
	e.fitness.ownAddress, e.fitness.cut = own, err != nil && !own
	if !own {
		e.findings.Clear(ownAddress, e.self.Name)
	}
	if err == nil || own {
		e.findings.Clear(noLink, e.self.Name)
	}
	if own {
		e.findings.Set(0, 0, ownFinding(e.self.Name, err.Error()))
		e.judgeFitness()
		return
	}
	if err == nil {
		if was {
			e.member.agent.gossip.Rejoin()
		}
		e.member.lookFor(e)
		return
	}
	e.findings.Set(0, 0, Finding{What: noLink, Member: e.self.Name, Evidence: err.Error(), Advice: linkAdvice(err), Degrades: true})
	if e.last.Leading {
		e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.CarrierLost})
	}
	e.judgeFitness()
}

// watchLinks watches the interfaces of the floating addresses. Before the group is joined
// it returns an error if the kernel cannot be asked for changes; later that is tried again.
func (e *election) watchLinks() error {
	links, err := floatingip.WatchLinks(e.cfg.floating, e.noteWatching)
	switch {
	case err == nil:
	case links == nil || e.member.begun == 0:
		links.Close()
		return fmt.Errorf("floating-ip: %w", err)
	default:
		e.noteWatching(err)
	}
	e.links = links
	return nil
}

// noteWatching has the log tell that the kernel cannot be asked for changes of the
// interfaces, and with nil that it can again.
func (e *election) noteWatching(err error) {
	if err != nil {
		e.log.Warn("the interfaces of the floating addresses cannot be watched, which is tried again; until then a change is seen up to a second late", "error", err)
		return
	}
	e.log.Info("the interfaces of the floating addresses are watched again")
}

// linkAdvice is what to do about an interface that cannot be used.
func linkAdvice(err error) string {
	switch {
	case errors.Is(err, floatingip.ErrSetDown):
		return "Set the interface up: ip link set dev INTERFACE up."
	case errors.Is(err, floatingip.ErrNoInterface):
		return "Name an interface of this host in --floating-ip, or create it."
	case errors.Is(err, floatingip.ErrNoARP):
		return "Set arp_ignore to 0 or 1, and start the agent again."
	}
	return "Look at the cable and the switch."
}

// judgeAddress looks whether this member can be reached at its address: without
// that it hands over at once, and is no candidate.
func (e *election) judgeAddress() {
	if e.member.view.Stray == "" {
		e.findings.ClearShared(addressGone, e.self.Name)
		return
	}
	e.findings.Share(0, 0, Finding{
		What: addressGone, Member: e.self.Name, Evidence: e.member.view.Stray, Degrades: true,
		Advice: "Give the host an address again; what --advertise-addr and --bind-addr name must be an address of this host.",
	})
	if e.last.Leading {
		e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.AddressGone})
	}
}

// judgeMode looks, in available mode, whether the group is one of quorum mode: two voters
// or more, and no fewer than the members of available mode. Their majority may have a
// leader that asks no member of available mode, so this one must not lead beside it. One
// member with --voters in a group without is no such group: it wins nothing by itself.
func (e *election) judgeMode() {
	if e.cfg.quorum() {
		return
	}
	votes, others := 0, 0
	for _, p := range e.member.view.Members {
		switch {
		case p.Mode == e.cfg.mode():
			others++
		case p.Voter != "":
			votes++
		}
	}
	if e.fitness.quorum = votes > 1 && votes >= others; e.fitness.quorum && e.last.Leading {
		e.step(seniority.Input{Kind: seniority.Fired, Term: e.last.Term, Reason: seniority.WrongElectorate})
	}
}

// findOwners looks whether a floating address is the advertised one of another
// member: then no member may take it.
func (e *election) findOwners() {
	var owners []string
	for _, p := range e.member.view.Members {
		for _, a := range e.cfg.floating {
			if p.Name != e.self.Name && p.Addr.Addr().Unmap() == a.IP() {
				owners = append(owners, p.Name)
				e.findings.Set(0, 0, ownFinding(p.Name, fmt.Sprintf("floating address %s is the address of %s itself", a, p.Name)))
			}
		}
	}
	for _, name := range e.fitness.owners {
		if !slices.Contains(owners, name) {
			e.findings.Clear(ownAddress, name)
		}
	}
	e.fitness.owners = owners
}

func ownFinding(member, evidence string) Finding {
	return Finding{
		What: ownAddress, Member: member, Evidence: evidence, Degrades: true,
		Advice: "Give an address in --floating-ip that no host has; until then no member that knows of it may lead.",
	}
}
