//go:build linux

package floatingip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// TestNoHalfGate has the tables of the last of several addresses fail, whose name is longer
// than the kernel takes. The others' would cut off what nothing opens again.
func TestNoHalfGate(t *testing.T) {
	a, _ := pair(t)
	var list []string
	for i := range perTransaction {
		list = append(list, fmt.Sprintf("10.9.8.%d/24@eth0", 100+i))
	}
	addrs, err := ParseAll(append(list, "fd00:1111:2222:3333:4444:5555:6666:7777/64@eth0"))
	must(t, err)
	a.do(func() {
		if _, err := newGate(tablePrefix+strings.Repeat("x", 220), addrs); err == nil {
			t.Error("the kernel has taken a name that is too long")
		}
	})
	if got := a.tables(); len(got) != 0 {
		t.Errorf("want no table of a gate that could not be made, got %d", len(got))
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
		for told := false; !told; { // the kernel tells of other addresses, too, as of those for IPv6
			select {
			case u := <-f.addresses.updates:
				f.addressChanged(&u)
				told = u.LinkAddress.IP.Equal(addr.IP)
			case <-time.After(patience):
				t.Fatalf("%s: the kernel tells of no change", step.what)
			}
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

// TestNewReaderOfAnAddress has an address go while no Set is about it, and come back once
// one is again, as when a configuration takes an election away and gives it back.
func TestNewReaderOfAnAddress(t *testing.T) {
	f := newFeed(0)
	addrs, err := ParseAll([]string{"10.9.8.100/24@eth0"})
	must(t, err)
	change := func(there bool) {
		f.addressChanged(&netlink.AddrUpdate{LinkAddress: *ipNet(addrs[0].Prefix), LinkIndex: 2, Flags: unix.IFA_F_PERMANENT, NewAddr: there})
	}
	former, r := newReader(addrs), newReader(addrs)
	f.add(former)
	change(true)
	f.remove(former)
	change(false)
	f.add(r)
	change(true)
	if len(r.news) == 0 {
		t.Error("the address has become the host's own, and nothing tells")
	}
}

// TestOnlyInterfacesThatConcernAreTold has other interfaces come and go, and the own one
// lose its name and get it back.
func TestOnlyInterfacesThatConcernAreTold(t *testing.T) {
	host, _ := pair(t)
	f := newFeed(0)
	r := newReader(nil)
	r.links = map[string]int{"eth0": 0}
	f.add(r)
	within(t, "the interface is up", func() (up bool) {
		host.do(func() { up = link(t, "eth0").Attrs().OperState == netlink.OperUp })
		return up
	})
	host.do(func() {
		must(t, f.links.open())
		f.numbered(r, "eth0", link(t, "eth0").Attrs().Index)
	})
	t.Cleanup(f.links.close)
	for n, step := range []struct {
		what string
		do   func() error
		want bool
	}{
		{"another comes", func() error {
			return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other"}})
		}, false},
		{"it is renamed", func() error { return netlink.LinkSetName(link(t, "other"), "spare") }, false},
		{"it goes", func() error { return netlink.LinkDel(link(t, "spare")) }, false},
		{"the own one is set down", func() error { return netlink.LinkSetDown(link(t, "eth0")) }, true},
		{"it loses its name", func() error { return netlink.LinkSetName(link(t, "eth0"), "lost") }, true},
		{"it is named back", func() error { return netlink.LinkSetName(link(t, "lost"), "eth0") }, true},
		{"it goes", func() error { return netlink.LinkDel(link(t, "eth0")) }, true},
		{"another gets its name", func() error {
			return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}})
		}, true},
		{"it goes", func() error { return netlink.LinkDel(link(t, "eth0")) }, true},
		{"one comes and is up", func() error {
			err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other"}})
			return errors.Join(err, netlink.LinkSetUp(link(t, "other")))
		}, false},
		{"it gets the name as a second one", func() error { return netlink.LinkAddAltName(link(t, "other"), "eth0") }, true},
	} {
		last := fmt.Sprint("step ", n) // of the changes of this step
		host.do(func() {
			must(t, step.do())
			must(t, netlink.LinkSetAlias(link(t, "lo"), last))
		})
		for seen := false; !seen; {
			select {
			case u := <-f.links.updates:
				f.linkChanged(&u)
				seen = u.Link.Attrs().Alias == last
			case <-time.After(patience):
				t.Fatalf("%s: the kernel tells of no change", step.what)
			}
		}
		got := len(r.news) > 0
		if got {
			<-r.news
		}
		if got != step.want {
			t.Errorf("%s: want to be told: %v, got %v", step.what, step.want, got)
		}
	}
}

// TestSubscriptionsAreShared has many elections on one host, as in a keeper and as in an
// agent, and counts the sockets that the kernel copies each change to.
func TestSubscriptionsAreShared(t *testing.T) {
	a, _ := pair(t)
	const many = 20
	for i := range many {
		text := fmt.Sprintf("10.9.8.%d/24@eth0", 100+i)
		a.runWith(text)
		addrs, err := ParseAll([]string{text})
		must(t, err)
		a.do(func() {
			l, err := WatchLinks(addrs, nil)
			must(t, err)
			t.Cleanup(l.Close)
		})
	}
	route, groups := 0, 0
	a.do(func() {
		table, err := os.ReadFile("/proc/thread-self/net/netlink")
		must(t, err)
		for line := range strings.Lines(string(table)) {
			// The columns are the address, the kind, the port, which is 0 for the end
			// of the kernel, and the groups of changes.
			field := strings.Fields(line)
			if field[1] != "0" || field[2] == "0" {
				continue
			}
			route++
			if field[3] != "00000000" {
				groups++
			}
		}
	})
	if groups != 2 || route != 4 {
		t.Errorf("want a subscription to addresses, one to interfaces and two sockets for requests, got %d and %d", groups, route-groups)
	}
}

// TestLinksKnowWhatTheirCallerWasTold has a feed begin to fail just before Links are told by
// it. If only the caller, or only the Links, knew of that, the end would be told wrongly.
func TestLinksKnowWhatTheirCallerWasTold(t *testing.T) {
	a, _ := pair(t)
	a.do(func() {
		f, err := shareFeed()
		must(t, err)
		defer f.leave()
		failed := false
		for end := time.Now().Add(patience); !failed && time.Now().Before(end); {
			called, over := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(over)
				for !failed && !closed(called) {
					feeds.Lock()
					f.mu.Lock()
					if failed = f.users == 2 && len(f.readers) == 0; failed {
						f.err = errors.New("no sockets")
					}
					f.mu.Unlock()
					feeds.Unlock()
				}
			}()
			l, err := WatchLinks(nil, nil)
			knows := l.failing
			close(called)
			<-over
			l.Close()
			if knows != (err != nil) {
				t.Errorf("the caller is told %v, and the Links know of a failure: %v", err, knows)
			}
		}
		if !failed {
			t.Error("the feed has never begun to fail in time")
		}
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
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

// TestCutOffIsProbedOnce asks what the cut-off costs of no more addresses than there are
// kinds of tables.
func TestCutOffIsProbedOnce(t *testing.T) {
	all, err := ParseAll([]string{"fd00::1/64@eth0", "192.0.2.1/24@eth0", "fd00::2/64@eth0", "192.0.2.2/24@eth1"})
	must(t, err)
	if got := oneOfEachFamily(all); !slices.Equal(got, all[:2]) {
		t.Errorf("want the first of each family, got %v", got)
	}
}
