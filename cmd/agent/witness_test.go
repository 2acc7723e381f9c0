package main

import (
	"fmt"
	"testing"
)

// docs/two-machines.md: with a witness on a third host one of two machines leads,
// and the other takes over when it is cut off, which then does not lead; the witness
// never does.
func TestTwoHostsAndAWitness(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	a, b, witness := l.hosts[0], l.hosts[1], l.hosts[2]
	for _, h := range l.hosts {
		h.args = []string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds"}
	}
	witness.args = append(witness.args, "--role", "witness")
	l.start()
	var first, second *host
	l.eventually(func() error {
		switch leader := witness.leader(); leader {
		case a.name:
			first, second = a, b
		case b.name:
			first, second = b, a
		default:
			return fmt.Errorf("got leader %q, want one of the two", leader)
		}
		return expectLeader(first.node, l.nodes...)
	})
	first.isolate(true)
	l.eventually(func() error {
		if s := first.state(); s.IsLeader || s.Leader != nil {
			return fmt.Errorf("want no leader on the side of one, got %+v", s)
		}
		return expectLeader(second.node, second.node, witness.node)
	})
	// Without its last partner the witness does not lead either.
	second.isolate(true)
	l.eventually(func() error {
		if s := witness.state(); s.IsLeader || s.Leader != nil {
			return fmt.Errorf("want no leader without a majority, got %+v", s)
		}
		return nil
	})
	first.isolate(false)
	l.eventually(func() error { return expectLeader(first.node, first.node, witness.node) })
}
