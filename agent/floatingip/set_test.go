//go:build linux

package floatingip

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"doyen/agent/clock"
)

var (
	float4               = netip.MustParseAddr("10.9.8.100")
	float6               = netip.MustParseAddr("fd00:9::100")
	float4Net, float6Net = "10.9.8.100/24", "fd00:9::100/64"
	// as they are on the interface: each a network of its own
	float4Held, float6Held = "10.9.8.100/24", "fd00:9::100/128"
)

// subject is a Set on a host, with a switch for whether the node leads.
type subject struct {
	*Set
	leads atomic.Bool
	read  atomic.Pointer[func()] // called each time the Set has read the clock
	mu    sync.Mutex
	found []Event
}

// run starts a Set of the two floating addresses on h, leading.
func (h *host) run(string) *subject {
	h.t.Helper()
	return h.runWith(float4Net+"@eth0", float6Net+"@eth0")
}

func (h *host) runWith(list ...string) *subject {
	h.t.Helper()
	addrs, err := ParseAll(list)
	if err != nil {
		h.t.Fatal(err)
	}
	s := new(subject)
	s.leads.Store(true)
	h.do(func() {
		s.Set, err = New(Config{
			Addresses: addrs, Quorum: true, Leads: s.leads.Load,
			Now: func() time.Duration {
				now := clock.Boot()
				if f := s.read.Load(); f != nil {
					(*f)()
				}
				return now
			},
			Report: func(e Event) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.found = append(s.found, e)
			},
		})
		if err == nil {
			err = s.Begin()
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

// events returns what the set has reported until now.
func (s *subject) events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.found)
}

func (s *subject) hasFound(what string) bool {
	return slices.ContainsFunc(s.events(), func(e Event) bool { return e.What == what })
}

func (s *subject) hasEnded(what string) bool {
	return slices.ContainsFunc(s.events(), func(e Event) bool { return e.What == what && e.Over })
}

// take takes the addresses for long enough for any test.
func (s *subject) take(t *testing.T) {
	t.Helper()
	if err := s.Take(clock.Boot() + time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestTakeAndDrop(t *testing.T) {
	a, b := pair(t)
	a.echo()
	arp, nd := b.listen(unix.ETH_P_ARP), b.listen(unix.ETH_P_IPV6)
	s := a.run("a")
	if len(a.addrs()) != 3 {
		t.Fatalf("want nothing but a's own addresses before Take, got %v", a.addrs())
	}
	s.take(t)
	for _, want := range []string{float4Held, float6Held} {
		got, ok := a.addrs()[want]
		if !ok || got.ValidLft < leastLifetime || got.Flags&unix.IFA_F_PERMANENT != 0 {
			t.Errorf("want %s with a lifetime, got %+v", want, got)
		}
	}
	for _, ip := range []netip.Addr{float4, float6} {
		if !b.asks(ip, patience) {
			t.Errorf("want an answer from %v while it is held", ip)
		}
	}
	within(t, "one ARP request, one reply and one advertisement", func() bool {
		return arp.count(arpFrom(float4, 1)) > 0 && arp.count(arpFrom(float4, 2)) > 0 && nd.count(advertOf(float6)) > 0
	})
	within(t, "the announcements are repeated", func() bool {
		return arp.count(arpFrom(float4, 1)) > 3 && nd.count(advertOf(float6)) > 3
	})
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if len(a.addrs()) != 3 {
		t.Errorf("want nothing but a's own addresses after Drop, got %v", a.addrs())
	}
	for _, ip := range []netip.Addr{float4, float6} {
		if b.asks(ip, 50*time.Millisecond) {
			t.Errorf("want no answer from %v after Drop", ip)
		}
	}
}

func TestAnnouncesOnlyWhileLeading(t *testing.T) {
	a, b := pair(t)
	arp, nd := b.listen(unix.ETH_P_ARP), b.listen(unix.ETH_P_IPV6)
	s := a.run("a")
	s.take(t)
	s.leads.Store(false)
	s.announceNow() // an announcement that had asked before is out once this has the lock
	mark := func() int { return arp.count(arpFrom(float4, 1)) + nd.count(advertOf(float6)) }
	// What was sent before has arrived once something later has, on each socket.
	own4, own6 := netip.MustParseAddr("10.9.8.1"), netip.MustParseAddr("fd00:9::1")
	settle := func() {
		seen4, seen6 := arp.count(arpReplyTo(early.ip4, own4)), nd.count(advertTo(early.ip6, own6))
		arp.whoHas(t, own4, early.ip4)
		nd.solicit(t, own6, early.ip6)
		within(t, "a answers for its own addresses", func() bool {
			return arp.count(arpReplyTo(early.ip4, own4)) > seen4 && nd.count(advertTo(early.ip6, own6)) > seen6
		})
	}
	settle()
	before := mark()
	for range 20 {
		s.Announce()
		s.announceNow()
	}
	settle()
	if got := mark(); got != before {
		t.Errorf("want no announcement while not leading, got %d", got-before)
	}
	s.leads.Store(true)
	s.Announce()
	within(t, "announcements while leading", func() bool { return mark() > before })
}

func TestTakeWithoutLeading(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	s.leads.Store(false)
	if err := s.Take(clock.Boot() + time.Minute); !errors.Is(err, ErrNotLeading) {
		t.Errorf("want ErrNotLeading, got %v", err)
	}
	s.leads.Store(true)
	if err := s.Take(clock.Boot() - time.Second); !errors.Is(err, ErrNotLeading) {
		t.Errorf("want ErrNotLeading for a lease that is over, got %v", err)
	}
	if len(a.addrs()) != 3 {
		t.Errorf("want nothing but a's own addresses, got %v", a.addrs())
	}
}

func TestLosingWhileTaking(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net + "@eth0")
	// The node leads until the address is there.
	s.cfg.Leads = func() bool { return len(a.addrs()) == 3 }
	if err := s.Take(clock.Boot() + time.Minute); !errors.Is(err, ErrNotLeading) {
		t.Errorf("want ErrNotLeading, got %v", err)
	}
	if len(a.addrs()) != 3 {
		t.Errorf("want the address put in vain to be taken away again, got %v", a.addrs())
	}
}

func TestRemovedByHandIsPutBack(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	s.take(t)
	for _, text := range []string{float4Held, float6Held} {
		a.do(func() {
			addr, err := netlink.ParseAddr(text)
			must(t, err)
			must(t, netlink.AddrDel(link(t, "eth0"), addr))
		})
		within(t, text+" is put back", func() bool { _, ok := a.addrs()[text]; return ok })
	}
	within(t, "a finding", func() bool { return s.hasFound(Removed) })
	if !b.asks(float6, patience) {
		t.Errorf("want an answer from %v after it was put back", float6)
	}
}

// The kernel takes the addresses of a keeper that was late: no other program has removed them.
func TestAnEndedLifetimeIsPutBack(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	must(t, s.Take(clock.Boot()+time.Second)) // and no renewal
	within(t, "a finding", func() bool { return s.hasFound(CutOffLate) })
	if s.hasFound(Removed) {
		t.Errorf("want the end of the lifetime named alone, got %+v", s.events())
	}
	within(t, "the addresses are there", func() bool { return len(a.addrs()) == 5 })
}

// Nor has another program removed those that go while the keeper moves their lifetime on.
func TestALifetimeThatEndsWhileItIsMovedOn(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net + "@eth0")
	must(t, s.Take(clock.Boot()+time.Second))
	s.cut.Lock()
	s.until += time.Minute // as a renewal has it, whose lifetime is to follow
	s.ageAt = 0            // now
	s.cut.Unlock()
	reads := 0
	stall := func() {
		if reads++; reads == 3 { // the first two are for whether it is due, and for the lifetime to give
			s.read.Store(nil)
			within(t, "the address goes", func() bool { _, ok := a.addrs()[float4Held]; return !ok })
		}
	}
	s.read.Store(&stall)
	prolongAll([]*Set{s.Set})
	within(t, "a finding", func() bool { return s.hasFound(CutOffLate) || s.hasFound(Removed) })
	if s.hasFound(Removed) {
		t.Errorf("want the end of the lifetime named alone, got %+v", s.events())
	}
}

// Two programs that quarrel about an address do not take a whole core: repairs keep a
// distance.
func TestRepairsKeepADistance(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	const rounds = 10
	began := time.Now()
	for range rounds {
		a.do(func() { a.remove(float4Held) })
		within(t, "the address is put back", func() bool { _, ok := a.addrs()[float4Held]; return ok })
	}
	if took := time.Since(began); took < (rounds-1)*restoreEvery {
		t.Errorf("want %d repairs to take %v at least, got %v", rounds, (rounds-1)*restoreEvery, took)
	}
}

// What is found of a link that cannot carry announcements ends with that.
func TestFindingEndsWithItsReason(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	a.do(func() { must(t, netlink.LinkSetDown(link(t, "eth0"))) })
	s.Announce()
	within(t, "a finding", func() bool { return s.hasFound(NotAnnounced) })
	a.do(func() { must(t, netlink.LinkSetUp(link(t, "eth0"))) })
	within(t, "its end", func() bool {
		s.Announce()
		return s.hasEnded(NotAnnounced)
	})
}

// Nothing that is found of addresses that are held outlasts that.
func TestFindingEndsWithTheLead(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	a.do(func() { must(t, netlink.LinkSetDown(link(t, "eth0"))) })
	s.Announce()
	within(t, "a finding", func() bool { return s.hasFound(NotAnnounced) })
	s.Set.mu.Lock()
	s.lasting(NotProlonged, errors.New("the address cannot be written"), "")
	s.Set.mu.Unlock()
	must(t, s.Drop())
	for _, what := range []string{NotAnnounced, NotProlonged} {
		within(t, "the end of "+what, func() bool { return s.hasEnded(what) })
	}
}

// TestDropLeavesWhatOthersPut looks at addresses equal to the floating ones that a
// person has put: they are the host's own.
func TestDropLeavesWhatOthersPut(t *testing.T) {
	a, b := pair(t)
	a.echo()
	a.do(func() { a.add("10.9.8.100/32"); a.add("fd00:9::100/128") })
	s := a.run("a")
	if err := s.Take(clock.Boot() + time.Minute); !errors.Is(err, ErrOwnAddress) || !strings.Contains(err.Error(), "10.9.8.100/") && !strings.Contains(err.Error(), "fd00:9::100/") {
		t.Errorf("want ErrOwnAddress naming the address, got %v", err)
	}
	s.links.Wait()
	if err := s.links.Usable(); !errors.Is(err, ErrOwnAddress) {
		t.Errorf("want the node to be no candidate, got %v", err)
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if len(a.addrs()) != 5 {
		t.Errorf("want the addresses that a person put to stay, got %v", a.addrs())
	}
	if !b.asks(float4, patience) || !b.asks(float6, patience) {
		t.Error("want the host's own addresses to answer: no gate may cut them off")
	}
	a.do(func() {
		for _, text := range []string{"10.9.8.100/32", "fd00:9::100/128"} {
			addr, _ := netlink.ParseAddr(text)
			must(t, netlink.AddrDel(link(t, "eth0"), addr))
		}
	})
	within(t, "the node is a candidate again", func() bool { return s.links.Usable() == nil })
	s.take(t)
	if !b.asks(float4, patience) {
		t.Error("want an answer once the address is held")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(a.addrs()) != 3 || len(a.tables()) != 0 {
		t.Errorf("want nothing left, got %v, %v", a.addrs(), a.tables())
	}
}

func TestMissingInterface(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith(float4Net+"@eth0", "10.9.7.100/24@eth9")
	s.links.Wait()
	if err := s.links.Usable(); !errors.Is(err, ErrNoInterface) {
		t.Errorf("want ErrNoInterface, got %v", err)
	}
	if err := s.Take(clock.Boot() + time.Minute); !errors.Is(err, ErrNoInterface) {
		t.Errorf("want ErrNoInterface, got %v", err)
	}
	if len(a.addrs()) != 3 {
		t.Errorf("want none of the addresses taken, got %v", a.addrs())
	}
	if err := s.Drop(); err != nil {
		t.Errorf("want Drop to succeed, got %v", err)
	}
}

// tables lists the names of nftables tables of a host.
func (h *host) tables() map[string]int {
	names := make(map[string]int)
	h.do(func() {
		conn, err := nftables.New()
		must(h.t, err)
		list, err := conn.ListTables()
		must(h.t, err)
		for _, table := range list {
			names[table.Name]++
		}
	})
	return names
}

// dropped sums the counters of all rules of a host.
func (h *host) dropped() (n uint64) {
	h.do(func() {
		conn, err := nftables.New()
		must(h.t, err)
		chains, err := conn.ListChains()
		must(h.t, err)
		for _, c := range chains {
			rules, err := conn.GetRules(c.Table, c)
			must(h.t, err)
			for _, r := range rules {
				for _, e := range r.Exprs {
					if counter, ok := e.(*expr.Counter); ok {
						n += counter.Packets
					}
				}
			}
		}
	})
	return n
}

func TestTablesOfTheirOwn(t *testing.T) {
	a, _ := pair(t)
	a.do(func() {
		conn, err := nftables.New()
		must(t, err)
		conn.AddTable(&nftables.Table{Name: "others", Family: nftables.TableFamilyINet})
		must(t, conn.Flush())
	})
	one, two := a.run("one"), a.runWith("10.9.8.101/32@eth0")
	if got := a.tables(); len(got) != 4 {
		t.Fatalf("want the tables of two agents and of others, got %v", got)
	}
	one.take(t)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if got := a.tables(); len(got) != 2 || got["others"] != 1 || got["doyen_10.9.8.101"] != 2 {
		t.Errorf("want the tables of the second agent and of others, got %v", got)
	}
	two.take(t)
	if got := a.addrs(); len(got) != 4 {
		t.Errorf("want the second agent's address only, got %v", got)
	}
}

// The tables come back open, in one transaction: while others flush them again and
// again, no packet of a client is lost.
func TestTablesFlushedByOthersComeBack(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	s.take(t)
	if !b.asks(float4, patience) {
		t.Fatalf("want an answer from %v", float4)
	}
	lost := b.countLost(float4)
	for range 100 {
		a.do(func() {
			conn, err := nftables.New()
			must(t, err)
			conn.FlushRuleset()
			must(t, conn.Flush())
		})
		if err := s.Renew(clock.Boot() + 2*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.tables(); len(got) != 2 || !s.hasFound(TablesRemoved) {
		t.Errorf("want the tables back and a finding, got %v, %v", got, s.events())
	}
	if n := lost(); n > 0 {
		t.Errorf("%d packets were not answered", n)
	}
}

// A leader that renews again after the kernel has cut its addresses off says so.
func TestLateRenewalIsFound(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	until := clock.Boot() + 2*time.Second
	if err := s.Take(until); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(until + time.Millisecond); err != nil || s.hasFound(CutOffLate) {
		t.Fatalf("a renewal in time: %v, %v", err, s.events())
	}
	for clock.Boot() <= until+time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	if err := s.Renew(clock.Boot() + time.Minute); err != nil {
		t.Fatal(err)
	}
	if !s.hasFound(CutOffLate) || !b.asks(float4, patience) {
		t.Errorf("want the finding, and the address to answer again, got %v", s.events())
	}
}

// Other addresses are taken, and those not wanted any more given up, while the rest
// is left alone.
func TestChangeTouchesOnlyWhatChanges(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	before, ok := a.addrs()[float4Held]
	if !ok {
		t.Fatalf("want %s held, got %v", float4Held, a.addrs())
	}
	change := func(answers []netip.Addr, list ...string) {
		t.Helper()
		addrs, err := ParseAll(list)
		if err != nil {
			t.Fatal(err)
		}
		a.do(func() { err = s.Change(addrs) })
		if err != nil {
			t.Fatal(err)
		}
		for _, ip := range []netip.Addr{float4, float6} {
			if !slices.Contains(answers, ip) && b.asks(ip, 50*time.Millisecond) {
				t.Errorf("%v: want no answer from %v", list, ip)
			}
			if slices.Contains(answers, ip) && !b.asks(ip, patience) {
				t.Errorf("%v: want an answer from %v", list, ip)
			}
		}
		tables := map[string]int{}
		for _, addr := range addrs {
			if tables[tableName(tablePrefix, addr)] = 1; addr.IP().Is4() {
				tables[tableName(tablePrefix, addr)] = 2 // for IP and for ARP
			}
		}
		if got := a.tables(); !maps.Equal(got, tables) {
			t.Errorf("%v: want the tables %v, got %v", list, tables, got)
		}
	}
	change([]netip.Addr{float4, float6}, float4Net+"@eth0", float6Net+"@eth0")
	if kept, there := a.addrs()[float4Held]; !there || kept.Flags != before.Flags {
		t.Errorf("want %s left alone, got %+v, was %+v", float4Held, kept, before)
	}
	logged := func(want ...string) {
		t.Helper()
		var text strings.Builder
		events := s.events()
		events[len(events)-1].Log(slog.New(slog.NewTextHandler(&text, nil)))
		lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		if len(lines) != len(want) {
			t.Fatalf("want %d lines, got\n%s", len(want), &text)
		}
		for i := range want {
			if !strings.HasSuffix(lines[i], want[i]) {
				t.Errorf("want a line with %s, got %s", want[i], lines[i])
			}
		}
	}
	logged("taken and announced\" addresses=" + float4Net + "@eth0," + float6Net + "@eth0")
	change([]netip.Addr{float6}, float6Net+"@eth0")
	logged("given up\" addresses="+float4Net+"@eth0", "taken and announced\" addresses="+float6Net+"@eth0")
	change(nil)
	logged("given up\" addresses=" + float6Net + "@eth0")
	change([]netip.Addr{float4}, float4Net+"@eth0")
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	change(nil, float4Net+"@eth0", float6Net+"@eth0") // nothing is held, so nothing is taken
	if got := a.addrs(); len(got) != 3 {
		t.Errorf("want nothing but a's own addresses, got %v", got)
	}
}
