package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// memberlist dials its seeds once and forgets the dead after half a minute, so
// two halves of a group that were apart for longer never meet again. This file
// dials for ever: the seeds, and every member that has been in the view and is
// missing from it now.

const (
	// firstRetry is the pause after the first dial that failed; it doubles up
	// to retryCap, so that a healed partition is found within seconds.
	firstRetry = 250 * time.Millisecond
	retryCap   = 5 * time.Second
	// From crowd members on, the pause grows with the group, for whoever comes
	// back needs only one of them to dial; it never exceeds crowdCap.
	crowd    = 50
	crowdCap = time.Minute
	// startExchanges is how often states are exchanged with a seed that has been
	// dialled, within its first second: of members that join at the same time
	// as this one the seed may hear a little later, and gossip may miss some.
	startExchanges = 3
	// recheck is how old what a seed resolves to may become.
	recheck = 30 * time.Second
	// dialSlots bounds the dials under way, dialPace spaces those to missing
	// members.
	dialSlots = 8
	dialPace  = 250 * time.Millisecond
	// unreachedAfter is when a seed that never answered becomes a finding.
	unreachedAfter = 15 * time.Second
)

// retryLimit is the longest pause between two dials of one address in a group
// of n others.
func retryLimit(n int) time.Duration {
	return min(retryCap*time.Duration(max(n, crowd))/crowd, crowdCap)
}

// jitter spreads d by a quarter to either side.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// outcome is how a dial ended.
type outcome uint8

const (
	silent  outcome = iota // nobody answered, or nobody that makes sense
	joined                 // the states have been exchanged
	refused                // the host says that nobody listens, or we may not join
)

// joiner dials seeds and missing members until its context ends.
type joiner struct {
	*Gossip
	ctx   context.Context
	slots chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	seeds []*seedState
}

// seedState is a seed and what became of it.
type seedState struct {
	seed
	since    time.Time
	answered map[netip.AddrPort]bool
	joins    map[netip.AddrPort]int // exchanges of states, up to startExchanges
	done     bool                   // everything it stands for has answered or refused
	reached  bool                   // something of it has answered
	evidence string                 // why nothing has
}

func newJoiner(ctx context.Context, g *Gossip, seeds []seed) *joiner {
	j := &joiner{Gossip: g, ctx: ctx, slots: make(chan struct{}, dialSlots)}
	for _, s := range seeds {
		j.seeds = append(j.seeds, &seedState{
			seed: s, since: time.Now(), evidence: "not resolved yet",
			answered: map[netip.AddrPort]bool{}, joins: map[netip.AddrPort]int{},
		})
	}
	return j
}

// run starts dialling.
func (j *joiner) run() {
	j.wg.Add(2 + len(j.seeds))
	for _, s := range j.seeds {
		go j.keepSeed(s)
	}
	go j.keepMembers()
	go j.keepInStep()
}

// pause waits, and reports false when it is time to end.
func (j *joiner) pause(d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-j.ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return true
}

// keepSeed resolves one seed again and again and dials what is missing of it.
func (j *joiner) keepSeed(s *seedState) {
	defer j.wg.Done()
	var addrs []netip.AddrPort
	var at time.Time
	delay := firstRetry
	for {
		if at.IsZero() || delay > firstRetry || time.Since(at) > recheck {
			fresh, err := s.resolve(j.ctx, j.cfg.Resolver, j.bound)
			j.resolved(s, err)
			if err == nil || len(fresh) > 0 {
				addrs, at = fresh, time.Now()
			}
		}
		// A name that stands for this member alone may not have got the others'
		// addresses yet.
		if j.trySeed(s, addrs, !at.IsZero()) && !at.IsZero() && j.roster.size() > 0 {
			delay = firstRetry
			if !j.pause(jitter(retryLimit(j.roster.size())), nil) {
				return
			}
			continue
		}
		if !j.pause(jitter(delay), nil) {
			return
		}
		delay = min(2*delay, retryLimit(j.roster.size()))
	}
}

// resolved notes how the look-up of a seed went.
func (j *joiner) resolved(s *seedState, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case s.reached:
	case err != nil:
		s.evidence = err.Error()
	default:
		s.evidence = "it stands for no address"
	}
}

// starting reports whether a seed has been dialled, but not yet often enough.
func (j *joiner) starting(s *seedState, a netip.AddrPort) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return s.joins[a] > 0 && s.joins[a] < startExchanges
}

// trySeed dials every address of a seed that nobody in the view has, and
// reports whether there was none.
func (j *joiner) trySeed(s *seedState, addrs []netip.AddrPort, resolved bool) bool {
	var wg sync.WaitGroup
	all := true
	for _, a := range addrs {
		if j.isSelf(a) || j.roster.handles(a) && !j.starting(s, a) {
			j.answer(s, a, joined, nil)
			continue
		}
		all = false
		if !j.acquire() {
			break
		}
		wg.Go(func() {
			defer j.release()
			o, err := j.dial(a)
			j.answer(s, a, o, err)
			j.count(s, a, o)
		})
	}
	wg.Wait()
	if resolved {
		j.settle(s, addrs)
	}
	return all
}

// answer notes how the dial of one address of a seed ended.
func (j *joiner) answer(s *seedState, a netip.AddrPort, o outcome, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o != silent {
		s.answered[a] = true
	}
	if o == joined {
		s.reached = true
	} else if !s.reached && err != nil {
		s.evidence = err.Error()
	}
}

// count notes an exchange of states. If it fails the member is as missing as
// any other, so the next one begins anew.
func (j *joiner) count(s *seedState, a netip.AddrPort, o outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o != joined {
		delete(s.joins, a)
	} else if s.joins[a] < startExchanges {
		s.joins[a]++
	}
}

// settle notes when everything that a seed stands for has answered or refused.
func (j *joiner) settle(s *seedState, addrs []netip.AddrPort) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s.done {
		return
	}
	for _, a := range addrs {
		if !s.answered[a] {
			return
		}
	}
	s.done = true
	j.roster.seedDone()
}

// findings tells of the seeds that have never been reached.
func (j *joiner) findings() []Finding {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []Finding
	for _, s := range j.seeds {
		if !s.reached && time.Since(s.since) > unreachedAfter {
			all = append(all, newFinding(foundSeed, s.text, s.evidence))
		}
	}
	return all
}

// seeks reports whether a seed stands for an address of this host.
func (j *joiner) seeks(host string) bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.seeds, func(s *seedState) bool {
		for a := range s.answered {
			if a.Addr().String() == host {
				return true
			}
		}
		return false
	})
}

// keepMembers dials the missing members, whichever is due first, never faster
// than dialPace however many there are.
func (j *joiner) keepMembers() {
	defer j.wg.Done()
	for {
		name, addr, wait := j.roster.nextMissing(time.Now())
		if wait > 0 {
			if !j.pause(wait, j.roster.lost) {
				return
			}
			continue
		}
		if !j.acquire() {
			return
		}
		j.wg.Go(func() {
			defer j.release()
			o, _ := j.dial(addr)
			j.roster.dialled(name, o)
		})
		if !j.pause(jitter(dialPace), nil) {
			return
		}
	}
}

// acquire waits for the right to dial; false: it is time to end.
func (j *joiner) acquire() bool {
	select {
	case j.slots <- struct{}{}:
		return j.ctx.Err() == nil
	case <-j.ctx.Done():
		return false
	}
}

func (j *joiner) release() { <-j.slots }

// dial exchanges states with whoever answers at an address.
func (j *joiner) dial(a netip.AddrPort) (outcome, error) {
	_, err := j.list.Join([]string{a.String()})
	cause := j.mux.lastDial(a.String())
	switch {
	case err == nil:
		return joined, nil
	case errors.Is(cause, syscall.ECONNREFUSED):
		return refused, fmt.Errorf("%s refuses connections: no agent listens there", a)
	case cause != nil:
		return silent, fmt.Errorf("%s does not answer: %w", a, cause)
	case j.roster.isClashing():
		return refused, errClash
	case wrongKey.MatchString(err.Error()):
		j.ledger.undecryptable(a.String())
		return refused, fmt.Errorf("%s has no key in common with this member", a)
	}
	return silent, fmt.Errorf("%s answers, but not as a member of this cluster", a)
}
