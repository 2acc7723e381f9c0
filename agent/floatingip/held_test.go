//go:build linux

package floatingip

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"doyen/agent/clock"
)

// told returns the state of the addresses that was reported last.
func (s *subject) told() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) == 0 {
		return nil
	}
	return s.found[len(s.found)-1].Addresses
}

// An address that is not there, or that the kernel has cut off, is not reported as held.
func TestHeldIsWhatIsSo(t *testing.T) {
	held := func(s *subject, want bool) func() bool {
		return func() bool {
			states := s.told()
			for _, a := range states {
				if a.Held != want {
					return false
				}
			}
			return len(states) == 2
		}
	}
	t.Run("cut off at the end of the lease", func(t *testing.T) {
		a, _ := pair(t)
		s := a.run("a")
		must(t, s.Take(clock.Boot()+time.Second))
		within(t, "the addresses are held", held(s, true))
		s.Ended()
		within(t, "the addresses are not held", held(s, false))
		if len(a.addrs()) < 4 {
			t.Errorf("want the addresses to be on the interface still, got %v", a.addrs())
		}
		must(t, s.Take(clock.Boot()+time.Minute))
		within(t, "the addresses are held again", held(s, true))
		must(t, s.Cut())
		within(t, "the addresses are not held after a cut", held(s, false))
	})
	t.Run("interface gone", func(t *testing.T) {
		a, _ := pair(t)
		s := a.run("a")
		s.take(t)
		within(t, "the addresses are held", held(s, true))
		a.do(func() { must(t, netlink.LinkDel(link(t, "eth0"))) })
		within(t, "the addresses are not held", held(s, false))
	})
}
