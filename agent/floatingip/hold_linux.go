package floatingip

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// lifetimeEvery is the least time between two renewals of the addresses'
	// lifetimes while nftables guards them: each is told to every program on
	// the host that listens for address changes.
	lifetimeEvery = 500 * time.Millisecond
	// leastLifetime, in seconds, outlives lifetimeEvery and a renewal of a
	// second, so that no address goes while a leader renews.
	leastLifetime = 2
	// restoreEvery is the least time between two repairs, so that a quarrel
	// with another program does not take a whole core.
	restoreEvery = 100 * time.Millisecond
	// lifetimeLate is how long after its lifetime the kernel may still have an
	// address: it looks once a second at most (ADDRCONF_TIMER_FUZZ_MAX).
	lifetimeLate = 1100 * time.Millisecond
	// slowestTick is the longest tick that Linux is built with (100 a second);
	// the kernel counts the gate's time in ticks.
	slowestTick = 10 * time.Millisecond
	// firstSlack is how long a renewal of the gate may take before it is done
	// again with more.
	firstSlack = 5 * time.Millisecond
)

// extend moves the gate and the lifetimes on to until. An address that is not
// there is for check to put back.
func (s *Set) extend(until time.Duration) error {
	if err := s.extendGate(until); err != nil {
		return err
	}
	s.until = until
	now := s.cfg.Now()
	if s.gate != nil && now-s.aged < lifetimeEvery {
		return nil
	}
	s.aged = now
	return s.each(func(a Address, link netlink.Link) error {
		if there, err := s.net.has(a, link); !there {
			return err
		}
		return s.put(a, link)
	})
}

// extendGate opens the gate until `until` at the latest. The kernel counts from
// when it reads the order; so the order leaves out some slack, and is repeated
// with more if it took longer than that. The clock is read after each order: a
// process that was stopped in between would otherwise leave the gate open late.
func (s *Set) extendGate(until time.Duration) error {
	if s.gate == nil {
		return nil
	}
	for slack := firstSlack; ; slack *= 2 {
		before := s.cfg.Now()
		if before+slack >= until {
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

// cutOff is the time of a lease that the kernel's cut-off may cost. The gate may
// shut early by the slack and by two ticks (the one under way, and the fraction
// of one that the kernel drops); a lifetime must be one second at least.
func cutOff(guarded bool) time.Duration {
	if guarded {
		return firstSlack + 2*slowestTick
	}
	return lifetimeLate + time.Second
}

// openGate opens the gate, and makes it anew if somebody removed it.
func (s *Set) openGate(d time.Duration) error {
	err := s.gate.open(d)
	if !isGone(err) {
		return err
	}
	s.say(Finding{
		What:     "floating-ip-tables-removed",
		Evidence: fmt.Sprintf("the nftables tables %s were gone and have been made again", s.gate.tables[0].Name),
		Advice:   "let the program that loads the host's firewall leave other programs' tables alone (no `flush ruleset`)",
	})
	if err := s.gate.install(); err != nil {
		return err
	}
	return s.gate.open(d)
}

// lifetime is the valid lifetime in seconds for an address to be held for left.
// Behind a gate it is a clean-up and ends late rather than early; alone it must
// end in time, for which the kernel may take lifetimeLate more. 0: it cannot.
func lifetime(left time.Duration, guarded bool) int {
	if guarded {
		return max(leastLifetime, int((left+time.Second-1)/time.Second))
	}
	return int(max(left-lifetimeLate, 0) / time.Second)
}

// put gives an address, or its lifetime, to link.
func (s *Set) put(a Address, link netlink.Link) error {
	left := s.until - s.cfg.Now()
	seconds := lifetime(left, s.gate != nil)
	if seconds == 0 {
		return fmt.Errorf("%w: %v are left, too few for a lifetime in seconds", ErrNotLeading, left)
	}
	return s.net.put(a, link, seconds)
}

// putAll puts every address. Leads is asked before and after, for a process may
// be stopped in between; on ErrNotLeading the caller drops them all.
func (s *Set) putAll() error {
	return s.each(func(a Address, link netlink.Link) error {
		if !s.cfg.Leads() {
			return ErrNotLeading
		}
		if err := s.put(a, link); err != nil {
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
	s.held, s.until = false, 0
	var errs []error
	if s.gate != nil {
		errs = append(errs, s.gate.shut())
	}
	for i := len(s.cfg.Addresses) - 1; i >= 0; i-- {
		errs = append(errs, s.net.remove(s.cfg.Addresses[i]))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dropping the floating addresses: %w", err)
	}
	return nil
}

// check puts back what is missing while this node leads: addresses, and tables.
func (s *Set) check() error {
	if !s.held || !s.cfg.Leads() {
		return nil
	}
	if err := s.extendGate(s.until); err != nil {
		return err
	}
	var missing []Address
	err := s.each(func(a Address, link netlink.Link) error {
		there, err := s.net.has(a, link)
		if err == nil && !there {
			missing = append(missing, a)
		}
		return err
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	s.restored = s.cfg.Now()
	for _, a := range missing {
		s.say(Finding{
			What:     "floating-ip-removed",
			Evidence: fmt.Sprintf("%s was gone while this node leads; it is put back", a),
			Advice:   "look for a person or program (a network manager reloading) that removes addresses it did not add",
		})
	}
	if err := s.putAll(); err != nil {
		if errors.Is(err, ErrNotLeading) {
			err = errors.Join(err, s.drop())
		}
		return err
	}
	s.announce()
	return nil
}

// announce sends the first announcement itself and asks for the others.
func (s *Set) announce() {
	s.speak()
	s.Announce()
}

// speak announces every address once.
func (s *Set) speak() {
	if !s.held {
		return
	}
	if err := s.each(s.voice.announce); err != nil {
		s.say(Finding{
			What:     "floating-ip-not-announced",
			Evidence: err.Error(),
			Advice:   "look at the interface: neighbours may keep the former leader's hardware address for some seconds",
		})
	}
}

// each calls f with every address and its interface, and goes on after errors.
func (s *Set) each(f func(Address, netlink.Link) error) error {
	var errs []error
	for _, a := range s.cfg.Addresses {
		link, err := s.net.link(a)
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

// say reports a finding.
func (s *Set) say(f Finding) {
	if s.cfg.Report != nil {
		s.cfg.Report(f)
	}
}
