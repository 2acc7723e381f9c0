//go:build linux

package floatingip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"doyen/agent/clock"
)

// A leader renews several times a second; the lifetimes follow now and then.
func TestLifetimesFollowNowAndThen(t *testing.T) {
	now := time.Minute
	s := &Set{cfg: Config{Now: func() time.Duration { return now }}, held: true, gate: &gate{}}
	asked := func() bool { return s.mayAge() && s.beginAging() }
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {100 * time.Millisecond, false}, {lifetimeEvery - 101*time.Millisecond, false}, {time.Millisecond, true}, {time.Millisecond, false}, {time.Hour, true}} {
		if now += c.after; asked() != c.want {
			t.Errorf("at %v: want the lifetimes asked to follow: %v", now, c.want)
		}
	}
	s.gate = nil
	for range 2 {
		if !asked() {
			t.Error("without a gate, want the lifetimes to follow each renewal")
		}
	}
}

// TestLifetimesMoveOnTogether has the lifetimes of many Sets be nearly due. They are moved on
// with one list of addresses of each family for many of them.
func TestLifetimesMoveOnTogether(t *testing.T) {
	a, _ := pair(t)
	const many = agedTogether + 4
	var sets []*subject
	later := clock.Boot() + time.Hour
	for i := range many {
		s := a.runWith(fmt.Sprintf("10.9.8.%d/24@eth0", 100+i), fmt.Sprintf("fd00:9::%d/64@eth0", 100+i))
		s.take(t)
		s.cut.Lock()
		s.ageAt = later + time.Hour // so that the next line moves no lifetime on
		s.cut.Unlock()
		must(t, s.Renew(later))
		sets = append(sets, s)
	}
	requests := func() uint32 {
		quick := sets[0].feed.requests().quick
		quick.mu.Lock()
		defer quick.mu.Unlock()
		return quick.number
	}
	for _, s := range sets { // when none of its own goroutines reads addresses
		s.Set.mu.Lock()
		s.cut.Lock()
		s.ageAt = clock.Boot() + lifetimeEvery/4
		s.cut.Unlock()
	}
	before := requests()
	for _, s := range sets {
		s.Set.mu.Unlock()
	}
	sets[0].feed.ageDue()
	// Two rounds list the addresses of two families; a Set that looks at its own adds a few.
	if got := requests() - before; got > 3*many {
		t.Errorf("want a request for each of %d addresses and few lists, got %d requests", 2*many, got)
	}
	moved := func() (n int) {
		for _, addr := range a.addrs() {
			if putByAgent(&addr) && addr.ValidLft > 1000 {
				n++
			}
		}
		return n
	}
	if moved() < many { // some of the Sets may just have been announcing
		t.Errorf("want most of %d lifetimes moved on, got %d", 2*many, moved())
	}
	extra := time.Duration(0)
	within(t, "the lifetimes of all follow a renewal", func() bool {
		for _, s := range sets {
			s.cut.Lock()
			if s.ageAt > later {
				s.ageAt = 0
			}
			s.cut.Unlock()
		}
		extra++
		for _, s := range sets {
			must(t, s.Renew(later+extra))
		}
		return moved() == 2*many
	})
}

// TestASetThatIsBusyIsNotAged has a Set be busy, as while it drops its addresses, when the
// lifetimes of all are due. To move them on then could put an address back.
func TestASetThatIsBusyIsNotAged(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	s.take(t)
	s.cut.Lock()
	s.ageAt = 0
	s.cut.Unlock()
	s.Set.mu.Lock()
	prolongAll([]*Set{s.Set})
	s.cut.Lock()
	if !s.mayAge() {
		t.Error("a Set whose lifetimes could not be moved on does not ask again")
	}
	s.cut.Unlock()
	s.Set.mu.Unlock()
	prolongAll([]*Set{s.Set})
	s.cut.Lock()
	defer s.cut.Unlock()
	if s.mayAge() {
		t.Error("a Set whose lifetimes have been moved on asks again")
	}
}

// TestProlongTouchesOnlyWhatAnAgentPut moves lifetimes on where an agent has put the address,
// where it is the host's own, and where it is not.
func TestProlongTouchesOnlyWhatAnAgentPut(t *testing.T) {
	host, _ := pair(t)
	addrs, err := ParseAll([]string{"10.9.8.100/24@eth0", "10.9.8.101/24@eth0", "10.9.8.102/24@eth0", "fd00:9::100/64@eth0", "fd00:9::101/64@eth0", "fd00:9::102/64@eth0"})
	must(t, err)
	host.do(func() {
		net, err := openIfaces()
		must(t, err)
		defer net.close()
		var all []*addressLifetime
		for n, a := range addrs {
			l := link(t, a.Iface)
			switch n % 3 {
			case 0:
				must(t, net.put(a, l, 60))
			case 1:
				must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(alone(a)), Flags: unix.IFA_F_NODAD}))
			}
			all = append(all, &addressLifetime{addr: a, link: l.Attrs().Index, seconds: 2000})
		}
		net.quick.prolong(all)
		for n, a := range addrs {
			must(t, all[n].err)
			list, err := net.list(a, all[n].link)
			must(t, err)
			list = slices.DeleteFunc(list, func(addr netlink.Addr) bool { return !is(&addr, a) })
			switch n % 3 {
			case 0:
				if len(list) != 1 || !putByAgent(&list[0]) || list[0].ValidLft < 1000 {
					t.Errorf("%s: want its lifetime moved on, got %+v", a, list)
				}
			case 1:
				if len(list) != 1 || list[0].Flags&unix.IFA_F_PERMANENT == 0 {
					t.Errorf("%s: want the host's own left alone, got %+v", a, list)
				}
			case 2:
				if len(list) != 0 {
					t.Errorf("%s: want it to stay away, got %+v", a, list)
				}
			}
		}
		all[0].link = 1 << 20
		all[0].err = nil
		if net.quick.prolong(all[:1]); all[0].err != nil {
			t.Errorf("an address that is not there: %v", all[0].err)
		}
	})
}

// TestOwnLifetimesAreNotTold has the socket that moves lifetimes on do so, and another: only what
// the other does is told.
func TestOwnLifetimesAreNotTold(t *testing.T) {
	host, _ := pair(t)
	addrs, err := ParseAll([]string{"10.9.8.100/24@eth0"})
	must(t, err)
	host.do(func() {
		net, err := openIfaces()
		must(t, err)
		defer net.close()
		index := link(t, "eth0").Attrs().Index
		must(t, net.put(addrs[0], link(t, "eth0"), 60))
		updates, done := make(chan netlink.AddrUpdate, 16), make(chan struct{})
		must(t, subscribeAddresses(net.quick.port)(updates, done))
		defer func() {
			close(done)
			for range updates {
			}
		}()
		l := &addressLifetime{addr: addrs[0], link: index, seconds: 2000}
		net.quick.prolong([]*addressLifetime{l})
		must(t, l.err)
		must(t, net.put(addrs[0], link(t, "eth0"), 3000))
		for {
			select {
			case u := <-updates:
				if u.LinkAddress.IP.Equal(addrs[0].IP().AsSlice()) {
					if u.ValidLft < 2500 {
						t.Errorf("what is told first has the lifetime of %d s that the own socket gave", u.ValidLft)
					}
					return
				}
			case <-time.After(patience):
				t.Fatal("nothing is told")
			}
		}
	})
}
