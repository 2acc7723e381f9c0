//go:build linux

// Package bgp runs the configurations of BIRD beside agents: three hosts, each on a network
// of its own, and a router that learns where the floating address is.
package bgp

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/examples/internal/trial"
)

var rounds = flag.Int("bgp.rounds", 0, "how often each fault is measured, by BGP and by ARP (default: once, by BGP)")

// A fault is done to the leader's host, and undone.
type fault struct {
	name     string
	do, undo func(l *lab, h *host)
}

var faults = []fault{
	{"stop", func(_ *lab, h *host) { h.program.Signal(syscall.SIGTERM) }, restart},
	{"kill-agent", func(_ *lab, h *host) { h.program.Signal(syscall.SIGKILL) }, restart},
	{"host-cut-off", func(l *lab, h *host) {
		// The router's cable keeps its carrier, as that of a switch would.
		for _, rule := range []string{"add table inet cut",
			"add chain inet cut in { type filter hook input priority -400; policy drop; }",
			"add chain inet cut out { type filter hook output priority -400; policy drop; }",
			"add rule inet cut in iif lo accept", "add rule inet cut out oif lo accept"} {
			l.do(h.Run("nft", rule))
		}
	}, func(l *lab, h *host) { l.do(h.Run("nft", "delete table inet cut")) }},
}

func restart(l *lab, h *host) {
	l.t.Helper()
	h.program.End(syscall.SIGTERM)
	l.start(h)
}

// TestAddressIsRouted does each fault to the leader's host. Another host answers, and the
// router knows no other way to the address than that.
func TestAddressIsRouted(t *testing.T) {
	agent := trial.Build(t)
	for _, routed := range []bool{true, false} {
		if !routed && *rounds == 0 {
			continue
		}
		t.Run(map[bool]string{true: "bgp", false: "arp"}[routed], func(t *testing.T) {
			l := newLab(t, agent, routed)
			for _, f := range faults {
				var outages, takeovers []time.Duration
				for range max(1, *rounds) {
					outage, takeover := l.measure(f)
					outages, takeovers = append(outages, outage), append(takeovers, takeover)
				}
				t.Logf("%s: outage %s, takeover %s", f.name, figures(outages), figures(takeovers))
			}
		})
	}
}

func (l *lab) measure(f fault) (outage, takeover time.Duration) {
	l.t.Helper()
	leader := l.settled()
	l.checkRoute(leader)
	at := time.Now()
	f.do(l, leader)
	outage, takeover = l.outage(at, leader.Name)
	f.undo(l, leader)
	l.checkRoute(l.settled())
	return outage, takeover
}

// checkRoute checks that the router has one route to the address, to this host.
func (l *lab) checkRoute(leader *host) {
	l.t.Helper()
	if !l.routed {
		return
	}
	trial.Eventually(l.t, patience, func() error {
		out, err := l.router.Run("ip", "route", "show", l.address)
		if err == nil && (strings.Count(out, "\n") != 1 || !strings.Contains(out, "via "+leader.addr+" ")) {
			err = fmt.Errorf("the router has the routes %q, want one via %s", out, leader.addr)
		}
		return err
	})
}

// figures are median, least and most.
func figures(list []time.Duration) string {
	slices.Sort(list)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("%s (%s–%s) ms of %d", ms(list[len(list)/2]), ms(list[0]), ms(list[len(list)-1]), len(list))
}
