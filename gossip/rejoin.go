package gossip

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A member whose network was away cannot tell whether the others are dead or
// were only out of its reach. Its own view has lost them, or is as old as the
// cut. So it asks again, as after a start, and says until then that it is apart.

const (
	// rejoinFanout bounds how many members one round asks: one that answers is
	// enough, and in a crowd not all can be asked at once.
	rejoinFanout = 16
	// rejoinCap is the longest pause between two rounds. It is short because a
	// member that is apart may be the only one left, and waits to lead.
	rejoinCap = time.Second
	// rejoinLookup bounds the look-up of the seeds in each round.
	rejoinLookup = time.Second
)

// Rejoin is called when this member may have been cut off: an interface, an
// address or the whole host was away and is back. The view says Apart from now
// on, until one of the seeds or of the other members has exchanged states with
// this one, or all that were asked have refused. It does not block.
func (g *Gossip) Rejoin() {
	g.members.setApart(true)
	g.mu.Lock()
	j := g.joiner
	g.mu.Unlock()
	if j != nil {
		poke(j.again)
	}
}

// setApart notes whether this member may be cut off from others.
func (r *members) setApart(apart bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.apart != apart {
		r.apart = apart
		r.touch()
	}
}

// keepTogether asks the others each time this member may have been cut off.
func (j *joiner) keepTogether() {
	defer j.wg.Done()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-j.again:
		}
		for delay := firstRetry; !j.rejoined(); delay = min(2*delay, rejoinCap) {
			if !j.pause(jitter(delay), j.again) {
				return
			}
		}
		j.gossip.members.setApart(false)
	}
}

// rejoined asks once, and reports whether the others have been found, or are
// known not to be there.
func (j *joiner) rejoined() bool {
	targets := j.allMembers()
	rand.Shuffle(len(targets), func(a, b int) { targets[a], targets[b] = targets[b], targets[a] })
	targets = targets[:min(len(targets), rejoinFanout)]
	outcomes := make([]outcome, len(targets))
	var wg sync.WaitGroup
	for i, a := range targets {
		if !j.acquire() {
			return false
		}
		wg.Go(func() {
			defer j.release()
			outcomes[i], _ = j.dial(a)
		})
	}
	wg.Wait()
	all := true
	for _, o := range outcomes {
		if o == joined {
			return true
		}
		all = all && o == refused
	}
	return all
}

// allMembers lists the addresses of all members that are or were in the view,
// and of all seeds.
func (j *joiner) allMembers() []netip.AddrPort {
	all := map[netip.AddrPort]bool{}
	for _, a := range j.gossip.members.addresses() {
		all[a] = true
	}
	ctx, cancel := context.WithTimeout(j.ctx, rejoinLookup)
	defer cancel()
	found := make([][]netip.AddrPort, len(j.seeds))
	var wg sync.WaitGroup
	for i, s := range j.seeds {
		wg.Go(func() { found[i] = j.lookAgain(ctx, s) })
	}
	wg.Wait()
	for _, a := range slices.Concat(found...) {
		all[a] = true
	}
	var targets []netip.AddrPort
	for a := range all {
		if !j.gossip.isSelf(a) {
			targets = append(targets, a)
		}
	}
	return targets
}

// lookAgain returns what a seed stands for now, as far as that can be told soon.
func (j *joiner) lookAgain(ctx context.Context, s *seedState) []netip.AddrPort {
	if s.kind != seedExec {
		if addrs, err := s.resolve(ctx, j.gossip.cfg.Resolver, j.gossip.bound); err == nil {
			return addrs
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return s.stands
}

// addresses lists where the others are or were reached.
func (r *members) addresses() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]netip.AddrPort, 0, len(r.known))
	for _, k := range r.known {
		all = append(all, k.addr)
	}
	return all
}
