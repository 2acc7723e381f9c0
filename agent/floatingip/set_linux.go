package floatingip

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"doyen/agent/clock"
)

// Set is the floating addresses of one agent. Its methods are safe for
// concurrent use and take a few system calls each. Renew and Cut ask nftables alone.
// The others also wait for the kernel's lock of the network's configuration (rtnl_lock
// in net/core/rtnetlink.c), which all namespaces of the machine share: others hold it
// for seconds while containers start and end.
type Set struct {
	cfg   Config
	links *Links
	again chan struct{} // an announcement was asked for
	ended chan struct{} // no renewal comes any more
	// relink takes what watches the interfaces of other addresses; the goroutine
	// that watches owns links while it runs.
	relink chan *Links
	feed   *feed
	reader *reader // of changes of addresses
	done   chan struct{}
	exited sync.WaitGroup

	closing sync.Once
	closed  error

	// The locks are taken in the order of the fields.
	mu        sync.Mutex // for what follows, and to read gate without cut
	net       ifaces
	announcer *announcer
	begun     bool
	over      bool              // Close was called
	own       map[string]string // the addresses that are the host's own: where
	restored  time.Duration     // when addresses were last put back
	expires   time.Duration     // when the lifetimes that were given last end

	// cut is for what follows. No call that waits for the lock of the network's
	// configuration is made with it, so that none delays a renewal.
	cut   sync.Mutex
	gate  *gate // nil: no nftables here, or not begun
	held  bool
	until time.Duration
	ageAt time.Duration // when the lifetimes are to follow the gate again

	shown sync.Mutex      // for what follows
	found map[string]bool // the lasting findings that have been reported
	state []State
}

// New opens the sockets and subscriptions that Begin and Take need. It changes
// nothing on the host. The error says which capability is missing.
func New(cfg Config) (*Set, error) {
	if err := Capable(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = clock.Boot
	}
	s := &Set{cfg: cfg, again: make(chan struct{}, 1), ended: make(chan struct{}, 1), relink: make(chan *Links), done: make(chan struct{}), found: map[string]bool{}}
	s.state = States(cfg.Addresses)
	if err := s.openSockets(); err != nil {
		s.shutSockets()
		return nil, fmt.Errorf("preparing floating addresses: %w", err)
	}
	s.exited.Go(s.watch)
	return s, nil
}

// Begin installs the tables of nftables, shut, and removes those of another name
// that guard one of the addresses. The caller has taken the locks of the
// addresses: tables that guard them were left behind. It changes no address; the
// first Drop takes away what a crash left. It is called once, before Take.
func (s *Set) Begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	err := s.guard()
	s.cut.Lock()
	defer s.cut.Unlock()
	if s.gate != nil {
		err = errors.Join(err, s.gate.clearOthers(s.gate.guards))
		s.event(Event{What: NotHeld}) // what a former Set has told may be out of date
	}
	return err
}

// guard brings the tables in line with the addresses: one that is the host's own
// has none, since a shut one would cut the host off.
func (s *Set) guard() error { return s.guardThese(s.cfg.Addresses) }

// guardThese is guard for other addresses.
func (s *Set) guardThese(addrs []Address) error {
	if !s.begun {
		return nil
	}
	own := map[string]string{}
	var guarded []Address
	for _, a := range addrs {
		where, err := s.net.own(a)
		if err != nil {
			return err
		}
		if where == "" {
			guarded = append(guarded, a)
			continue
		}
		own[a.String()] = where
	}
	if s.own != nil && maps.Equal(own, s.own) {
		return nil
	}
	s.own = own
	s.cut.Lock()
	defer s.cut.Unlock()
	if s.gate != nil {
		err := s.gate.remove()
		s.gate = nil // its connections are closed in any case
		if err != nil {
			s.own = nil
			return err
		}
	}
	var err error
	s.gate, err = newGate(tablePrefix, guarded)
	s.lasting(NoNftables, err,
		"if agent and keeper both die or freeze, only the addresses' lifetime in whole seconds takes them off; "+
			"load the kernel's nf_tables with inet, arp and fib support")
	return nil
}

// refused says which address cannot be taken because it is the host's own.
func (s *Set) refused() error {
	for a, where := range s.own {
		return fmt.Errorf("floating address %s %w (%s)", a, ErrOwnAddress, where)
	}
	return nil
}

// openSockets opens the sockets and the subscriptions.
func (s *Set) openSockets() (err error) {
	if s.feed, err = shareFeed(); err != nil {
		return err
	}
	s.net = s.feed.requests()
	s.reader = newReader(s.cfg.Addresses)
	s.reader.networks = true
	s.feed.add(s.reader)
	s.feed.ages(s, true)
	if s.announcer, err = newAnnouncer(s.cfg.Leads); err != nil {
		return err
	}
	// The agent watches the same interfaces, and says when it cannot.
	s.links, _ = s.feed.watchLinks(s.cfg.Addresses, nil)
	return nil
}

// shutSockets closes what openSockets has opened.
func (s *Set) shutSockets() error {
	close(s.done)
	s.exited.Wait()
	if s.links != nil {
		s.links.Close()
	}
	if s.feed != nil {
		s.feed.ages(s, false)
		s.feed.remove(s.reader)
		s.feed.leave()
	}
	if s.announcer == nil {
		return nil
	}
	return s.announcer.close()
}

// Take puts the addresses on their interfaces until the boot time given (see
// Renew) and announces them. All are put or, with an error, none.
func (s *Set) Take(until time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.guard()
	if err == nil {
		err = s.refused()
	}
	if err == nil {
		err = s.open(until)
	}
	if err == nil {
		err = s.putAll()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("taking the floating addresses: %w", err), s.drop())
	}
	s.setHeld(true)
	s.event(Event{What: Taken})
	s.announce()
	return nil
}

// Renew lets the addresses answer until the boot time given: the end of the
// lease, or in available mode any time ahead that the caller comes back before.
// It does nothing if they are not held, or held until then. An error that wraps
// ErrNotLeading says that it came too late: the addresses are cut off then. The
// lifetimes follow later.
func (s *Set) Renew(until time.Duration) error {
	s.cut.Lock()
	defer s.cut.Unlock()
	if !s.held || until <= s.until {
		return nil
	}
	late := s.cfg.Now() - s.until
	if err := s.extendGate(until); err != nil {
		return err
	}
	if s.gate != nil && late > 0 {
		s.cutOffLate(fmt.Sprintf("no renewal came in time, and the kernel had cut the addresses off for %v", late.Round(time.Millisecond)))
	}
	s.until = until
	if s.mayAge() {
		s.feed.askToAge()
	}
	return nil
}

// Ended says that no renewal comes any more. It never blocks. That the kernel has cut the
// addresses off at the end of their time is an event then.
func (s *Set) Ended() {
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// Cut has the kernel cut the addresses off, where it has nftables, until they are
// taken again. Drop takes them away.
func (s *Set) Cut() error {
	s.cut.Lock()
	defer s.cut.Unlock()
	if err := s.shut(); err != nil {
		return err
	}
	if s.gate != nil && s.setHeld(false) {
		s.event(Event{What: NotHeld})
	}
	return nil
}

// shut ends what is held. The caller holds cut.
func (s *Set) shut() error {
	s.held, s.until = false, 0
	if s.gate == nil {
		return nil
	}
	return s.gate.shut()
}

// Drop cuts the addresses off and takes them away, where an agent has put them.
// With nil, this host does not answer for them any more, except for one that is
// the host's own.
func (s *Set) Drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

// Check puts back what is missing, reports it, and returns an error if an
// address that should be held is not.
func (s *Set) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, err := s.holds(); !held {
		return err
	}
	if err := s.reopen(); err != nil {
		return err
	}
	return s.restoreHeld()
}

// Announce tells the neighbours again where the addresses are, at once and some
// more times. It is for any sign of another leader. It never blocks.
func (s *Set) Announce() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Close drops the addresses and removes their tables of nftables. If the
// addresses cannot be dropped, the tables stay, shut. Before Begin it touches
// neither: they may be another agent's. The Set is of no use then.
func (s *Set) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.over = true
		var err error
		if s.begun {
			err = s.drop()
		}
		s.cut.Lock()
		if s.gate != nil && err == nil {
			err = s.gate.remove()
		}
		s.cut.Unlock()
		s.mu.Unlock()
		s.closed = errors.Join(err, s.shutSockets())
	})
	return s.closed
}
