package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A lan is a network of hosts, each a network namespace with an interface eth0
// at 10.88.0.1, .2, … on one bridge. Its agents are real processes.
type lan struct {
	*group
	name   string // what the names of its namespaces begin with
	bridge string
	hosts  []*host
}

// lans is how many this process has made. Namespaces are named by it, because tests run
// beside each other; all else that a host has is its own.
var lans atomic.Int64

// host is a namespace and the agent in it, named by its address.
type host struct {
	*node
	lan  *lan
	ns   string
	addr string
	port string // the bridge's end of its cable
}

// newLAN makes a network of count hosts; no agent runs yet. The namespaces go
// with the test. It is skipped without root or ip, unless DOYEN_TEST_REQUIRE
// says that this is a failure.
func newLAN(t *testing.T, count int) *lan {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatalf("network namespaces need root and ip: %v", err)
		}
		t.Skip("network namespaces need root and ip")
	}
	// The namespaces come first, so that they go last, after the agents in them.
	name := fmt.Sprintf("doyen-%d-%d-", os.Getpid(), lans.Add(1))
	bridge := name + "br"
	addNamespace(t, bridge)
	ip(t, "-n", bridge, "link", "add", "br0", "type", "bridge")
	ip(t, "-n", bridge, "link", "set", "br0", "up")
	var hosts []*host
	for i := range count {
		h := &host{ns: name + strconv.Itoa(i+1), port: fmt.Sprintf("port%d", i+1)}
		h.addr = fmt.Sprintf("10.88.0.%d", i+1)
		addNamespace(t, h.ns)
		ip(t, "link", "add", "eth0", "netns", h.ns, "type", "veth", "peer", "name", h.port, "netns", bridge)
		ip(t, "-n", bridge, "link", "set", h.port, "master", "br0", "up")
		ip(t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", "eth0")
		ip(t, "-n", h.ns, "link", "set", "eth0", "up")
		h.node = &node{name: h.addr + ":4000", at: "127.0.0.1:4000", within: []string{"ip", "netns", "exec", h.ns}}
		hosts = append(hosts, h)
	}
	l := &lan{group: newGroup(t, 0), name: name, bridge: bridge, hosts: hosts}
	for _, h := range hosts {
		h.lan, h.g = l, l.group
		l.nodes = append(l.nodes, h.node)
	}
	return l
}

// addNamespace makes a network namespace that goes with the test.
func addNamespace(t *testing.T, ns string) {
	t.Helper()
	ip(t, "netns", "add", ns)
	t.Cleanup(func() { ip(t, "netns", "del", ns) })
	ip(t, "-n", ns, "link", "set", "lo", "up")
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cut pulls a host's cable at the switch, or puts it back: the host itself has
// no carrier then.
func (h *host) cut(yes bool) {
	state := "up"
	if yes {
		state = "down"
	}
	ip(h.g.t, "-n", h.lan.bridge, "link", "set", h.port, state)
}

// isolate has the switch drop all that comes from a host and goes to it, or no
// longer: the host keeps its carrier.
func (h *host) isolate(yes bool) {
	if yes {
		ip(h.g.t, "-n", h.lan.bridge, "link", "set", h.port, "nomaster")
		return
	}
	ip(h.g.t, "-n", h.lan.bridge, "link", "set", h.port, "master", "br0")
}

// rename gives the host's interface another name, and its address back, which
// it loses while it is down. The cable is the same.
func (h *host) rename(from, to string, addr bool) {
	ip(h.g.t, "-n", h.ns, "link", "set", from, "down")
	ip(h.g.t, "-n", h.ns, "addr", "flush", "dev", from)
	ip(h.g.t, "-n", h.ns, "link", "set", from, "name", to)
	ip(h.g.t, "-n", h.ns, "link", "set", to, "up")
	if addr {
		ip(h.g.t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", to)
	}
}

// die kills everything of a host's agent at once and takes its network away, as
// when the host loses power.
func (h *host) die() {
	h.isolate(true)
	s := h.state()
	if s.KeeperPID != nil {
		syscall.Kill(*s.KeeperPID, syscall.SIGKILL)
	}
	h.signal(syscall.SIGKILL)
}

// expectLeader returns an error unless all of nodes follow want.
func expectLeader(want *node, nodes ...*node) error {
	for _, n := range nodes {
		if got := n.leader(); got != want.name {
			return fmt.Errorf("%s: got leader %q, want %s", n.name, got, want.name)
		}
	}
	return nil
}

// expectMembers returns an error unless a member sees so many alive.
func expectMembers(n *node, want int) error {
	if got := len(n.state().Members); got != want {
		return fmt.Errorf("%s: got %d members, want %d", n.name, got, want)
	}
	return nil
}
