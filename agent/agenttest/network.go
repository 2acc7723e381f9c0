package agenttest

import (
	"net/netip"
	"sync"

	"doyen/agent"
	"doyen/gossip/simnet"

	"github.com/hashicorp/memberlist"
)

// Network connects agents in memory. The zero value is ready for use, and it is safe for
// concurrent use.
//
// Inside a bubble of testing/synctest its members live in virtual time. A bubble waits for
// its goroutines: let every Run end, and then sleep for a minute, which is how long
// memberlist's probes may be under way. A member may have a StateDir and a store, but no hook, command
// or health program: processes know nothing of virtual time.
type Network struct {
	net simnet.Network

	begin sync.Once
	mu    sync.Mutex
	alone map[netip.AddrPort]bool // the hosts cut off from all others
}

// seeds are those of a member without any: the first three hosts.
var seeds = []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}

// Member returns c for a member on a host of its own: 10.0.0.1:4000 the first, 10.0.0.2:4000
// the second. Without seeds, they are the first three hosts. A member is restarted by
// another agent.New with the same Config, once its Run has returned; until then that is an
// error.
func (n *Network) Member(c agent.Config) agent.Config {
	n.begin.Do(func() {
		n.net.Buffered = true
		n.alone = map[netip.AddrPort]bool{}
		n.net.Cut(func(from, to netip.AddrPort) bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.alone[from] || n.alone[to]
		})
	})
	if c.Seeds == nil {
		c.Seeds = seeds
	}
	addr := n.net.NextAddr()
	return agent.InMemory(c, func() (memberlist.NodeAwareTransport, error) { return n.net.Begin(addr) })
}

// Isolate cuts a member off from all others, without a word, or connects it again.
func (n *Network) Isolate(a *agent.Agent, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alone[netip.MustParseAddrPort(a.Addr())] = cut
}
