//go:build linux

package floatingip

import (
	"errors"
	"net/netip"
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
)

// subject is a Set on a host, with a switch for whether the node leads.
type subject struct {
	*Set
	leads atomic.Bool
	mu    sync.Mutex
	found []Finding
}

// run starts a Set of the two floating addresses on h, leading.
func (h *host) run(name string) *subject {
	h.t.Helper()
	return h.runWith(name, float4Net+"@eth0", float6Net+"@eth0")
}

func (h *host) runWith(name string, list ...string) *subject {
	h.t.Helper()
	addrs, err := ParseAll(list)
	if err != nil {
		h.t.Fatal(err)
	}
	s := new(subject)
	s.leads.Store(true)
	h.do(func() {
		s.Set, err = New(Config{
			Addresses: addrs, Cluster: "test", Name: name, Leads: s.leads.Load,
			Report: func(f Finding) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.found = append(s.found, f)
			},
		})
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

func (s *subject) hasFound(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.found {
		if f.What == what {
			return true
		}
	}
	return false
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
	for _, want := range []string{float4Net, float6Net} {
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
	mark := func() int { return arp.count(arpFrom(float4, 1)) + nd.count(advertOf(float6)) }
	// What was sent before the switch has arrived once something later has.
	arp.whoHas(t, netip.MustParseAddr("10.9.8.1"), netip.MustParseAddr("10.9.8.2"))
	within(t, "a answers for its own address", func() bool { return arp.count(arpFrom(netip.MustParseAddr("10.9.8.1"), 2)) > 0 })
	before := mark()
	for range 20 {
		s.Announce()
		s.speakUp()
	}
	arp.whoHas(t, netip.MustParseAddr("10.9.8.1"), netip.MustParseAddr("10.9.8.2"))
	within(t, "a answers again", func() bool { return arp.count(arpFrom(netip.MustParseAddr("10.9.8.1"), 2)) > 1 })
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
	s := a.run("a")
	// The node leads for the first question only: before the first address.
	var asked atomic.Int32
	s.cfg.Leads = func() bool { return asked.Add(1) == 1 }
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
	for _, text := range []string{float4Net, float6Net} {
		a.do(func() {
			addr, err := netlink.ParseAddr(text)
			must(t, err)
			must(t, netlink.AddrDel(link(t, "eth0"), addr))
		})
		within(t, text+" is put back", func() bool { _, ok := a.addrs()[text]; return ok })
	}
	if !s.hasFound("floating-ip-removed") {
		t.Errorf("want a finding, got %v", s.found)
	}
	if !b.asks(float6, patience) {
		t.Errorf("want an answer from %v after it was put back", float6)
	}
}

func TestDropClearsWhatOthersLeft(t *testing.T) {
	a, _ := pair(t)
	a.do(func() { a.add("10.9.8.100/32"); a.add("10.9.8.100/24"); a.add("fd00:9::100/128") })
	s := a.run("a")
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if len(a.addrs()) != 3 {
		t.Errorf("want nothing but a's own addresses, got %v", a.addrs())
	}
}

func TestMissingInterface(t *testing.T) {
	a, _ := pair(t)
	s := a.runWith("a", float4Net+"@eth0", "10.9.7.100/24@eth9")
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
	one, two := a.run("one"), a.runWith("two", "10.9.8.101/32@eth0")
	if got := a.tables(); len(got) != 3 {
		t.Fatalf("want the tables of two agents and of others, got %v", got)
	}
	one.take(t)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if got := a.tables(); len(got) != 2 || got["others"] != 1 || got[tableName("test", "two")] != 2 {
		t.Errorf("want the tables of the second agent and of others, got %v", got)
	}
	two.take(t)
	if got := a.addrs(); len(got) != 4 {
		t.Errorf("want the second agent's address only, got %v", got)
	}
}

func TestTablesFlushedByOthersComeBack(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	s.take(t)
	a.do(func() {
		conn, err := nftables.New()
		must(t, err)
		conn.FlushRuleset()
		must(t, conn.Flush())
	})
	if err := s.Renew(clock.Boot() + 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := a.tables(); len(got) != 1 || !s.hasFound("floating-ip-tables-removed") {
		t.Errorf("want the tables back and a finding, got %v, %v", got, s.found)
	}
}
