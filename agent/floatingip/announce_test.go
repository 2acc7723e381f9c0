//go:build linux

package floatingip

import (
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestPackets compares with packets put together by hand from the RFCs.
func TestPackets(t *testing.T) {
	padding := strings.Repeat("00", 60-42) // to Ethernet's least length
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 5}
	for _, test := range []struct {
		addr   string
		router bool
		want   []string
	}{
		{addr: float4Net + "@eth0", want: []string{
			"ffffffffffff020000000005 0806 0001 0800 06 04 0001 020000000005 0a090864 000000000000 0a090864" + padding,
			"ffffffffffff020000000005 0806 0001 0800 06 04 0002 020000000005 0a090864 020000000005 0a090864" + padding,
		}},
		{addr: float6Net + "@eth0", want: []string{
			"333300000001020000000005 86dd 60000000 0020 3a ff fd000009000000000000000000000100 ff020000000000000000000000000001" +
				"88 00 5887 20000000 fd000009000000000000000000000100 02 01 020000000005",
		}},
		{addr: float6Net + "@eth0", router: true, want: []string{
			"333300000001020000000005 86dd 60000000 0020 3a ff fd000009000000000000000000000100 ff020000000000000000000000000001" +
				"88 00 d886 a0000000 fd000009000000000000000000000100 02 01 020000000005",
		}},
	} {
		a, err := Parse(test.addr)
		if err != nil {
			t.Fatal(err)
		}
		got := packets(a, mac, test.router)
		if len(got) != len(test.want) {
			t.Fatalf("%v: want %d packets, got %d", a, len(test.want), len(got))
		}
		for i, want := range test.want {
			if want = strings.ReplaceAll(want, " ", ""); hex.EncodeToString(got[i]) != want {
				t.Errorf("%v: want %s, got %x", a, want, got[i])
			}
		}
	}
}

func TestCapable(t *testing.T) {
	const admin, raw = 1 << unix.CAP_NET_ADMIN, 1 << unix.CAP_NET_RAW
	if err := capable(admin | raw); err != nil {
		t.Errorf("want both capabilities to do, got %v", err)
	}
	for have, want := range map[uint32][]string{admin: {"CAP_NET_RAW"}, raw: {"CAP_NET_ADMIN"}, 0: {"CAP_NET_ADMIN", "CAP_NET_RAW"}} {
		err := capable(have)
		for _, name := range []string{"CAP_NET_ADMIN", "CAP_NET_RAW"} {
			named := err != nil && strings.Contains(err.Error(), name)
			if wanted := strings.Contains(strings.Join(want, " "), name); named != wanted {
				t.Errorf("with %#x: want %v named, got %v", have, want, err)
			}
		}
	}
}

func TestLinksOfNoAddresses(t *testing.T) {
	var l *Links
	if err := l.Usable(); err != nil || l.Changed() != nil {
		t.Errorf("want always usable links that never change, got %v", err)
	}
	l.Close()
}

func TestLinks(t *testing.T) {
	a, b := pair(t)
	addrs, err := ParseAll([]string{float4Net + "@eth0"})
	if err != nil {
		t.Fatal(err)
	}
	var l *Links
	a.do(func() { l, err = WatchLinks(addrs, nil) })
	l.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	becomes := func(what string, want error) {
		t.Helper()
		for errors.Is(l.Usable(), want) == false {
			<-l.Changed()
		}
		if got := l.Usable(); want != nil && !strings.Contains(got.Error(), "eth0") {
			t.Errorf("%s: want the interface named, got %v", what, got)
		}
	}
	becomes("at first", nil)
	b.do(func() { must(t, netlink.LinkSetDown(link(t, "eth0"))) })
	becomes("with the other end down", ErrNoCarrier)
	if errors.Is(l.Usable(), ErrSetDown) {
		t.Errorf("want it to be up on this host, got %v", l.Usable())
	}
	b.do(func() { must(t, netlink.LinkSetUp(link(t, "eth0"))) })
	becomes("with the other end up", nil)
	a.do(func() { must(t, netlink.LinkSetDown(link(t, "eth0"))) })
	becomes("switched off", ErrSetDown)
	becomes("switched off, which is a link lost", ErrNoCarrier)
	a.do(func() { must(t, netlink.LinkSetName(link(t, "eth0"), "other")) })
	becomes("renamed", ErrNoInterface)
	a.do(func() { must(t, netlink.LinkSetName(link(t, "other"), "eth0")) })
	becomes("named back", ErrNoCarrier)
	b.do(func() { must(t, netlink.LinkDel(link(t, "eth0"))) })
	becomes("removed", ErrNoInterface)
}

func TestHealedLinkIsAnnounced(t *testing.T) {
	a, b := pair(t)
	arp, nd := b.listen(unix.ETH_P_ARP), b.listen(unix.ETH_P_IPV6)
	s := a.run("a")
	s.take(t)
	a.do(func() { must(t, netlink.LinkSetDown(link(t, "eth0"))) })
	within(t, "the link is down", func() bool { return errors.Is(s.links.Usable(), ErrNoCarrier) })
	before4, before6 := arp.count(arpFrom(float4, 1)), nd.count(advertOf(float6))
	a.do(func() { must(t, netlink.LinkSetUp(link(t, "eth0"))) })
	within(t, "the addresses are announced after the link came back", func() bool {
		return arp.count(arpFrom(float4, 1)) > before4 && nd.count(advertOf(float6)) > before6
	})
}
