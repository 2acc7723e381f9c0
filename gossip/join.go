package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/portable"
	"doyen/gossip/transport"
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
	// From crowd members on, the pause grows with the group, for a member that comes
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
	// unreachedAfter is when a seed that never answered becomes a finding: before
	// a member that has met no other leads alone, which is after 10 s.
	unreachedAfter = 8 * time.Second
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
	silent  outcome = iota // no answer came, or none that makes sense
	joined                 // the states have been exchanged
	refused                // the host says that nothing listens there, or we may not join
)

// joiner dials seeds and missing members until its context ends.
type joiner struct {
	gossip *Gossip
	ctx    context.Context
	slots  chan struct{}
	again  chan struct{} // capacity one: the others are to be asked again
	wg     sync.WaitGroup

	mu    sync.Mutex
	seeds []*seedState
}

// seedState is a seed and what became of it.
type seedState struct {
	seed
	since    time.Time
	stands   []netip.AddrPort // what it was resolved to last
	answered map[netip.AddrPort]bool
	joins    map[netip.AddrPort]int // exchanges of states, up to startExchanges
	done     bool                   // everything it stands for has answered or refused
	reached  bool                   // something of it has answered
	met      bool                   // a member with an address of it has been seen
	evidence string                 // why nothing has,
	advice   string                 // what to do about that; "": as about any seed
	added    bool                   // it is not in the configuration
}

func newJoiner(ctx context.Context, g *Gossip, seeds []seed) *joiner {
	j := &joiner{gossip: g, ctx: ctx, slots: make(chan struct{}, dialSlots), again: make(chan struct{}, 1)}
	for _, s := range seeds {
		j.seeds = append(j.seeds, newSeedState(s))
	}
	return j
}

func newSeedState(s seed) *seedState {
	return &seedState{
		seed: s, since: time.Now(), evidence: "not resolved yet",
		answered: map[netip.AddrPort]bool{}, joins: map[netip.AddrPort]int{},
	}
}

// run starts dialling.
func (j *joiner) run() {
	for _, s := range j.seeds {
		j.wg.Go(func() { j.keepSeed(s) })
	}
	j.wg.Add(3)
	go j.keepMembers()
	go j.compareViews()
	go j.keepTogether()
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
	var addrs []netip.AddrPort
	var at time.Time
	delay := firstRetry
	for {
		// Members that vanish may be at other addresses now, and a name knows them.
		if at.IsZero() || delay > firstRetry || time.Since(at) > recheck || j.gossip.members.misses() {
			fresh, err := s.resolve(j.ctx, j.gossip.cfg.Resolver, j.gossip.bound)
			j.resolved(s, len(fresh), err)
			if err == nil || len(fresh) > 0 {
				addrs, at = fresh, time.Now()
				j.standsFor(s, fresh)
			}
		}
		// A name that stands for this member alone may not have got the others'
		// addresses yet.
		if j.trySeed(s, addrs, !at.IsZero()) && !at.IsZero() && j.gossip.members.size() > 0 {
			delay = firstRetry
			if !j.pause(jitter(retryLimit(j.gossip.members.size())), nil) {
				return
			}
			continue
		}
		if !j.pause(jitter(delay), nil) {
			return
		}
		delay = min(2*delay, retryLimit(j.gossip.members.size()))
	}
}

// standsFor notes what a seed has been resolved to.
func (j *joiner) standsFor(s *seedState, addrs []netip.AddrPort) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.stands = addrs
}

// resolved notes how the look-up of a seed went.
func (j *joiner) resolved(s *seedState, addrs int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case s.reached:
	case err != nil:
		s.evidence, s.advice = err.Error(), ""
	case addrs == 0:
		s.evidence = "it stands for no address"
	}
}

// starting reports whether a seed has been dialled, but not yet often enough.
func (j *joiner) starting(s *seedState, a netip.AddrPort) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return s.joins[a] > 0 && s.joins[a] < startExchanges
}

// trySeed dials every address of a seed that no member of the view has, and
// reports whether there was none.
func (j *joiner) trySeed(s *seedState, addrs []netip.AddrPort, resolved bool) bool {
	var wg sync.WaitGroup
	all := true
	for _, a := range addrs {
		if j.gossip.isSelf(a) || j.gossip.members.handles(a) && !j.starting(s, a) {
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
		s.evidence, s.advice = err.Error(), adviceFor(err)
	}
}

// The errors of a dial that has reached a host, and not a member.
var (
	errNoKey = errors.New("has no key in common with this member")
	errOther = errors.New("answers, but not as a member of this cluster")
)

// adviceFor is what to do about a dial that has failed; "": as about any seed.
func adviceFor(err error) string {
	switch {
	case errors.Is(err, errNoKey):
		return findings.New(findings.Undecryptable, "", "").Advice
	case errors.Is(err, errOther):
		return "see that it is an agent, and give it this member's --cluster if it belongs here, or take it out of --seeds"
	case errors.Is(err, errClash):
		return findings.New(findings.NameClash, "", "").Advice
	}
	return ""
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
	j.gossip.members.seedDone()
}

// seedFindings tells of the seeds that have never been reached, by a dial or otherwise,
// and of those that are not in the settings.
func (j *joiner) seedFindings() []findings.Finding {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []findings.Finding
	for _, s := range j.seeds {
		// A member that has just started may be in the view before it answers a dial.
		// One that was there may have another address since.
		s.met = s.met || slices.ContainsFunc(s.stands, j.gossip.members.handles)
		if !s.reached && !s.met && time.Since(s.since) > unreachedAfter {
			f := findings.New(findings.SeedUnreached, s.text, s.evidence)
			f.Advice = cmp.Or(s.advice, f.Advice)
			all = append(all, f)
		}
		if s.added {
			all = append(all, findings.New(findings.SeedAdded, s.text, "it was added while this member ran, and is not in its settings"))
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
		name, addr, wait := j.gossip.members.nextMissing(time.Now())
		if wait > 0 {
			if !j.pause(wait, j.gossip.members.lost) {
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
			j.gossip.members.dialled(name, o)
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

// dial exchanges states with the member that answers at an address.
func (j *joiner) dial(a netip.AddrPort) (outcome, error) {
	_, err := j.gossip.list.Join([]string{a.String()})
	cause := j.gossip.mux.LastDial(a.String())
	switch {
	case err == nil:
		return joined, nil
	case errors.Is(cause, portable.Refused):
		return refused, fmt.Errorf("%s refuses connections: no agent listens there", a)
	case cause != nil:
		return silent, fmt.Errorf("%s does not answer: %w", a, cause)
	case j.gossip.members.isClashing():
		return refused, errClash
	case wrongKey.MatchString(err.Error()):
		j.gossip.findings.Undecryptable(transport.HostOf(a.String()))
		return refused, fmt.Errorf("%s %w", a, errNoKey)
	}
	return silent, fmt.Errorf("%s %w", a, errOther)
}
