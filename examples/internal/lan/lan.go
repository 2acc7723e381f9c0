//go:build linux

// Package lan gives tests of the examples a network of their own: a switch with an
// address, to which containers and virtual machines are connected. From it the test asks
// the agents as any other host would. The network is removed with the test, and needs
// root.
package lan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// Port is the port of every agent.
	Port = 4000
	// Bridge is the name of the switch in its namespace.
	Bridge = "br0"
)

// askLimit is how long an agent may take to answer. An emulated machine on a busy host
// is slow.
const askLimit = 2 * time.Second

// LAN is a switch in a network namespace, in which the test has an address.
type LAN struct {
	t      *testing.T
	ns     netns.NsHandle
	bridge *netlink.Bridge
	client *http.Client
}

// New makes a LAN whose switch has these addresses. Without root, or without one
// of the tools, it skips the test, or fails it where nothing may be skipped.
func New(t *testing.T, tools []string, addrs ...string) *LAN {
	t.Helper()
	need(t, tools)
	l := &LAN{t: t, ns: newNamespace(t)}
	off := false
	l.bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: Bridge}, MulticastSnooping: &off}
	must(t, l.Do(func() error {
		return errors.Join(raise("lo"), netlink.LinkAdd(l.bridge), raise(Bridge, addrs...))
	}))
	l.client = clientOf(l.dial)
	return l
}

// clientOf asks over connections that dial makes. Each question uses a new one, as one
// of another host would.
func clientOf(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	return &http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// newNamespace makes a network namespace that goes with the test and all that runs in it.
func newNamespace(t *testing.T) (ns netns.NsHandle) {
	t.Helper()
	must(t, onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = netns.Get()
		return err
	}))
	t.Cleanup(func() { ns.Close() })
	return ns
}

func need(t *testing.T, tools []string) {
	t.Helper()
	trial.Needs(t, tools...)
	if os.Geteuid() != 0 {
		trial.Missing(t, "this test needs root to make network namespaces")
	}
}

// Do runs f in the network namespace of the switch. Sockets that f opens belong to it
// for good.
func (l *LAN) Do(f func() error) error { return in(l.ns, f) }

func in(ns netns.NsHandle, f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("entering a network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends with it, so that the namespace of no
// other goroutine changes.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Plug connects the network namespace of a process to the switch: its interface eth0
// gets the address addr.
func (l *LAN) Plug(pid int, addr string) {
	l.t.Helper()
	ns, err := netns.GetFromPid(pid)
	must(l.t, err)
	defer ns.Close()
	l.plug(ns, fmt.Sprintf("port%d", pid), addr)
}

func (l *LAN) plug(ns netns.NsHandle, port, addr string) {
	l.t.Helper()
	must(l.t, l.Do(func() error {
		cable := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: l.bridge.Attrs().Index},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns),
		}
		return errors.Join(netlink.LinkAdd(cable), netlink.LinkSetUp(cable))
	}))
	must(l.t, in(ns, func() error { return errors.Join(raise("lo"), raise("eth0", addr)) }))
}

// raise gives a link of the namespace addresses and sets it up.
func raise(name string, addrs ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	for _, addr := range addrs {
		err = errors.Join(err, addAddr(link, addr))
	}
	return errors.Join(err, netlink.LinkSetUp(link))
}

func addAddr(link netlink.Link, text string) error {
	addr, err := netlink.ParseAddr(text)
	if err != nil {
		return err
	}
	addr.Flags = unix.IFA_F_NODAD
	return netlink.AddrAdd(link, addr)
}

// dial connects to a host on the switch.
func (l *LAN) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = l.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Get asks the agent at an address and returns the status and the body.
func (l *LAN) Get(addr netip.Addr, path string) (int, []byte, error) {
	res, err := l.client.Get("http://" + netip.AddrPortFrom(addr, Port).String() + path)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// State is the state of the agent at an address.
func (l *LAN) State(addr netip.Addr) (s agent.State, err error) {
	status, body, err := l.Get(addr, "/state")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/state: %d", status)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// Leader waits until the agents at these addresses are the only members and agree on a
// leader, and returns its state. It fails the test if that takes longer than patience.
func (l *LAN) Leader(addrs []netip.Addr, patience time.Duration) agent.State {
	l.t.Helper()
	var leader agent.State
	l.Eventually(patience, func() (err error) {
		leader, err = l.agreed(addrs)
		return err
	})
	return leader
}

// agreed checks once whether the agents agree on a leader.
func (l *LAN) agreed(addrs []netip.Addr) (leader agent.State, err error) {
	for _, a := range addrs {
		s, err := l.State(a)
		switch {
		case err != nil:
			return s, err
		case s.Leader == nil:
			return s, fmt.Errorf("%s knows no leader", a)
		case len(s.Members) != len(addrs):
			return s, fmt.Errorf("%s: want %d members, got %q", a, len(addrs), s.Members)
		case s.IsLeader && leader.IsLeader:
			return s, fmt.Errorf("%s and %s both lead", leader.Name, s.Name)
		case s.IsLeader:
			leader = s
		}
		if first, err := l.State(addrs[0]); err != nil || first.Leader == nil || *first.Leader != *s.Leader {
			return s, fmt.Errorf("%s and %s do not agree", addrs[0], a)
		}
	}
	if !leader.IsLeader {
		return leader, errors.New("none of them leads")
	}
	return leader, nil
}

// Eventually fails the test if check does not succeed within patience.
func (l *LAN) Eventually(patience time.Duration, check func() error) {
	l.t.Helper()
	trial.Eventually(l.t, patience, check)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
