package floatingip

import (
	"errors"
	"fmt"
	"slices"
)

// Change goes on with other addresses: those that are not wanted any more are
// dropped, with their tables; new ones are guarded and, while addresses are held,
// put and announced. The others are not touched. The caller has the locks of all, and
// has called Begin. After an error the Set goes on with those addresses that it had before
// and is to have, and with all once they are guarded: another Change with the same tries again.
func (s *Set) Change(addrs []Address) error {
	links, err := s.change(addrs)
	if err != nil {
		links.Close()
		return fmt.Errorf("changing the floating addresses: %w", err)
	}
	select {
	case s.relink <- links:
	case <-s.done:
		links.Close()
	}
	return nil
}

// change returns what watches the interfaces of the addresses; nil: the Set is closed.
func (s *Set) change(addrs []Address) (*Links, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, errors.New("they have been closed")
	}
	links, _ := s.feed.watchLinks(addrs, nil) // as in openSockets
	err := s.changeTo(addrs)
	unchanged := err
	if errors.Is(err, ErrNotLeading) || errors.Is(err, ErrOwnAddress) {
		unchanged = nil // they are the addresses now, and cannot be held
	}
	s.lasting(NotChanged, unchanged, "see why; it is tried again, and the addresses that were there before are held meanwhile")
	return links, err
}

// changeTo does the rest of change. The caller holds mu.
func (s *Set) changeTo(addrs []Address) error {
	among := func(list []Address) func(Address) bool {
		return func(a Address) bool { return slices.Contains(list, a) }
	}
	gone := slices.DeleteFunc(slices.Clone(s.cfg.Addresses), among(addrs))
	added := slices.DeleteFunc(slices.Clone(addrs), among(s.cfg.Addresses))
	if err := s.dropSome(gone); err != nil {
		return err
	}
	s.use(slices.DeleteFunc(slices.Clone(s.cfg.Addresses), among(gone)))
	if err := s.guardAlso(addrs, added); err != nil {
		return err
	}
	s.use(addrs)
	if !s.isHeld() {
		return nil
	}
	if len(addrs) == 0 {
		s.event(Event{What: GivenUp, Gone: States(gone)})
		return nil
	}
	err := s.refused()
	if err == nil {
		err = s.reopen()
	}
	if err == nil {
		err = s.putAll()
	}
	if err != nil {
		if errors.Is(err, ErrNotLeading) {
			err = errors.Join(err, s.drop())
		}
		return err
	}
	s.setHeld(true)
	s.event(Event{What: Taken, Gone: States(gone)})
	s.announce()
	return nil
}

// use goes on with these addresses, which are guarded. The caller holds mu.
func (s *Set) use(addrs []Address) {
	s.cfg.Addresses = addrs
	s.feed.change(s.reader, addrs)
	s.shown.Lock()
	defer s.shown.Unlock()
	s.state = mergeStates(s.state, States(addrs))
}

// dropSome drops some of the addresses, and the tables that guard them: first they
// are cut off.
func (s *Set) dropSome(gone []Address) error {
	if err := s.shutSome(gone); err != nil {
		return err
	}
	var errs []error
	for _, a := range gone {
		_, err := s.net.remove(a)
		errs = append(errs, err)
	}
	s.cut.Lock()
	defer s.cut.Unlock()
	if err := errors.Join(errs...); err != nil || s.gate == nil {
		return err
	}
	theirs := s.gate.of(gone)
	s.gate.use(slices.DeleteFunc(s.gate.guards, func(x guard) bool { return slices.Contains(gone, x.addr) }))
	if err := s.gate.takeAway(theirs); err != nil {
		return fmt.Errorf("removing tables of nftables: %w", err)
	}
	return nil
}

// shutSome cuts some of the addresses off.
func (s *Set) shutSome(addrs []Address) error {
	s.cut.Lock()
	defer s.cut.Unlock()
	if s.gate == nil {
		return nil
	}
	if err := s.gate.empty(s.gate.of(addrs)); err != nil && !isGone(err) {
		return fmt.Errorf("emptying sets of nftables: %w", err)
	}
	return nil
}

// guardAlso installs the tables of new addresses, shut, which are addrs with the old. If the
// host has one of them itself, or had one of the old, all tables are made anew.
func (s *Set) guardAlso(addrs, added []Address) error {
	own := len(s.own) > 0
	for _, a := range added {
		where, err := s.net.own(a)
		if err != nil {
			return err
		}
		own = own || where != ""
	}
	if own || s.gate == nil {
		if len(added) > 0 {
			s.own = nil // so that guardThese looks at everything again
		}
		return s.guardThese(addrs)
	}
	s.cut.Lock()
	defer s.cut.Unlock()
	more := newGuards(tablePrefix, added)
	if err := s.gate.clearOthers(more); err != nil {
		return err
	}
	return s.gate.add(more)
}

// mergeStates returns states, with what is known of those that were there.
func mergeStates(old, states []State) []State {
	for i := range states {
		for _, o := range old {
			if o.Address == states[i].Address && o.Interface == states[i].Interface {
				states[i] = o
			}
		}
	}
	return states
}
