//go:build linux

package floatingip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// TestManyAddresses holds more addresses than answers about their tables fit into the
// buffer of a socket.
func TestManyAddresses(t *testing.T) {
	a, b := pair(t)
	last := netip.MustParseAddr("10.9.8.249")
	a.echo(last)
	const many = 150
	var list []string
	for i := range many {
		list = append(list, fmt.Sprintf("10.9.8.%d/24@eth0", 100+i))
	}
	s := a.runWith(list...)
	if got := a.tables(); len(got) != many {
		t.Fatalf("want a table for each of %d addresses, got %d", many, len(got))
	}
	s.take(t)
	for _, ip := range []netip.Addr{float4, last} {
		if !b.asks(ip, patience) {
			t.Errorf("want an answer from %v", ip)
		}
	}
	must(t, s.Renew(s.cfg.Now()+2*time.Minute))
	some, err := ParseAll(list[:2])
	must(t, err)
	a.do(func() { must(t, s.Change(some)) })
	if !b.asks(float4, patience) || b.asks(last, 50*time.Millisecond) {
		t.Errorf("want an answer from %v, which is kept, alone", float4)
	}
	if got := a.tables(); len(got) != len(some) {
		t.Errorf("want the tables of the addresses that are kept, got %v", got)
	}
	must(t, s.Close())
	if got := a.tables(); len(got) != 0 {
		t.Errorf("want no table after Close, got %v", got)
	}
}

// TestOnlyChangesOfNeighboursConcern has an address come, be renewed as another election
// renews its own, change its form, and go.
func TestOnlyChangesOfNeighboursConcern(t *testing.T) {
	a, _ := pair(t)
	own, err := ParseAll([]string{float4Net + "@eth0"})
	must(t, err)
	s := &Set{cfg: Config{Addresses: own}, neighbours: map[neighbour]int{}}
	feed := addressFeed()
	a.do(func() { must(t, feed.open()) })
	t.Cleanup(feed.close)
	replace := func(lifetime int) func(netlink.Link, *netlink.Addr) error {
		return func(l netlink.Link, addr *netlink.Addr) error {
			addr.ValidLft, addr.PreferedLft = lifetime, lifetime
			return netlink.AddrReplace(l, addr)
		}
	}
	for _, step := range []struct {
		what, address string
		do            func(netlink.Link, *netlink.Addr) error
		want          bool
	}{
		{"it comes", "10.9.8.77/24", replace(60), true},
		{"it is renewed", "10.9.8.77/24", replace(70), false},
		{"it is renewed again", "10.9.8.77/24", replace(80), false},
		{"it stays for good", "10.9.8.77/24", replace(0), true},
		{"it goes", "10.9.8.77/24", netlink.AddrDel, true},
		{"it is back", "10.9.8.77/24", replace(60), true},
		{"one of another network comes", "10.99.0.1/24", replace(60), false},
		{"the floating address is there", float4Net, replace(60), false},
		{"somebody else adds the floating address", float4Net, replace(0), true},
		{"the floating address goes", float4Net, netlink.AddrDel, true},
	} {
		addr, err := netlink.ParseAddr(step.address)
		must(t, err)
		a.do(func() { must(t, step.do(link(t, "eth0"), addr)) })
		select {
		case u := <-feed.updates:
			if got := s.concerns(u); got != step.want {
				t.Errorf("%s: want a concern: %v, got %v", step.what, step.want, got)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the kernel tells of no change", step.what)
		}
	}
}

// TestTablesThatAreNamedByAnAddress tells the names of tables from those of earlier versions.
func TestTablesThatAreNamedByAnAddress(t *testing.T) {
	for name, want := range map[string]bool{
		"doyen_10.9.8.100": true, "doyen_fd00__1": true, "doyen_0123456789ab_10.9.8.100": false,
		"doyen_10.9.8.100_4000": false, "doyen_": false, "doyen_web": false, "doyen_fd00_0_0_0_0_0_0_1": false,
	} {
		if got := namesAddress(name); got != want {
			t.Errorf("%s: want %v, got %v", name, want, got)
		}
	}
	for _, text := range []string{"10.9.8.100/24@eth0", "fd00::1/64@eth0"} {
		list, err := ParseAll([]string{text})
		must(t, err)
		if name := newGuard(tablePrefix, list[0], nftables.TableFamilyINet).table.Name; !namesAddress(name) {
			t.Errorf("%s is not taken for the name of a table that guards %s", name, text)
		}
	}
}
