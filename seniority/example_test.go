package seniority_test

import (
	"fmt"
	"time"

	"doyen/seniority"
)

// node is a member as its owner sees it: the core, and what the owner must do for it.
type node struct {
	core     *seniority.Core
	disk     uint64        // the highest term stored
	deadline time.Duration // until when this node may say that it leads
	wake     time.Duration // when the core wants to be called again
}

// step gives the core an input and does what it says, in the order that matters.
func (n *node) step(now seniority.Now, in seniority.Input) []seniority.Message {
	out := n.core.Step(now, in)
	n.disk = max(n.disk, out.Persist) // first: no message may leave under a term that a restart would forget
	n.deadline = 0
	if out.Status.Leading {
		n.deadline = out.Status.Deadline // second: it leads only until then, by this clock
	}
	n.wake = out.Wake
	return append([]seniority.Message(nil), out.Messages...) // third; out is the core's own until its next step
}

// Three members in quorum mode elect the one that was started first. The owner of a core
// brings the clock, the disk and the network: here they are a variable each.
func ExampleCore() {
	timing, err := seniority.Profile("lan")
	if err != nil {
		fmt.Println(err)
		return
	}
	names := []string{"a", "b", "c"}
	var members []seniority.Member
	for i, name := range names {
		members = append(members, seniority.Member{Name: name, Voter: name, Incarnation: 1, Start: int64(i), Eligible: true})
	}
	now := seniority.Now{Boot: time.Hour, Wall: 1_700_000_000_000}
	nodes := map[string]*node{}
	for _, m := range members {
		core, err := seniority.New(seniority.Config{
			Self: m, Rule: seniority.Seniority{}, Timing: timing, Voters: names, KeptLease: timing.Lease,
		}, now)
		if err != nil {
			fmt.Println(err)
			return
		}
		nodes[m.Name] = &node{core: core}
	}
	var network []seniority.Message
	for _, name := range names {
		network = append(network, nodes[name].step(now, seniority.Input{Kind: seniority.View, Members: members, Settled: true})...)
	}
	leads := func() (leader string) {
		for _, name := range names {
			if now.Boot < nodes[name].deadline {
				leader = name
			}
		}
		return leader
	}
	for began := now.Boot; leads() == "" && now.Boot < began+time.Minute; now.Boot += time.Millisecond {
		for len(network) > 0 {
			m := network[0]
			network = network[1:]
			if m.To != "" { // what is for all goes by gossip, which this network lacks
				network = append(network, nodes[m.To].step(now, seniority.Input{Kind: seniority.Receive, Message: m})...)
			}
		}
		for _, name := range names {
			if n := nodes[name]; n.wake != 0 && n.wake <= now.Boot {
				network = append(network, n.step(now, seniority.Input{Kind: seniority.Tick})...)
			}
		}
	}
	leader := nodes[leads()]
	fmt.Println("the leader:", leads())
	fmt.Println("its term is on disk:", leader != nil && leader.disk > 0)
	// Output:
	// the leader: a
	// its term is on disk: true
}
