package floatingip

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"doyen/agent/clock"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Set is the floating addresses of one agent. Its methods are safe for
// concurrent use and take a few system calls each.
type Set struct {
	cfg   Config
	links *Links
	again chan struct{} // an announcement was asked for
	done  chan struct{}
	ended sync.WaitGroup

	closing sync.Once
	closed  error

	mu       sync.Mutex // for what follows
	net      ifaces
	voice    *announcer
	gate     *gate // nil: no nftables here
	held     bool
	until    time.Duration
	aged     time.Duration // when the lifetimes were last set
	restored time.Duration // when addresses were last put back
}

// New prepares everything that Take needs, so that Take is fast: sockets, the
// subscriptions, and the tables of nftables, shut. It changes no address; the
// caller's first Drop clears what a crash left behind. The error says which
// capability is missing.
func New(cfg Config) (*Set, error) {
	if err := Capable(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = clock.Boot
	}
	s := &Set{cfg: cfg, again: make(chan struct{}, 1), done: make(chan struct{})}
	removals, err := s.open()
	if err != nil {
		s.shutSockets()
		return nil, fmt.Errorf("preparing floating addresses: %w", err)
	}
	s.gate, err = newGate(tableName(cfg.Cluster, cfg.Name), cfg.Addresses)
	if err != nil {
		s.say(Finding{
			What:     "floating-ip-no-nftables",
			Evidence: err.Error(),
			Advice: "if agent and keeper both die or freeze, only the addresses' lifetime in whole seconds takes them off; " +
				"load the kernel's nf_tables with inet, arp and fib support",
		})
	}
	s.ended.Go(func() { s.watch(removals) })
	return s, nil
}

// open opens the sockets and the subscriptions.
func (s *Set) open() (<-chan netlink.AddrUpdate, error) {
	var err error
	// Only this kind: kernels for virtual machines lack some that the library
	// would open besides.
	if s.net.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	if s.voice, err = newAnnouncer(s.cfg.Leads); err != nil {
		return nil, err
	}
	if s.links, err = WatchLinks(s.cfg.Addresses); err != nil {
		return nil, err
	}
	return s.subscribe()
}

// shutSockets closes what open has opened.
func (s *Set) shutSockets() error {
	close(s.done)
	s.ended.Wait()
	if s.links != nil {
		s.links.Close()
	}
	if s.net.handle != nil {
		s.net.handle.Close()
	}
	if s.voice == nil {
		return nil
	}
	return s.voice.close()
}

// Take puts the addresses on their interfaces until the boot time given (see
// Renew) and announces them. All are put or, with an error, none.
func (s *Set) Take(until time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.aged = true, 0
	err := s.extend(until)
	if err == nil {
		err = s.putAll()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("taking the floating addresses: %w", err), s.drop())
	}
	s.announce()
	return nil
}

// Renew lets the addresses answer until the boot time given: the end of the
// lease, or in available mode any time ahead that the caller comes back before.
// It does nothing if they are not held, or held until then. An error that wraps
// ErrNotLeading says that it came too late: the addresses are cut off then.
func (s *Set) Renew(until time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held || until <= s.until {
		return nil
	}
	return s.extend(until)
}

// Drop cuts the addresses off and takes them away, whoever put them there.
// With nil, this host does not answer for them any more.
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
	return s.check()
}

// Announce tells the neighbours again where the addresses are, at once and some
// more times. It is for any sign of another leader. It never blocks.
func (s *Set) Announce() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// CutOff is how long before the end of a lease the kernel's own cut-off must be
// counted as beginning; see the function CutOff.
func (s *Set) CutOff() time.Duration { return cutOff(s.gate != nil) }

// Close drops the addresses and removes this agent's tables of nftables. If the
// addresses cannot be dropped, the tables stay, shut. The Set is of no use then.
func (s *Set) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		err := s.drop()
		if s.gate != nil && err == nil {
			err = s.gate.remove()
		}
		s.mu.Unlock()
		s.closed = errors.Join(err, s.shutSockets())
	})
	return s.closed
}
