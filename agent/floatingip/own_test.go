//go:build linux

package floatingip

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"doyen/agent/clock"
)

// remove takes an address off eth0; it runs within do.
func (h *host) remove(text string) {
	addr, err := netlink.ParseAddr(text)
	must(h.t, err)
	must(h.t, netlink.AddrDel(link(h.t, "eth0"), addr))
}

// source is the address that the host's own packets to the other host carry.
func (h *host) source() (src string) {
	h.do(func() {
		routes, err := netlink.RouteGet(net.ParseIP("10.9.8.2"))
		if err == nil && len(routes) > 0 && routes[0].Src != nil {
			src = routes[0].Src.String()
		}
	})
	return src
}

// networks lists the host's routes to the network of the pair, by protocol.
func (h *host) networks() (list []string) {
	h.do(func() {
		routes, err := netlink.RouteList(link(h.t, "eth0"), netlink.FAMILY_V4)
		must(h.t, err)
		for _, r := range routes {
			if r.Dst != nil && r.Dst.String() == "10.9.8.0/24" {
				list = append(list, fmt.Sprintf("%d src %v", r.Protocol, r.Src))
			}
		}
	})
	return list
}

// TestHostAddressesComeAndGo takes the host's own addresses away and gives them
// back under a held floating address, in every order, with and without the
// promotion of secondary addresses, and looks that the floating address answers
// throughout, is never the source, and takes nothing with it.
func TestHostAddressesComeAndGo(t *testing.T) {
	const own, second = "10.9.8.1/24", "10.9.8.7/24"
	steps := map[string][]string{
		"own goes and comes":       {"-" + own, "+" + own},
		"a second one comes, goes": {"+" + second, "-" + second},
		"the first of two goes":    {"+" + second, "-" + own, "+" + own, "?-" + second},
		"both go, the first comes": {"+" + second, "-" + own, "?-" + second, "+" + own},
		"another network":          {"+10.9.9.1/24", "-" + own, "+" + own, "-10.9.9.1/24"},
	}
	for name, list := range steps {
		for _, promote := range []string{"0", "1"} {
			t.Run(name+", promote "+promote, func(t *testing.T) {
				a, b := pair(t)
				a.echo()
				a.do(func() { must(t, os.WriteFile("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", []byte(promote), 0)) })
				s := a.runWith(float4Net + "@eth0")
				s.take(t)
				for _, step := range list {
					a.do(func() {
						switch {
						case step[0] == '+':
							a.add(step[1:])
						case step[0] == '?': // it may have gone with its primary
							addr, _ := netlink.ParseAddr(step[2:])
							netlink.AddrDel(link(t, "eth0"), addr)
						default:
							a.remove(step[1:])
						}
					})
					within(t, "after "+step+" the address is in its place", func() bool { return a.inPlace() })
					if got := a.source(); got == float4.String() {
						t.Errorf("after %s: the floating address is the source of the host's own traffic", step)
					}
					if !b.asks(float4, patience) {
						t.Errorf("after %s: want an answer", step)
					}
				}
				must(t, s.Close())
				a.untouched()
			})
		}
	}
}

// inPlace reports whether the floating address is there once: secondary behind the
// host's own or, where the host has none in that network, as a network of its own
// that is never a source, with a route to its network.
func (h *host) inPlace() bool {
	var floating []netlink.Addr
	own := 0
	for _, a := range h.addrs() {
		switch {
		case a.IP.Equal(net.IP(float4.AsSlice())):
			floating = append(floating, a)
		case a.IP.To4() != nil && bits(&a) == 24 && a.Contains(float4.AsSlice()):
			own++
		}
	}
	if len(floating) != 1 {
		return false
	}
	f := &floating[0]
	alone := bits(f) == 32 && f.Scope == int(netlink.SCOPE_HOST)
	behind := bits(f) == 24 && f.Flags&unix.IFA_F_SECONDARY != 0
	if own == 0 && !alone || own > 0 && !behind {
		return false
	}
	routed := slices.ContainsFunc(h.networks(), func(r string) bool { return strings.HasPrefix(r, "222 ") })
	return routed == (own == 0)
}

// untouched fails unless the host has its own address, as the primary one, its
// route, and nothing else.
func (h *host) untouched() {
	h.t.Helper()
	got := h.addrs()
	if a, ok := got["10.9.8.1/24"]; !ok || a.Flags&unix.IFA_F_SECONDARY != 0 || len(got) != 3 {
		h.t.Errorf("want the host's own addresses as they were, got %v", got)
	}
	if routes := h.networks(); len(routes) != 1 || routes[0] != "2 src 10.9.8.1" {
		h.t.Errorf("want the kernel's own route alone, got %v", routes)
	}
}

// TestOwnAddressComesLater is a slow DHCP: the floating address is there first.
func TestOwnAddressComesLater(t *testing.T) {
	a, b := pair(t)
	a.echo()
	a.do(func() { a.remove("10.9.8.1/24") })
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	within(t, "the address is in its place", a.inPlace)
	if !b.asks(float4, patience) {
		t.Error("want an answer although the host has no address of its own")
	}
	if got := a.networks(); len(got) != 1 {
		t.Errorf("want a route to the network of the address, got %v", got)
	}
	a.do(func() { a.add("10.9.8.1/24") })
	within(t, "the route gives way to the host's own", a.inPlace)
	if got := a.source(); got != "10.9.8.1" {
		t.Errorf("want the host's own address as the source, got %q", got)
	}
	must(t, s.Drop())
	a.untouched()
}

// TestDropTakesTheRouteAway is a host that has no address in the network of the floating
// one, so that the agent adds the route to it.
func TestDropTakesTheRouteAway(t *testing.T) {
	a, _ := pair(t)
	a.do(func() { a.add("10.9.9.1/24"); a.remove("10.9.8.1/24") })
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	if got := a.networks(); len(got) != 1 {
		t.Fatalf("want a route to the network of the address, got %v", got)
	}
	must(t, s.Drop())
	if got := a.networks(); len(got) != 0 {
		t.Errorf("want no route to the network of an address that is not held, got %v", got)
	}
}

// TestDropKeepsTheOwnAddressBehindAFloatingOne gives up a floating address that is its
// network's primary one, as an agent may have left it that was killed while the host's
// addresses changed. The kernel would take the secondary ones with it.
func TestDropKeepsTheOwnAddressBehindAFloatingOne(t *testing.T) {
	a, _ := pair(t)
	a.do(func() {
		a.remove("10.9.8.1/24")
		left, err := netlink.ParseAddr(float4Net)
		must(t, err)
		left.Label, left.ValidLft, left.PreferedLft = label("eth0"), 60, 60
		must(t, netlink.AddrAdd(link(t, "eth0"), left))
		a.add("10.9.8.1/24")
	})
	if got := a.addrs()["10.9.8.1/24"]; got.Flags&unix.IFA_F_SECONDARY == 0 {
		t.Fatalf("want the host's own address behind the floating one, got %+v", got)
	}
	s := a.runWith(float4Net + "@eth0")
	must(t, s.Drop())
	a.untouched()
}

// TestTimeoutsThatRoundToNothingShut opens the gate for less than the kernel can
// count, which it would take for ever.
func TestTimeoutsThatRoundToNothingShut(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, 500 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 9 * time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			a, b := pair(t)
			a.echo()
			s := a.run("a")
			s.take(t)
			s.mu.Lock()
			var err error
			a.do(func() { err = s.gate.open(d) })
			s.mu.Unlock()
			must(t, err)
			time.Sleep(50 * time.Millisecond)
			k := b.knock()
			for range 20 {
				k.once(late)
				time.Sleep(time.Millisecond)
			}
			k.settle()
			if got := k.answers(late); got != [3]int{} {
				t.Errorf("want no answer, got %v", got)
			}
		})
	}
}

// TestBeginClearsTablesOfOtherNames leaves a shut table as earlier versions named
// theirs, and one that guards another address.
func TestBeginClearsTablesOfOtherNames(t *testing.T) {
	a, b := pair(t)
	a.echo()
	mine, _ := ParseAll([]string{float4Net + "@eth0", float6Net + "@eth0"})
	other, _ := ParseAll([]string{"10.9.8.101/24@eth0"})
	a.do(func() {
		_, err := newGate(tablePrefix+"0123456789ab_", mine)
		must(t, err)
		_, err = newGate(tablePrefix, other)
		must(t, err)
		conn, err := nftables.New()
		must(t, err)
		conn.AddTable(&nftables.Table{Name: "others", Family: nftables.TableFamilyINet})
		must(t, conn.Flush())
	})
	s := a.run("a")
	s.take(t)
	for _, probe := range []string{"v4", "v6"} {
		ip := float4
		if probe == "v6" {
			ip = float6
		}
		if !b.asks(ip, patience) {
			t.Errorf("want an answer over %s: a table left behind cuts it off", probe)
		}
	}
	must(t, s.Close())
	if got := a.tables(); len(got) != 2 || got["others"] != 1 || got["doyen_10.9.8.101"] != 2 {
		t.Errorf("want the tables of others left alone, got %v", got)
	}
}

// TestCloseBeforeBeginTouchesNothing is a second agent of the same addresses that
// ends before it had the locks.
func TestCloseBeforeBeginTouchesNothing(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.run("a")
	s.take(t)
	addrs, _ := ParseAll([]string{float4Net + "@eth0", float6Net + "@eth0"})
	a.do(func() {
		second, err := New(Config{Addresses: addrs, Leads: func() bool { return false }})
		must(t, err)
		must(t, second.Close())
	})
	if !b.asks(float4, patience) || !b.asks(float6, patience) {
		t.Error("want the first agent's addresses to answer")
	}
	if s.hasFound(Removed) {
		t.Error("the second agent has taken the first one's addresses off")
	}
	if err := s.Renew(clock.Boot() + 2*time.Minute); err != nil || s.hasFound(TablesRemoved) {
		t.Errorf("want the first agent's tables as they were, got %v, %v", err, s.events())
	}
}

// TestDropShutsTheGate looks at the sets themselves: the address is gone as well,
// so no packet would tell.
func TestDropShutsTheGate(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	open := func() (elements int) {
		a.do(func() {
			conn, err := nftables.New()
			must(t, err)
			for _, g := range s.gate.guards {
				list, err := conn.GetSetElements(g.set)
				must(t, err)
				elements += len(list)
			}
		})
		return elements
	}
	s.take(t)
	if got := open(); got != 3 {
		t.Fatalf("want the gates open for ARP, IPv4 and IPv6 while the addresses are held, got %d elements", got)
	}
	must(t, s.Drop())
	if got := open(); got != 0 {
		t.Errorf("want every gate shut after Drop, got %d elements", got)
	}
}

// A change that comes after the end is refused, and leaves no table behind.
func TestChangeAfterClose(t *testing.T) {
	a, _ := pair(t)
	s := a.run("a")
	must(t, s.Close())
	if err := s.Change(s.cfg.Addresses); err == nil {
		t.Error("a Set that is closed has changed its addresses")
	}
	if got := a.tables(); len(got) != 0 {
		t.Errorf("want no table, got %v", got)
	}
}
