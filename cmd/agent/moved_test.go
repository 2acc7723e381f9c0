package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// A member whose host gets another address goes on as the same member at the new
// one: one leader, one holder of the floating address, nothing that needs a hand.
func TestMemberWhoseAddressChanges(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name string
		args []string
	}{
		{"available", nil},
		{"quorum", []string{"--voters", "seeds"}},
	} {
		for _, who := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, host %d", mode.name, who+1), func(t *testing.T) {
				l := newLAN(t, 3)
				l.start(append(mode.args, "--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", floating+"/24@eth0")...)
				l.checkLeader(l.nodes[0], l.nodes...)
				h := l.hosts[who]
				ip(t, "-n", h.ns, "addr", "del", h.addr+"/24", "dev", "eth0")
				time.Sleep(50 * time.Millisecond)
				ip(t, "-n", h.ns, "addr", "add", "10.88.0.77/24", "dev", "eth0")
				began := time.Now()
				l.eventually(func() error { return l.healed(h, "10.88.0.77:4000") })
				t.Logf("healed %v after the address changed", time.Since(began).Round(time.Millisecond))
				// It stays so, and no finding comes of the old address.
				time.Sleep(12 * time.Second)
				if err := l.healed(h, "10.88.0.77:4000"); err != nil {
					t.Errorf("later: %v", err)
				}
				for _, n := range l.nodes {
					var r agent.Readiness
					n.get("/ready", &r)
					told := strings.Contains(strings.Join(r.Reasons, "\n"), "from its next start on it has no vote")
					if want := n == h.node && mode.args != nil; told != want || !r.Ready {
						t.Errorf("%s: want it ready, and to say that a restart takes its vote: %v, got %+v", n.name, want, r)
					}
				}
			})
		}
	}
}

// healed returns an error unless all follow one leader, which alone has the
// floating address, and see host h under its old name at the address given, and
// a diagnosis asked of each finds nothing.
func (l *lan) healed(h *host, addr string) error {
	leader := l.nodes[0].leader()
	for _, n := range l.nodes {
		if got := n.leader(); got == "" || got != leader {
			return fmt.Errorf("%s: got leader %q, want %q as elsewhere", n.name, got, leader)
		}
		if err := expectMembers(n, len(l.nodes)); err != nil {
			return err
		}
		var members []struct {
			Name, Addr string
			Alive      bool
		}
		n.get("/members", &members)
		seen := ""
		for _, m := range members {
			if m.Name == h.name && m.Alive {
				seen = m.Addr
			}
		}
		if seen != addr {
			return fmt.Errorf("%s sees %s at %q, want %s: %+v", n.name, h.name, seen, addr, members)
		}
		var d diagAnswer
		if !n.get("/diag", &d) || d.Verdict.Leader == nil {
			return fmt.Errorf("%s: want one leader in the verdict, got %+v", n.name, d.Verdict)
		}
		for _, f := range d.Verdict.Findings {
			// The kernel takes the floating address away with the host's own.
			if f.Degrades && f.What != "floating-ip-removed" {
				return fmt.Errorf("%s: want nothing that needs a hand, got %+v", n.name, f)
			}
		}
	}
	if holders := l.holders(); len(holders) != 1 || holders[0] != leader {
		return fmt.Errorf("want %s alone to hold the address, got %q", leader, holders)
	}
	return nil
}

// The network of the leader's host is started anew, as by a network manager: all
// addresses go, and the host's own is back some seconds later.
func TestLeaderWhoseNetworkIsRestarted(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{nil, {"--voters", "seeds"}} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			l := newLAN(t, 3)
			l.start(append(mode, "--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", floating+"/24@eth0")...)
			l.checkLeader(l.nodes[0], l.nodes...)
			h := l.hosts[0]
			ip(t, "-n", h.ns, "addr", "flush", "dev", "eth0")
			time.Sleep(6 * time.Second)
			l.eventually(func() error { return expectLeader(l.nodes[1], l.nodes[1:]...) })
			ip(t, "-n", h.ns, "addr", "add", h.addr+"/24", "dev", "eth0")
			began := time.Now()
			l.eventually(func() error { return l.healed(h, h.name) })
			t.Logf("%v: healed %v after the address was back", mode, time.Since(began).Round(time.Millisecond))
		})
	}
}
