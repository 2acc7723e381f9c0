package main

import (
	"fmt"
	"slices"
	"testing"

	"doyen/agent"
)

// finding returns the finding of a kind that a member has, or nil.
func (n *node) finding(what string) *agent.Finding {
	all := n.state().Findings
	if i := slices.IndexFunc(all, func(f agent.Finding) bool { return f.What == what }); i >= 0 {
		return &all[i]
	}
	return nil
}

// Hosts that have IPv6 alone need no flags for it.
func TestHostsWithIPv6Alone(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	for i, h := range l.hosts {
		ip(t, "-n", h.ns, "addr", "flush", "dev", "eth0", "scope", "global")
		ip(t, "-n", h.ns, "addr", "add", fmt.Sprintf("fd00:88::%d/64", i+1), "dev", "eth0", "nodad")
		h.name, h.at = fmt.Sprintf("[fd00:88::%d]:4000", i+1), "[::1]:4000"
	}
	l.start("--seeds", "fd00:88::1,fd00:88::2")
	l.checkLeader(l.nodes[0], l.nodes...)
}

// An address that was given must stay one of this host: without it the member is
// no candidate and says why, and with it all is well again.
func TestGivenAddressThatIsGone(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	for _, h := range l.hosts {
		h.args = []string{"--advertise-addr", h.name}
	}
	l.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3")
	l.checkLeader(l.nodes[0], l.nodes...)
	h := l.hosts[0]
	ip(t, "-n", h.ns, "addr", "add", "10.88.0.77/24", "dev", "eth0")
	ip(t, "-n", h.ns, "addr", "del", h.addr+"/24", "dev", "eth0")
	ip(t, "-n", h.ns, "addr", "add", "10.88.0.77/24", "dev", "eth0") // it was secondary, and went with the first
	l.eventually(func() error {
		if s := h.state(); s.Eligible || s.IsLeader || h.finding("address-gone") == nil {
			return fmt.Errorf("want the leader to hand over and to say why, got %+v", s)
		}
		return expectLeader(l.nodes[1], l.nodes[1:]...)
	})
	ip(t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", "eth0")
	l.checkLeader(l.nodes[1], l.nodes...)
	l.eventually(func() error {
		if s := h.state(); !s.Eligible || h.finding("address-gone") != nil {
			return fmt.Errorf("want it a candidate again, got %+v", s)
		}
		return nil
	})
}

// A host that starts without a network, and without seeds, has only the address
// of a bridge of its own to advertise. It advertises the right one once another
// member shows which that is.
func TestGuessedAddressIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	h := l.hosts[0]
	ip(t, "-n", h.ns, "addr", "flush", "dev", "eth0")
	ip(t, "-n", h.ns, "link", "add", "docker0", "type", "bridge")
	ip(t, "-n", h.ns, "addr", "add", "172.17.0.1/16", "dev", "docker0")
	ip(t, "-n", h.ns, "link", "set", "docker0", "up")
	h.name = "172.17.0.1:4000"
	h.start("--lone-wait", "0s")
	l.checkLeader(h.node, h.node)
	ip(t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", "eth0")
	l.hosts[1].start("--seeds", h.addr)
	l.checkLeader(h.node, l.nodes...)
	l.eventually(func() error {
		for _, n := range l.nodes {
			var d diagAnswer
			if !n.get("/diag", &d) || d.Verdict.Status != "agreed" {
				return fmt.Errorf("%s: want the verdict agreed, got %+v", n.name, d.Verdict)
			}
		}
		if got := h.state().Addr; got != h.addr+":4000" {
			return fmt.Errorf("want it to advertise %s:4000, got %s", h.addr, got)
		}
		return nil
	})
}
