//go:build linux

package floatingip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"doyen/agent/clock"
)

// asker is in whose name questions are asked, so that the answers to some can be
// told from those to others, however late they are read.
type asker struct {
	ip4, ip6 netip.Addr
	word     string
}

var (
	early = asker{netip.MustParseAddr("10.9.8.2"), netip.MustParseAddr("fd00:9::2"), "early"}
	late  = asker{netip.MustParseAddr("10.9.8.3"), netip.MustParseAddr("fd00:9::3"), "late"}
)

// knock sends a host, again and again, what would make it answer as one of the
// floating addresses: ARP requests, neighbour solicitations, UDP packets.
type knock struct {
	t       testing.TB
	arp, nd *ear
	udp     [2]net.Conn
	mu      sync.Mutex
	words   map[string]int // UDP answers, by what they say
	last    time.Duration  // when the latest one came
}

func (h *host) knock() *knock {
	h.t.Helper()
	k := &knock{t: h.t, arp: h.listen(unix.ETH_P_ARP), nd: h.listen(unix.ETH_P_IPV6), words: make(map[string]int)}
	for i, ip := range []netip.Addr{float4, float6} {
		h.do(func() {
			var err error
			k.udp[i], err = net.Dial("udp", netip.AddrPortFrom(ip, 7).String())
			must(h.t, err)
		})
		h.t.Cleanup(func() { k.udp[i].Close() })
		go func() {
			buffer := make([]byte, 8)
			for {
				n, err := k.udp[i].Read(buffer)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					k.mu.Lock()
					k.words[string(buffer[:n])]++
					k.last = clock.Boot()
					k.mu.Unlock()
				}
			}
		}()
	}
	return k
}

func (k *knock) once(a asker) {
	k.arp.whoHas(k.t, float4, a.ip4)
	k.nd.solicit(k.t, float6, a.ip6)
	for _, conn := range k.udp {
		conn.Write([]byte(a.word))
	}
}

// answers counts the answers so far, by ARP, neighbour discovery and UDP.
func (k *knock) answers(a asker) [3]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return [3]int{k.arp.count(arpReplyTo(a.ip4, float4)), k.nd.count(advertTo(a.ip6, float6)), k.words[a.word]}
}

// settle waits until what the other host has sent so far has arrived: an
// answer of its own address comes after it.
func (k *knock) settle() {
	own := arpReplyTo(early.ip4, netip.MustParseAddr("10.9.8.1"))
	before := k.arp.count(own)
	k.arp.whoHas(k.t, netip.MustParseAddr("10.9.8.1"), early.ip4)
	within(k.t, "the other host answers for its own address", func() bool { return k.arp.count(own) > before })
}

// across asks again and again until a lease ends, and for a while after it.
func (k *knock) across(until time.Duration) {
	for clock.Boot() < until {
		k.once(early)
		time.Sleep(500 * time.Microsecond)
	}
	for range 80 {
		k.once(late)
		time.Sleep(time.Millisecond)
	}
	k.settle()
}

// TestGateShutsInTime lets a lease run out with no process there to drop the
// addresses, which is what a frozen host looks like to the kernel.
func TestGateShutsInTime(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	for round := range 5 {
		k := b.knock()
		until := clock.Boot() + time.Second // less than the lifetime of the addresses, 2 s
		if err := s.Take(until); err != nil {
			t.Fatal(err)
		}
		k.across(until)
		if got := k.answers(early); got[0] == 0 || got[1] == 0 || got[2] == 0 {
			t.Fatalf("round %d: want answers of all kinds while the lease lasts, got %v", round, got)
		}
		if got := k.answers(late); got != [3]int{} {
			t.Errorf("round %d: want no answer to questions after the lease, got %v", round, got)
		}
		if len(a.addrs()) != 5 {
			t.Errorf("round %d: want the addresses still there: nothing but the gate may have done it", round)
		}
		k.mu.Lock()
		t.Logf("last answer %v before the end of the lease", (until - k.last).Round(100*time.Microsecond))
		k.mu.Unlock()
	}
}

// TestGateShutsInTimeAfterAStop stops the process between its look at the clock and the
// order to the kernel, which counts from then.
func TestGateShutsInTimeAfterAStop(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	var looks int
	s.Set.mu.Lock()
	s.cfg.Now = func() time.Duration {
		now := clock.Boot()
		if looks++; looks == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		return now
	}
	s.Set.mu.Unlock()
	k := b.knock()
	until := clock.Boot() + 1500*time.Millisecond // less than the lifetime of the addresses, 2 s
	if err := s.Take(until); err != nil {
		t.Fatal(err)
	}
	k.across(until)
	if got := k.answers(early); got[0] == 0 {
		t.Fatalf("want answers while the lease lasts, got %v", got)
	}
	if got := k.answers(late); got != [3]int{} {
		t.Errorf("want no answer to questions after the lease, got %v", got)
	}
}

// TestGatesBeginAtOnce is a keeper of several elections, each with a goroutine of its
// own: the race detector sees that they share nothing.
func TestGatesBeginAtOnce(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	var all sync.WaitGroup
	for i := range 8 {
		addr, err := ParseAll([]string{fmt.Sprintf("10.9.8.%d/24@eth0", 101+i)})
		must(t, err)
		all.Go(func() {
			h.do(func() {
				g, err := newGate(tablePrefix, addr)
				if err != nil {
					t.Error(err)
					return
				}
				for range 10 {
					err = errors.Join(err, g.install(g.guards, time.Second), g.open(time.Second), g.shut())
				}
				if err = errors.Join(err, g.remove()); err != nil {
					t.Error(err)
				}
			})
		})
	}
	all.Wait()
}

func TestRenewalsLoseNothing(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	s.take(t)
	k := b.knock()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				k.once(early)
			}
		}
	}()
	until := clock.Boot() + time.Minute
	var longest time.Duration
	for range 300 {
		until += time.Millisecond
		before := clock.Boot()
		if err := s.Renew(until); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, clock.Boot()-before)
	}
	close(stop)
	<-stopped
	if n := a.dropped(); n != 0 {
		t.Errorf("want no packet dropped while the gate is renewed, got %d", n)
	}
	t.Logf("the longest of 300 renewals took %v", longest)
}

func TestLateRenewalShuts(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	s.take(t)
	if !b.asks(float4, patience) {
		t.Fatal("want an answer while the address is held")
	}
	// The process is stopped within the renewal: the clock jumps over the end.
	now := clock.Boot()
	s.cfg.Now = func() time.Duration { now += time.Minute; return now }
	if err := s.Renew(clock.Boot() + 90*time.Second); !errors.Is(err, ErrNotLeading) {
		t.Errorf("want ErrNotLeading, got %v", err)
	}
	if b.asks(float4, 50*time.Millisecond) {
		t.Error("want no answer after a renewal that came too late")
	}
}

// TestLifetimeTakesAddressesAway also looks that the lifetime of an address does
// not pass over to the route of the interface's own network.
func TestLifetimeTakesAddressesAway(t *testing.T) {
	for _, guarded := range []bool{true, false} {
		a, b := pair(t)
		s := a.run("a")
		if !guarded {
			withoutGate(t, a, s)
		}
		start := clock.Boot()
		until := start + 3200*time.Millisecond
		if err := s.Take(until); err != nil {
			t.Fatal(err)
		}
		s.leads.Store(false) // else the Set, alive in this test, would put them back
		// seen is when the last look began that saw the addresses.
		var seen time.Duration
		within(t, "the addresses are gone", func() bool {
			began := clock.Boot()
			if len(a.addrs()) == 3 {
				return true
			}
			seen = began
			return false
		})
		if !guarded && seen > until {
			t.Errorf("want the addresses gone by the end of the lease, they were there %v later", seen-until)
		}
		t.Logf("guarded %v: gone %v after Take with a lease of 3.2 s", guarded, (clock.Boot() - start).Round(time.Millisecond))
		a.do(func() {
			routes, err := netlink.RouteList(link(t, "eth0"), netlink.FAMILY_ALL)
			must(t, err)
			networks := 0
			for _, r := range routes {
				if r.Dst != nil && (r.Dst.String() == "10.9.8.0/24" || r.Dst.String() == "fd00:9::/64") {
					networks++
				}
			}
			if networks != 2 {
				t.Errorf("want the routes of both own networks to stay, got %v", routes)
			}
		})
		if !b.hearsOwn() {
			t.Error("want a's own address to answer")
		}
	}
}

// withoutGate makes s what it is on a kernel without nftables.
func withoutGate(t *testing.T, h *host, s *subject) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	h.do(func() { must(t, s.gate.remove()) })
	s.gate = nil
}

func TestWithoutGateAShortLeaseIsRefused(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	withoutGate(t, a, s)
	if err := s.Take(clock.Boot() + cutOff(false) - time.Millisecond); !errors.Is(err, ErrNotLeading) {
		t.Errorf("want ErrNotLeading, got %v", err)
	}
	if err := s.Take(clock.Boot() + cutOff(false) + time.Minute); err != nil {
		t.Error(err)
	}
}

func TestCutOff(t *testing.T) {
	a, _ := pair(t)
	addrs, _ := ParseAll([]string{float4Net + "@eth0", float6Net + "@eth0"})
	a.do(func() {
		d, err := CutOff(addrs)
		if err != nil || d <= 0 || d > 100*time.Millisecond {
			t.Errorf("want some milliseconds, got %v, %v", d, err)
		}
	})
	if got := a.tables(); len(got) != 0 {
		t.Errorf("want no table left behind, got %v", got)
	}
}

// TestRoutedTrafficPasses has a shut gate on a host between the client and the
// holder of the address.
func TestRoutedTrafficPasses(t *testing.T) {
	middle, client := pair(t)
	holder := newHost(t)
	middle.do(func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "peer"}))
		must(t, netlink.LinkSetNsFd(link(t, "peer"), int(holder.ns)))
		must(t, netlink.LinkSetUp(link(t, "eth1")))
		addr, _ := netlink.ParseAddr("10.9.7.1/24")
		must(t, netlink.AddrAdd(link(t, "eth1"), addr))
		must(t, forward())
		_, to, _ := net.ParseCIDR("10.9.8.100/32")
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link(t, "eth1").Attrs().Index, Dst: to, Gw: net.ParseIP("10.9.7.2")}))
	})
	holder.do(func() { must(t, netlink.LinkSetName(link(t, "peer"), "eth0")) })
	holder.configure("10.9.7.2/24", "10.9.8.100/32", "fd00:9::100/128")
	holder.do(func() {
		_, back, _ := net.ParseCIDR("10.9.8.0/24")
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link(t, "eth0").Attrs().Index, Dst: back, Gw: net.ParseIP("10.9.7.1")}))
	})
	client.do(func() {
		_, to, _ := net.ParseCIDR("10.9.8.100/32")
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link(t, "eth0").Attrs().Index, Dst: to, Gw: net.ParseIP("10.9.8.1")}))
	})
	holder.echo()
	middle.run("middle")
	if !client.asks(float4, patience) {
		t.Error("want a host with a shut gate to forward between the client and the holder")
	}
}
