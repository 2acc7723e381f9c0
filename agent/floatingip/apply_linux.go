package floatingip

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// leastLifetime, in seconds, outlives lifetimeEvery and a renewal of a
	// second, so that no address goes while a leader renews.
	leastLifetime = 2
	// restoreEvery is the least time between two repairs, so that a quarrel
	// with another program does not take a whole core, and `ip addr flush`, which
	// gives up when there is something left after ten rounds, comes to its end.
	restoreEvery = 50 * time.Millisecond
	// lifetimeLate is how long after its lifetime the kernel may still have an
	// address: it looks once a second at most (ADDRCONF_TIMER_FUZZ_MAX).
	lifetimeLate = 1100 * time.Millisecond
	// slowestTick is the longest tick that Linux is built with (100 a second).
	slowestTick = 10 * time.Millisecond
	// firstSlack is how long a renewal of the gate may take before it is done
	// again with more.
	firstSlack = 5 * time.Millisecond
)

// open holds the addresses from now on, and opens the gate until `until`, or until
// what a renewal has brought meanwhile.
func (s *Set) open(until time.Duration) error {
	s.cut.Lock()
	defer s.cut.Unlock()
	if !s.cfg.Leads() {
		return ErrNotLeading
	}
	s.held, s.until, s.ageAt = true, max(until, s.until), s.cfg.Now()+lifetimeEvery
	return s.extendGate(s.until)
}

// reopen puts back what somebody has taken from the gate.
func (s *Set) reopen() error {
	s.cut.Lock()
	defer s.cut.Unlock()
	if !s.held {
		return ErrNotLeading
	}
	return s.extendGate(s.until)
}

// isHeld reports whether the addresses are held.
func (s *Set) isHeld() bool {
	s.cut.Lock()
	defer s.cut.Unlock()
	return s.held
}

// extendGate opens the gate until `until` at the latest. The kernel counts from
// when it reads the order; so the order leaves out some slack, and is repeated
// with more if it took longer than that. The clock is read after each order: a
// process that was stopped in between would otherwise leave the gate open late. The
// caller holds cut.
func (s *Set) extendGate(until time.Duration) error {
	if s.gate == nil {
		return nil
	}
	for slack := firstSlack; ; slack *= 2 {
		before := s.cfg.Now()
		if before+slack+leastTimeout > until {
			s.cutOffLate("a renewal came too late, and the kernel cuts the addresses off until the next one")
			return errors.Join(fmt.Errorf("%w in time to renew the cut-off", ErrNotLeading), s.gate.shut())
		}
		if err := s.openGate(until - before - slack); err != nil {
			return err
		}
		if s.cfg.Now()-before <= slack {
			return nil
		}
	}
}

func (s *Set) cutOffLate(evidence string) {
	s.event(Event{
		What:     CutOffLate,
		Evidence: evidence,
		Advice:   "see why the agent or its keeper was late: a busy or paused host, or a lease too short for it",
	})
}

// tick is the length of the kernel's tick, in which it counts the gate's time:
// the resolution of its coarse clocks (clock_getres(2)), which a tick moves on.
var tick = sync.OnceValue(func() time.Duration {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &res); err != nil {
		return slowestTick
	}
	return min(max(time.Duration(res.Nano()), time.Millisecond), slowestTick)
})

// cutOff is the time of a lease that the kernel's cut-off may cost. The gate may
// shut early by the slack and by two ticks (the one under way, and the fraction
// of one that the kernel drops); a lifetime must be one second at least.
func cutOff(guarded bool) time.Duration {
	if guarded {
		return firstSlack + 2*tick()
	}
	return lifetimeLate + time.Second
}

// openGate opens the gate for d, and makes it anew if somebody removed it.
func (s *Set) openGate(d time.Duration) error {
	err := s.gate.open(d)
	if !isGone(err) {
		return err
	}
	s.event(Event{
		What:     TablesRemoved,
		Evidence: fmt.Sprintf("the nftables tables %s were gone and have been made again", tableNames(s.gate.guards)),
		Advice:   "let the program that loads the host's firewall leave other programs' tables alone (no `flush ruleset`)",
	})
	return s.gate.install(s.gate.guards, d)
}

// lifetime is the valid lifetime in seconds for an address to be held for left.
// As a clean-up only, behind a gate or in available mode, it ends late rather than
// early; else it must end in time, for which the kernel may take lifetimeLate
// more. 0: it cannot.
func lifetime(left time.Duration, cleanUp bool) int {
	if cleanUp {
		return max(leastLifetime, int((left+time.Second-1)/time.Second))
	}
	return int(max(left-lifetimeLate, 0) / time.Second)
}

// seconds is the lifetime to give to an address now.
func (s *Set) seconds() (int, error) {
	s.cut.Lock()
	left := s.until - s.cfg.Now()
	s.cut.Unlock()
	seconds := lifetime(left, s.gate != nil || !s.cfg.Quorum)
	if seconds == 0 {
		return 0, fmt.Errorf("%w: %v are left, too few for a lifetime in seconds", ErrNotLeading, left)
	}
	return seconds, nil
}

// putAll puts every address. Leads is asked before and after, for a process may
// be stopped in between; on ErrNotLeading the caller drops them all.
func (s *Set) putAll() error {
	now := s.cfg.Now()
	return each(s.cfg.Addresses, s.net.link, func(a Address, link netlink.Link) error {
		if !s.cfg.Leads() {
			return ErrNotLeading
		}
		seconds, err := s.seconds()
		if err != nil {
			return err
		}
		s.expires = now + time.Duration(seconds)*time.Second
		if err := s.net.put(a, link, seconds); err != nil {
			return err
		}
		if !s.cfg.Leads() {
			return ErrNotLeading
		}
		return nil
	})
}

// drop shuts the gate first: that alone stops the answers.
func (s *Set) drop() error {
	s.cut.Lock()
	errs := []error{s.shut()}
	s.cut.Unlock()
	for _, what := range []string{NotAnnounced, NotProlonged} { // found of addresses that are held
		s.lasting(what, nil, "")
	}
	removed := false
	for i := len(s.cfg.Addresses) - 1; i >= 0; i-- {
		there, err := s.net.remove(s.cfg.Addresses[i])
		removed = removed || there
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dropping the floating addresses: %w", err)
	}
	if s.setHeld(false) || removed {
		s.event(Event{What: GivenUp})
	}
	return nil
}

// holds reports whether the addresses are to be on their interfaces: they are
// held, and none has become the host's own, which ends that.
func (s *Set) holds() (bool, error) {
	if err := s.guard(); err != nil {
		return false, err
	}
	if !s.isHeld() || !s.cfg.Leads() {
		return false, nil
	}
	if err := s.refused(); err != nil {
		return false, errors.Join(err, s.drop())
	}
	return true, nil
}

// restore puts back the addresses that are missing or out of their place while
// this node leads.
func (s *Set) restore() error {
	if held, err := s.holds(); !held {
		return err
	}
	return s.restoreHeld()
}

// restoreHeld is restore where holds has just said that they are to be there.
func (s *Set) restoreHeld() error {
	var missing []string
	gone, displaced := false, false
	err := each(s.cfg.Addresses, s.net.index, func(a Address, link int) error {
		there, placed, err := s.net.has(a, link)
		if err == nil && !there && !s.net.wentWithOwn(a, link) {
			missing = append(missing, a.String())
		}
		gone, displaced = gone || err == nil && !there, displaced || err == nil && !placed
		return err
	})
	if err == nil && !displaced && s.setHeld(true) {
		s.event(Event{What: PutBack}) // its interface has its name again
	}
	if err != nil || !displaced {
		return err
	}
	s.restored = s.cfg.Now()
	expired := s.restored >= s.expires
	if err := s.putAll(); err != nil {
		if errors.Is(err, ErrNotLeading) {
			err = errors.Join(err, s.drop())
		}
		return err
	}
	s.setHeld(true)
	switch {
	case len(missing) > 0 && expired:
		s.cutOffLate(strings.Join(missing, ", ") + " went at the end of its lifetime, for no renewal came in time, and has been put back")
	case len(missing) > 0:
		s.event(Event{
			What:     Removed,
			Evidence: fmt.Sprintf("%s was gone while this node leads, and has been put back", strings.Join(missing, ", ")),
			Advice:   "look for a person or program (a network manager reloading) that removes addresses it did not add",
		})
	}
	if gone {
		s.event(Event{What: PutBack})
	}
	s.announce()
	return nil
}

// lapse takes in that the kernel has cut the addresses off at the end of their time, and
// returns how long that is ahead; 0: it is over, or there is none.
func (s *Set) lapse() time.Duration {
	s.cut.Lock()
	defer s.cut.Unlock()
	if !s.held || s.gate == nil {
		return 0
	}
	if left := s.until - s.cfg.Now(); left > 0 {
		return left
	}
	if s.setHeld(false) {
		s.event(Event{What: NotHeld})
	}
	return 0
}

// see takes in which addresses are not on their interfaces any more.
func (s *Set) see() {
	gone := map[int]bool{}
	for i, a := range s.cfg.Addresses {
		link, err := s.net.index(a)
		there := false
		if err == nil {
			there, _, err = s.net.has(a, link)
		}
		if !there && (err == nil || errors.Is(err, ErrNoInterface)) {
			gone[i] = true
		}
	}
	if s.setSomeHeld(false, func(i int) bool { return gone[i] }) {
		s.event(Event{What: NotHeld})
	}
}

// announce sends the first announcement itself and asks for the others.
func (s *Set) announce() {
	s.announceAll()
	s.Announce()
}

// announceAll announces every address once.
func (s *Set) announceAll() {
	if !s.isHeld() {
		return
	}
	s.lasting(NotAnnounced, each(s.cfg.Addresses, s.net.link, s.announcer.announce),
		"look at the interface: neighbours may keep the former leader's hardware address for some seconds")
}

// each calls f with every address and its interface, and goes on after errors.
func each[Link any](addrs []Address, find func(Address) (Link, error), f func(Address, Link) error) error {
	var errs []error
	for _, a := range addrs {
		link, err := find(a)
		if err == nil {
			err = f(a, link)
		}
		if errors.Is(err, ErrNotLeading) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// event reports an event, with the state of the addresses after it.
func (s *Set) event(e Event) {
	if s.cfg.Report != nil {
		s.shown.Lock()
		defer s.shown.Unlock()
		e.Addresses = slices.Clone(s.state)
		s.cfg.Report(e)
	}
}

// lasting reports a finding when err begins to be there, and when it has ended.
func (s *Set) lasting(what string, err error, advice string) {
	s.shown.Lock()
	was := s.found[what]
	s.found[what] = err != nil
	s.shown.Unlock()
	if was == (err != nil) {
		return
	}
	if err == nil {
		s.event(Event{What: what, Over: true})
		return
	}
	s.event(Event{What: what, Evidence: err.Error(), Advice: advice})
}

// setHeld notes whether the addresses are held, and reports whether that has changed.
func (s *Set) setHeld(held bool) (changed bool) {
	return s.setSomeHeld(held, func(int) bool { return true })
}

// setSomeHeld notes it of some of the addresses.
func (s *Set) setSomeHeld(held bool, of func(i int) bool) (changed bool) {
	s.shown.Lock()
	defer s.shown.Unlock()
	for i := range s.state {
		if !of(i) {
			continue
		}
		if x := &s.state[i]; x.Held != held {
			x.Held, x.Since, changed = held, time.Now(), true
		}
	}
	return changed
}
