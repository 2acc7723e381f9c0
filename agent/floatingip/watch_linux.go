package floatingip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// subscribe asks the kernel for changes of addresses.
func (s *Set) subscribe() (<-chan netlink.AddrUpdate, error) {
	updates := make(chan netlink.AddrUpdate, 16)
	if err := netlink.AddrSubscribe(updates, s.done); err != nil {
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	return updates, nil
}

// watch puts back and announces until the Set is closed.
func (s *Set) watch(updates <-chan netlink.AddrUpdate) {
	// The sender of a subscription stops only once it is rid of what it has.
	defer func() {
		for updates != nil {
			if _, ok := <-updates; !ok {
				return
			}
		}
	}()
	voice := newSchedule()
	repair := time.NewTimer(0)
	<-repair.C
	usable := s.links.Usable() == nil
	for {
		select {
		case <-s.done:
			return
		case update, ok := <-updates:
			if !ok {
				updates = s.resubscribe()
			}
			if !ok || !update.NewAddr && s.mine(update) {
				repair.Reset(s.pause())
			}
		case <-repair.C:
			s.repair()
		case <-s.links.Changed():
			was := usable
			usable = s.links.Usable() == nil
			if usable && !was {
				s.repair()
				s.Announce()
			}
		case <-s.again:
			voice.restart()
			s.speakUp()
		case <-voice.timer.C:
			voice.next()
			s.speakUp()
		}
	}
}

// resubscribe replaces a subscription that ended because updates came faster
// than they were read. Without one, only Check finds what is missing.
func (s *Set) resubscribe() <-chan netlink.AddrUpdate {
	updates, err := s.subscribe()
	if err != nil {
		s.say(Finding{
			What: "floating-ip-not-watched", Evidence: err.Error(),
			Advice: "restart the agent; until then addresses removed by hand are put back only at the next check",
		})
	}
	return updates
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
	if err := s.Check(); err != nil {
		s.say(Finding{
			What: "floating-ip-not-restored", Evidence: err.Error(),
			Advice: "look at the interface; the addresses are tried again with the next check",
		})
	}
}

func (s *Set) speakUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speak()
}

// mine reports whether an update is of one of the addresses.
func (s *Set) mine(u netlink.AddrUpdate) bool {
	ip, _ := netip.AddrFromSlice(u.LinkAddress.IP)
	for _, a := range s.cfg.Addresses {
		if a.IP() == ip.Unmap() {
			return true
		}
	}
	return false
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
