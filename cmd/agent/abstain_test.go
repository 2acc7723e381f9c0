package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// The group goes from the profile wan to lan while its leader is cut off: what its
// voters promised it before they restarted must be over before another leads.
func TestShorterLeaseAfterARestartMakesNoSecondLeader(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	args := []string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds", "--hook", l.hook()}
	l.start(append(args, "--profile", "wan")...)
	old := l.nodes[0]
	l.checkLeader(old, l.nodes...)
	l.hosts[0].isolate(true)
	for _, n := range l.nodes[1:] {
		n.signal(syscall.SIGKILL)
	}
	for _, n := range l.nodes[1:] {
		n.wait()
		n.start(append(args, "--profile", "lan")...)
	}
	var r agent.Readiness
	l.eventually(func() error {
		if !l.nodes[1].get("/ready", &r, http.StatusServiceUnavailable) || !strings.Contains(fmt.Sprint(r.Reasons), "has just started and votes in ") {
			return fmt.Errorf("want /ready to say for how long this member abstains, got %q", r.Reasons)
		}
		return nil
	})
	var next *node
	l.eventually(func() error {
		for _, n := range l.nodes[1:] {
			if n.state().IsLeader {
				next = n
				return nil
			}
		}
		return fmt.Errorf("neither of the others leads")
	})
	l.eventually(func() error {
		released, acquired := l.event(old.name+" release end lease-lost"), l.event(next.name+" acquire begin")
		if released < 0 || acquired < 0 {
			return fmt.Errorf("want a release on %s and an acquire on %s, got %q", old.name, next.name, l.events())
		}
		if acquired < released {
			t.Errorf("%s acquired before %s had released: %q", next.name, old.name, l.events())
		}
		return nil
	})
}
