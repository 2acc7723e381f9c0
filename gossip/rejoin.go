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
	// rejoinFanout bounds how many members, and how many seeds, one round asks: one that
	// answers is enough, and in a crowd not all can be asked at once.
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

// rejoined asks once, and reports whether the others have been found, or are known not to
// be there. The first that answers ends it: one that hangs holds a connection for seconds,
// and a name server may be out of reach.
func (j *joiner) rejoined() bool {
	outcomes := make(chan outcome, 2*rejoinFanout)
	known := j.gossip.members.addresses()
	pending, ok := j.askEach(known, outcomes)
	looked := make(chan []netip.AddrPort, 1)
	j.wg.Go(func() { looked <- j.seedAddresses() })
	all := true
	for ok && (pending > 0 || looked != nil) {
		select {
		case o := <-outcomes:
			pending--
			if o == joined {
				return true
			}
			all = all && o == refused
		case addrs := <-looked:
			looked = nil
			var more int
			more, ok = j.askEach(slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return slices.Contains(known, a) }), outcomes)
			pending += more
		}
	}
	return ok && all
}

// askEach begins to exchange states with some of these, and returns with how many; false:
// this member ends.
func (j *joiner) askEach(targets []netip.AddrPort, outcomes chan<- outcome) (n int, ok bool) {
	targets = slices.DeleteFunc(targets, j.gossip.isSelf)
	rand.Shuffle(len(targets), func(a, b int) { targets[a], targets[b] = targets[b], targets[a] })
	for _, a := range targets[:min(len(targets), rejoinFanout)] {
		if !j.acquire() {
			return n, false
		}
		n++
		j.wg.Go(func() {
			defer j.release()
			o, _ := j.dial(a)
			outcomes <- o
		})
	}
	return n, true
}

// seedAddresses returns what the seeds stand for now.
func (j *joiner) seedAddresses() []netip.AddrPort {
	ctx, cancel := context.WithTimeout(j.ctx, rejoinLookup)
	defer cancel()
	found := make([][]netip.AddrPort, len(j.seeds))
	var wg sync.WaitGroup
	for i, s := range j.seeds {
		wg.Go(func() { found[i] = j.lookAgain(ctx, s) })
	}
	wg.Wait()
	all := slices.Concat(found...)
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
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
