//go:build linux

package floatingip

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// host is a network namespace with one link, eth0, to the other hosts.
type host struct {
	t  testing.TB
	ns netns.NsHandle
}

// pair makes two hosts, 10.9.8.1 and 10.9.8.2, fd00:9::1 and fd00:9::2, joined
// by a cable. They vanish with the test.
func pair(t testing.TB) (a, b *host) {
	t.Helper()
	needRoot(t)
	a, b = newHost(t), newHost(t)
	a.do(func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer"}))
		must(t, netlink.LinkSetNsFd(link(t, "peer"), int(b.ns)))
	})
	b.do(func() { must(t, netlink.LinkSetName(link(t, "peer"), "eth0")) })
	a.configure("10.9.8.1/24", "fd00:9::1/64")
	b.configure("10.9.8.2/24", "fd00:9::2/64")
	return a, b
}

// needRoot skips the test without root, or fails it where it is required.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		cannotRun(t, "needs root to make network namespaces")
	}
}

// cannotRun skips the test for a reason, or fails it where it is required.
func cannotRun(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t}
	onOwnThread(func() {
		must(t, unix.Unshare(unix.CLONE_NEWNET))
		var err error
		h.ns, err = netns.Get()
		must(t, err)
	})
	t.Cleanup(func() { h.ns.Close() })
	return h
}

// do runs f in the host's namespace. Sockets that f opens stay there.
func (h *host) do(f func()) {
	h.t.Helper()
	onOwnThread(func() {
		must(h.t, netns.Set(h.ns))
		f()
	})
}

// onOwnThread runs f on a thread that ends with it, so that the namespace of no
// other goroutine changes. A test that fails within f fails.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func (h *host) configure(addrs ...string) {
	h.t.Helper()
	h.do(func() {
		for _, name := range []string{"lo", "eth0"} {
			must(h.t, netlink.LinkSetUp(link(h.t, name)))
		}
		for _, a := range addrs {
			h.add(a)
		}
	})
}

// add gives eth0 an address; it runs within do.
func (h *host) add(text string) {
	addr, err := netlink.ParseAddr(text)
	must(h.t, err)
	addr.Flags = unix.IFA_F_NODAD
	must(h.t, netlink.AddrAdd(link(h.t, "eth0"), addr))
}

// addrs lists the addresses of eth0.
func (h *host) addrs() map[string]netlink.Addr {
	list := make(map[string]netlink.Addr)
	h.do(func() {
		found, err := netlink.AddrList(link(h.t, "eth0"), netlink.FAMILY_ALL)
		must(h.t, err)
		for _, a := range found {
			list[a.IPNet.String()] = a
		}
	})
	return list
}

func link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

// must ends the goroutine on an error: within do, that is the end of do.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// within waits for cond, which some other thread or the kernel makes true.
func within(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// forward lets the calling thread's namespace route packets.
func forward() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }
