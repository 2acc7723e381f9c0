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

// TestOnlyChangesThatConcernAreTold has addresses come, be renewed, change their form, and go:
// the host's own, and those of two elections. In want are the Sets that have to look: a
// has 10.9.8.100, b 10.9.8.101.
func TestOnlyChangesThatConcernAreTold(t *testing.T) {
	host, _ := pair(t)
	f := newFeed(0)
	readers := map[string]*reader{}
	for name, text := range map[string]string{"a": "10.9.8.100/24@eth0", "b": "10.9.8.101/24@eth0"} {
		addrs, err := ParseAll([]string{text})
		must(t, err)
		readers[name] = newReader(addrs)
		readers[name].networks = true
		f.add(readers[name])
	}
	host.do(func() { must(t, f.addresses.open()) })
	t.Cleanup(f.addresses.close)
	replace := func(lifetime int) func(netlink.Link, *netlink.Addr) error {
		return func(l netlink.Link, addr *netlink.Addr) error {
			addr.ValidLft, addr.PreferedLft = lifetime, lifetime
			return netlink.AddrReplace(l, addr)
		}
	}
	for _, step := range []struct {
		what, address string
		do            func(netlink.Link, *netlink.Addr) error
		want          string
	}{
		{"one of the host comes", "10.9.8.77/24", replace(60), "ab"},
		{"it is renewed", "10.9.8.77/24", replace(70), ""},
		{"it is renewed again", "10.9.8.77/24", replace(80), ""},
		{"it stays for good", "10.9.8.77/24", replace(0), "ab"},
		{"it goes", "10.9.8.77/24", netlink.AddrDel, "ab"},
		{"it is back", "10.9.8.77/24", replace(60), "ab"},
		{"one of another network comes", "10.99.0.1/24", replace(60), ""},
		{"that of a is put", "10.9.8.100/24", replace(60), ""},
		{"that of b is put", "10.9.8.101/24", replace(60), ""},
		{"that of b is renewed", "10.9.8.101/24", replace(70), ""},
		{"that of b goes", "10.9.8.101/24", netlink.AddrDel, "b"},
		{"somebody makes that of a the host's own", "10.9.8.100/24", replace(0), "ab"},
		{"it is so no more", "10.9.8.100/24", replace(60), "ab"},
		{"that of a goes", "10.9.8.100/24", netlink.AddrDel, "a"},
	} {
		addr, err := netlink.ParseAddr(step.address)
		must(t, err)
		host.do(func() { must(t, step.do(link(t, "eth0"), addr)) })
		select {
		case u := <-f.addresses.updates:
			f.addressChanged(&u)
		case <-time.After(patience):
			t.Fatalf("%s: the kernel tells of no change", step.what)
		}
		got := ""
		for _, name := range []string{"a", "b"} {
			select {
			case <-readers[name].news:
				got += name
			default:
			}
		}
		if got != step.want {
			t.Errorf("%s: want %q to look, got %q", step.what, step.want, got)
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
