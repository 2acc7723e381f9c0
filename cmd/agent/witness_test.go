package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"doyen/agent"
)

// Whether a member is eligible means the same of the group's own election and of a further
// one, and in all answers: it may be elected.
func TestWitnessesAndObserversAreNotEligible(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 4)
	a, b := g.nodes[0], g.nodes[1]
	may := map[string][]string{"": {a.name, b.name}, "?election=web": {a.name}}
	for i, more := range [][]string{{"--elections", "web"}, nil, {"--role", "witness"}, {"--role", "observer"}} {
		g.nodes[i].args = append(g.nodes[i].args, more...)
	}
	g.start()
	for _, n := range g.nodes {
		for query, want := range may {
			g.eventually(func() error {
				var members []agent.MemberInfo
				var s agent.State
				if !n.get("/members"+query, &members) || !n.get("/state"+query, &s) || len(members) != len(g.nodes) {
					return fmt.Errorf("%s knows %d members of %q", n.name, len(members), query)
				}
				for _, m := range members {
					if m.Eligible != slices.Contains(want, m.Name) {
						return fmt.Errorf("%s: /members%s: got %+v, want those eligible that are %q", n.name, query, m, want)
					}
				}
				if s.Eligible != slices.Contains(want, n.name) {
					return fmt.Errorf("%s: /state%s: got eligible %v of a %s, want those that are %q", n.name, query, s.Eligible, s.Role, want)
				}
				return nil
			})
		}
		if out := n.tell("members", "--election", "web"); strings.Contains(out, "may not lead") {
			t.Errorf("agent members: got %q, want roles without a word about leading", out)
		}
	}
}

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
