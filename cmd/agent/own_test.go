package main

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// secondNetwork gives every host a second interface, eth1, at 10.99.0.1, .2, …,
// where the agents talk to each other, so that the addresses of eth0 can come and
// go while the floating address is there.
func (l *lan) secondNetwork() {
	l.t.Helper()
	ip(l.t, "-n", l.bridge, "link", "add", "br1", "type", "bridge")
	ip(l.t, "-n", l.bridge, "link", "set", "br1", "up")
	var seeds []string
	for i := range l.hosts {
		seeds = append(seeds, fmt.Sprintf("10.99.0.%d", i+1))
	}
	for i, h := range l.hosts {
		port := fmt.Sprintf("second%d", i+1)
		ip(l.t, "link", "add", "eth1", "netns", h.ns, "type", "veth", "peer", "name", port, "netns", l.bridge)
		ip(l.t, "-n", l.bridge, "link", "set", port, "master", "br1", "up")
		ip(l.t, "-n", h.ns, "addr", "add", seeds[i]+"/24", "dev", "eth1")
		ip(l.t, "-n", h.ns, "link", "set", "eth1", "up")
		h.name = seeds[i] + ":4000"
		h.args = []string{"--seeds", strings.Join(seeds, ","), "--advertise-addr", seeds[i], "--lone-wait", "0s", "--floating-ip", floatingFlag}
	}
}

// What differs from one look to the next, or between two hosts, and means nothing.
var (
	numbers = regexp.MustCompile(`^\d+: `) // of interfaces
	clocks  = regexp.MustCompile(`(?:valid|preferred)_lft \d+sec|(?:timeout|expires) [\dms]+ ?|\\`)
)

// network is all of IPv4 that an agent might change on a host: addresses, routes,
// rules.
func (h *host) network() string {
	text := h.run("ip", "-o", "-4", "addr") + h.run("ip", "-4", "route", "show", "table", "all") + h.run("nft", "--stateless", "list", "ruleset")
	return clocks.ReplaceAllString(text, "")
}

// ownNetwork is the host's own addresses and routes on eth0, without what belongs
// to the floating address.
func (h *host) ownNetwork() string {
	var kept []string
	for line := range strings.Lines(h.run("ip", "-o", "-4", "addr", "show", "dev", "eth0") + h.run("ip", "-4", "route", "show", "dev", "eth0")) {
		if strings.Contains(line, floating) || strings.Contains(line, "metric 65535") {
			continue
		}
		kept = append(kept, strings.Join(strings.Fields(numbers.ReplaceAllString(clocks.ReplaceAllString(line, ""), "")), " "))
	}
	return strings.Join(kept, "\n")
}

// killBoth kills a host's agent and its keeper at once, so that neither cleans up.
func (h *host) killBoth() {
	h.g.t.Helper()
	s := h.state()
	if s.KeeperPID == nil {
		h.g.t.Fatalf("%s has no keeper", h.name)
	}
	syscall.Kill(*s.KeeperPID, syscall.SIGSTOP)
	h.signal(syscall.SIGKILL)
	syscall.Kill(*s.KeeperPID, syscall.SIGKILL)
	h.wait()
}

// However an agent ends, and under any name of the next one, the next answers,
// and the host is in the end as it was before the first.
func TestHostIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	l.secondNetwork()
	h, client := l.hosts[0], l.hosts[1]
	l.nodes = l.nodes[:1]
	pristine := h.network()
	as := func(name string, port int) {
		t.Helper()
		h.name, h.at = fmt.Sprintf("10.99.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port)
		h.start("--name", name, "--bind-port", fmt.Sprint(port))
		l.eventually(func() error { // the address alone may be left over
			if s := h.state(); s.Name != name || !s.IsLeader || !h.holds() {
				return fmt.Errorf("%s does not hold the address yet", name)
			}
			return nil
		})
		for i := range 5 {
			if out := client.run("curl", "-s", "-m", "2", fmt.Sprintf("http://%s:%d/ping", floating, port)); out != "OK" {
				t.Errorf("%s: connection %d to %s: %s", name, i+1, floating, out)
			}
		}
	}
	as("first", 4000)
	h.killBoth()
	as("second", 4000)
	h.killBoth()
	as("second", 4001)
	h.signal(syscall.SIGTERM)
	if code := h.wait(); code != 0 {
		t.Errorf("want exit code 0, got %d", code)
	}
	if got := h.network(); got != pristine {
		t.Errorf("after a clean stop the network is\n%s\nwant\n%s", got, pristine)
	}
	as("third", 4001)
	h.signal(syscall.SIGKILL) // the keeper cleans up
	h.wait()
	if !poll(func() bool { return len(processesOf(l.dir)) == 0 }) {
		t.Fatal("the keeper does not end")
	}
	if got := h.network(); got != pristine {
		t.Errorf("after the agent was killed the network is\n%s\nwant\n%s", got, pristine)
	}
}

// Each reload of many a firewall begins with flush ruleset. No connection to the
// address breaks, and what guards it is back.
func TestFlushedRulesetBreaksNoConnection(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	l.serve()
	for _, h := range l.hosts {
		h.args = []string{"--seeds", "10.88.0.1,10.88.0.2", "--floating-ip", floatingFlag}
	}
	l.start()
	h := l.hosts[0]
	l.checkLeader(h.node, l.nodes...)
	connection := l.connect()
	before := h.state()
	guarded := h.run("nft", "list", "tables")
	if !strings.Contains(guarded, "doyen_"+floating) {
		t.Fatalf("want tables that the address names, got %q", guarded)
	}
	for i := range 20 {
		h.run("nft", "flush", "ruleset")
		l.eventually(func() error {
			if got := h.run("nft", "list", "tables"); got != guarded {
				return fmt.Errorf("got the tables %q, want %q", got, guarded)
			}
			return nil
		})
		if err := connection.broken(); err != nil {
			t.Fatalf("flushed for the %dth time: the connection is broken: %v", i+1, err)
		}
	}
	if after := h.state(); after.Term != before.Term || *after.KeeperPID != *before.KeeperPID {
		t.Errorf("term %d under keeper %d became term %d under keeper %d", before.Term, *before.KeeperPID, after.Term, *after.KeeperPID)
	}
}

// An address of an administrator that is the floating one stays on a host that
// follows, with any length, through start, stop, and a kill.
func TestAdministratorsAddressStays(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"/32", "/25", "/24"} {
		t.Run(length[1:], func(t *testing.T) {
			l := newLAN(t, 2)
			l.secondNetwork()
			a, b := l.hosts[0], l.hosts[1]
			ip(t, "-n", b.ns, "addr", "add", floating+length, "dev", "eth0")
			pristine := b.network()
			l.start()
			l.checkLeader(a.node, l.nodes...)
			l.eventually(func() error {
				if s := b.state(); s.Eligible {
					return fmt.Errorf("the host may take an address that is its own")
				}
				return nil
			})
			b.signal(syscall.SIGTERM)
			b.wait()
			if got := b.network(); got != pristine {
				t.Errorf("after the end of the agent the network is\n%s\nwant\n%s", got, pristine)
			}
			b.start()
			l.checkLeader(a.node, l.nodes...)
			b.killBoth()
			if !slices.Contains(b.addresses(), floating+length) {
				t.Errorf("after agent and keeper were killed the host has %q", b.addresses())
			}
		})
	}
}

// The host's own addresses come and go in many orders around the floating one. At
// every step the host has what it would have without an agent: a twin without one
// gets the same commands. At no instant would the host's own traffic leave from
// the floating address, and no connection to it breaks while a route leads back.
func TestOwnAddressesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, promote := range []string{"0", "1"} {
		t.Run("promote_secondaries="+promote, func(t *testing.T) {
			l := newLAN(t, 2)
			l.secondNetwork()
			a, b := l.hosts[0], l.hosts[1]
			twin := newTwin(t, a)
			for _, h := range []*host{a, twin} {
				setting := "=" + promote
				if out := h.run("sysctl", "-q", "-w", "net.ipv4.conf.all.promote_secondaries"+setting, "net.ipv4.conf.eth0.promote_secondaries"+setting); out != "" {
					t.Fatal(out)
				}
				h.change("flush")
			}
			l.start()
			l.checkLeader(a.node, l.nodes...)
			l.eventually(func() error { return b.answered() })
			sources := a.watchSource("10.88.0.3")
			for _, order := range ownOrders {
				for i, step := range order {
					a.change(step)
					twin.change(step)
					l.eventually(func() error {
						if got, want := a.ownNetwork(), twin.ownNetwork(); got != want {
							return fmt.Errorf("after %v the host has\n%s\nwant\n%s", order[:i+1], got, want)
						}
						return b.answered()
					})
				}
			}
			if out := a.run(l.exe, "step-down"); !strings.Contains(out, b.name) {
				t.Fatal(out)
			}
			l.eventually(func() error {
				if a.holds() || !b.holds() {
					return fmt.Errorf("the address has not moved")
				}
				return nil
			})
			if got, want := a.ownNetwork(), twin.ownNetwork(); got != want {
				t.Errorf("after the hand-over the host has\n%s\nwant\n%s", got, want)
			}
			looks, seen := sources()
			t.Logf("looked %d times for the source of the host's own traffic", looks)
			if seen > 0 || looks == 0 {
				t.Errorf("%d of %d times the host's own traffic would have left from %s", seen, looks, floating)
			}
		})
	}
}

// answered returns an error unless the floating address answers a TCP client on h.
func (h *host) answered() error {
	if !h.answers() {
		return fmt.Errorf("%s does not answer on %s", floating, h.ns)
	}
	return nil
}

// newTwin makes a host with an interface eth0 like h's, on a cable that
// ends nowhere, without an agent.
func newTwin(t *testing.T, h *host) *host {
	t.Helper()
	twin := &host{ns: h.ns + "-twin", node: &node{g: h.g, name: "twin"}}
	twin.within = []string{"ip", "netns", "exec", twin.ns}
	addNamespace(t, twin.ns)
	ip(t, "-n", twin.ns, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	ip(t, "-n", twin.ns, "link", "set", "other", "up")
	ip(t, "-n", twin.ns, "link", "set", "eth0", "up")
	return twin
}

// change does what a step names: "+" adds an address to eth0 and "-" removes one,
// "flush" removes all, the floating one as well.
func (h *host) change(step string) {
	h.g.t.Helper()
	switch {
	case step == "flush":
		// On a busy host the address may be back before ip has looked ten times.
		h.g.eventually(func() error {
			if out := h.run("ip", "-4", "addr", "flush", "dev", "eth0"); out != "" {
				return errors.New(out)
			}
			return nil
		})
	case step[0] == '+':
		ip(h.g.t, "-n", h.ns, "addr", "add", step[1:], "brd", "+", "dev", "eth0")
	default:
		ip(h.g.t, "-n", h.ns, "addr", "del", step[1:], "dev", "eth0")
	}
}

// ownOrders are ways in which two addresses of the floating one's network can come
// and go, with one of another length among them, and restarts of the network.
var ownOrders = [][]string{
	{"+10.88.0.1/24", "-10.88.0.1/24"},
	{"+10.88.0.1/24", "+10.88.0.11/24", "-10.88.0.11/24", "-10.88.0.1/24"},
	{"+10.88.0.1/24", "+10.88.0.11/24", "flush"},
	{"+10.88.0.12/32", "+10.88.0.1/24", "-10.88.0.12/32", "+10.88.0.11/24", "flush", "+10.88.0.11/24", "+10.88.0.1/24", "-10.88.0.11/24", "flush"},
	{"+10.88.0.11/25", "+10.88.0.1/24", "-10.88.0.11/25", "flush", "+10.88.0.1/24", "+10.88.0.11/24", "+10.88.0.12/32", "flush", "+10.88.0.1/24"},
}

// watchSource looks all the time from which address the host would send to
// another. The function returned ends that, and says how often it has looked and
// how often the address was the floating one.
func (h *host) watchSource(to string) func() (looks, seen int) {
	h.g.t.Helper()
	ns, err := netns.GetFromName(h.ns)
	if err != nil {
		h.g.t.Fatal(err)
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, syscall.NETLINK_ROUTE)
	if err != nil {
		h.g.t.Fatal(err)
	}
	h.g.t.Cleanup(handle.Close)
	stop := make(chan struct{})
	looks, seen := 0, 0
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			routes, err := handle.RouteGet(net.ParseIP(to))
			looks++
			if err == nil && len(routes) > 0 && routes[0].Src.String() == floating {
				seen++
			}
		}
	})
	return func() (int, int) {
		close(stop)
		watch.Wait()
		return looks, seen
	}
}

// The network of the leader's host is restarted, and takes long enough for
// another member to be elected: one leader and one holder are left, and the host
// has what is its own.
func TestNetworkRestartLeavesOneHolder(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	for _, h := range l.hosts {
		h.args = []string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", floatingFlag}
	}
	l.start()
	a := l.hosts[0]
	l.checkLeader(a.node, l.nodes...)
	own := a.ownNetwork()
	sources := a.watchSource("10.88.0.3")
	a.change("flush")
	l.eventually(func() error {
		if !l.hosts[1].holds() && !l.hosts[2].holds() {
			return fmt.Errorf("no other host has taken the address")
		}
		return nil
	})
	ip(t, "-n", a.ns, "addr", "add", "10.88.0.1/24", "dev", "eth0")
	l.holder()
	l.eventually(func() error {
		if got := a.ownNetwork(); got != own {
			return fmt.Errorf("the host has\n%s\nwant\n%s", got, own)
		}
		return nil
	})
	if looks, seen := sources(); seen > 0 || looks == 0 {
		t.Errorf("%d of %d times the host's own traffic would have left from %s", seen, looks, floating)
	}
}

// A host that would not answer ARP requests for the address is no candidate, and
// says why.
func TestHostThatIgnoresARPIsNoCandidate(t *testing.T) {
	t.Parallel()
	h := newLAN(t, 1).hosts[0]
	h.args = []string{"--lone-wait", "0s", "--floating-ip", floatingFlag}
	h.run("sysctl", "-q", "-w", "net.ipv4.conf.eth0.arp_ignore=8")
	h.start()
	h.g.eventually(func() error {
		for _, f := range h.state().Findings {
			if strings.Contains(f.Evidence, "arp_ignore is 8") {
				return nil
			}
		}
		return fmt.Errorf("no finding about arp_ignore: %+v", h.state().Findings)
	})
	if s := h.state(); s.IsLeader || s.Eligible || h.holds() {
		t.Errorf("want no candidate, got %+v", s)
	}
}
