package floatingip

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watch puts back and announces until the Set is closed.
func (s *Set) watch() {
	announcements := newSchedule()
	again := newRetry()
	repair, lapse := time.NewTimer(0), time.NewTimer(0)
	<-repair.C
	<-lapse.C
	s.links.Wait()
	usable := s.links.Usable() == nil
	for {
		select {
		case <-s.done:
			again.timer.Stop()
			s.removals.close() // not deferred: it would keep a panic from being seen
			return
		case update, ok := <-s.removals.updates:
			if !ok {
				s.removals.close()
				again.after(s.resubscribe())
			}
			if !ok || s.concerns(update) {
				repair.Reset(s.pause())
			}
		case <-again.timer.C:
			again.fired()
			again.after(s.resubscribe())
			repair.Reset(s.pause())
		case <-repair.C:
			s.repair()
		case <-s.ended:
			lapse.Reset(0)
		case <-lapse.C:
			if left := s.lapse(); left > 0 {
				lapse.Reset(left)
			}
		case <-s.aging:
			s.age()
		case links := <-s.relink:
			s.links.Close()
			links.Wait()
			s.links, usable = links, links.Usable() == nil
		case <-s.links.Changed():
			was := usable
			usable = s.links.Usable() == nil
			if usable && !was {
				s.repair()
				s.Announce()
			}
		case <-s.again:
			announcements.restart()
			s.announceNow()
		case <-announcements.timer.C:
			announcements.next()
			s.announceNow()
		}
	}
}

// resubscribe replaces a subscription that ended because updates came faster
// than they were read, and reports whether it could. Until then what is missing is looked
// for at each try.
func (s *Set) resubscribe() bool {
	err := s.removals.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.neighbours) // what has become of them was missed
	s.lasting(NotWatched, err, "see why the host denies the agent sockets; until then addresses removed by hand are put back up to a second late")
	return err == nil
}

// pause is how long the next repair has to wait.
func (s *Set) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restored == 0 {
		return 0
	}
	return max(s.restored+restoreEvery-s.cfg.Now(), 0)
}

func (s *Set) repair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.restore()
	if errors.Is(err, ErrNotLeading) {
		err = nil // there is nothing to restore any more
	}
	if err != nil || !s.cfg.Leads() {
		s.see()
	}
	s.lasting(NotRestored, err, "look at the interface; the addresses are tried again with the next check")
}

func (s *Set) announceNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announceAll()
}

// concerns reports whether an update may call for a repair: one of the addresses
// has gone or has been added by somebody else, or another address of its network
// has come or gone, which decides about the form that it has. The renewals of
// lifetimes do not: this Set's own come each second, and so do those of every other election.
func (s *Set) concerns(u netlink.AddrUpdate) bool {
	ip, _ := netip.AddrFromSlice(u.LinkAddress.IP)
	ip = ip.Unmap()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.floats(ip) {
		return !u.NewAddr || u.Flags&unix.IFA_F_PERMANENT != 0
	}
	if !slices.ContainsFunc(s.cfg.Addresses, func(a Address) bool { return a.Prefix.Contains(ip) }) {
		return false
	}
	at := neighbour{u.LinkIndex, u.LinkAddress.String()}
	flags, there := s.neighbours[at]
	if !u.NewAddr {
		delete(s.neighbours, at)
		return true
	}
	s.neighbours[at] = u.Flags
	return !there || flags != u.Flags
}

// neighbour is an address of an interface, in a network of one of the addresses.
type neighbour struct {
	link    int
	address string
}

// floats reports whether ip is one of the addresses.
func (s *Set) floats(ip netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.Addresses, func(a Address) bool { return a.IP() == ip })
}

// schedule says when to announce again: along the series, then now and then.
type schedule struct {
	timer *time.Timer
	begun time.Time
	step  int
}

func newSchedule() *schedule {
	return &schedule{timer: time.NewTimer(nowAndThen), step: len(series)}
}

func (c *schedule) restart() {
	c.begun, c.step = time.Now(), 0
	c.next()
}

func (c *schedule) next() {
	if c.step == len(series) {
		c.timer.Reset(nowAndThen)
		return
	}
	c.timer.Reset(time.Until(c.begun.Add(series[c.step])))
	c.step++
}
