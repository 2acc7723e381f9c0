//go:build linux

package gossip

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A host that boots may have a bridge of its own before it has a network. Its
// address, the same on many hosts, is not advertised while seeds tell that it
// cannot be the right one.
func TestAdvertiseIsNotGuessedBeforeTheNetworkIsUp(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatal("needs root to make a network namespace")
		}
		t.Skip("needs root to make a network namespace")
	}
	bridge, network := "172.17.0.1/16", "10.0.0.7/24"
	for _, tc := range []struct {
		name  string
		seeds []string
		addrs []string
		want  string
		err   string
	}{
		{"no network yet", []string{"10.0.0.1", "10.0.0.2"}, []string{bridge}, "", "no route to the seed 10.0.0.1:4007"},
		{"nor anything else", []string{"10.0.0.1"}, nil, "", "no route to the seed 10.0.0.1:4007"},
		{"one seed on this host", []string{"127.0.0.1", "10.0.0.2"}, []string{bridge}, "", "no route to the seed 10.0.0.2:4007"},
		{"a network", []string{"10.0.0.1"}, []string{bridge, network}, "10.0.0.7:4007", ""},
		{"a way to one of the seeds", []string{"192.0.2.1", "10.0.0.1"}, []string{bridge, network}, "10.0.0.7:4007", ""},
		{"seeds that cannot be resolved yet", []string{"nowhere"}, []string{bridge}, "", "the seed nowhere cannot be resolved"},
		{"one seed on this host, another unknown", []string{"127.0.0.1", "nowhere"}, []string{bridge}, "", "the seed nowhere cannot be resolved"},
		{"a way to a seed, another unknown", []string{"nowhere", "10.0.0.1"}, []string{bridge, network}, "10.0.0.7:4007", ""},
		{"the floating address comes first", []string{"10.0.0.1"}, []string{"10.0.0.100/24,10.0.0.7/24"}, "10.0.0.7:4007", ""},
		{"the floating address alone", []string{"10.0.0.1"}, []string{"10.0.0.100/24"}, "", "only a floating address on the way to the seed 10.0.0.1:4007"},
		{"the floating address alone and no seeds", nil, []string{"10.0.0.100/24"}, "", "10.0.0.100 is a floating address"},
		{"link-local alone", []string{"169.254.9.9"}, []string{"169.254.3.4/16"}, "", "only a link-local address on the way to the seed 169.254.9.9:4007"},
		{"link-local alone and no seeds", nil, []string{"169.254.3.4/16"}, "", "169.254.3.4 is link-local"},
		{"IPv6 alone", nil, []string{"fd00::7/64"}, "[fd00::7]:4007", ""},
		{"IPv6 alone and a seed", []string{"fd00::1"}, []string{"fd00::7/64"}, "[fd00::7]:4007", ""},
		{"IPv6 first, and a seed with IPv4", []string{"10.0.0.1", "fd00::1"}, []string{"fd00::7/64"}, "", "no route to the seed 10.0.0.1:4007"},
		{"no seeds", nil, []string{bridge}, "172.17.0.1:4007", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got advertised
			err := onBootingHost(tc.addrs, func() (err error) {
				c := &Config{Seeds: tc.seeds, Resolver: resolver{}, BindAddr: "0.0.0.0", Floating: addrs("10.0.0.100")}
				bound, err := bindTo(t.Context(), c)
				if err != nil {
					return err
				}
				got, err = resolveAdvertise(t.Context(), c, bound, 4007)
				return err
			})
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("want error %q, got %+v, %v", tc.err, got, err)
				}
			case err != nil || got.text != tc.want:
				t.Errorf("want %s, got %+v, %v", tc.want, got, err)
			}
		})
	}
}

// onBootingHost runs f in a new network namespace with these addresses, each on
// an interface of its own unless a comma joins them.
func onBootingHost(addrs []string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			for i, text := range addrs {
				link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "test" + string(rune('0'+i))}}
				err := netlink.LinkAdd(link)
				for _, text := range strings.Split(text, ",") {
					addr, parsed := netlink.ParseAddr(text)
					if parsed != nil {
						return parsed
					}
					if addr.IP.To4() == nil {
						addr.Flags = unix.IFA_F_NODAD
					}
					err = errors.Join(err, netlink.AddrAdd(link, addr))
				}
				if err := errors.Join(err, netlink.LinkSetUp(link)); err != nil {
					return err
				}
			}
			return f()
		}()
	}()
	return <-done
}
