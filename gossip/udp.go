package gossip

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/findings"
)

const (
	// udpTries is how many pings a member leaves without an answer before UDP to it is
	// taken for blocked. A network that loses one of ten packets answers four of five, so
	// that all fail once in three thousand times; a member that is just restarted misses some.
	udpTries = 5
	// udpPause is from one ping to the next.
	udpPause = 100 * time.Millisecond
)

// answersUDP reports whether a member answers one of some pings over UDP.
func (g *Gossip) answersUDP(ctx context.Context, list *memberlist.Memberlist, member string, addr netip.AddrPort) bool {
	answered := make(chan struct{}, udpTries)
	wait := udpPause
	for i := range udpTries {
		go func() {
			if _, err := list.Ping(member, net.UDPAddrFromAddrPort(addr)); err == nil {
				answered <- struct{}{}
			}
		}()
		if i == udpTries-1 {
			wait = g.cfg.ProbeInterval / 2 // memberlist's time-out of a ping
		}
		select {
		case <-answered:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
	return false
}

// doubtUDP has checkUDP ping a member, since a probe of memberlist came through to it over TCP
// alone. It never blocks: while the queue is full it drops the member, which the next such
// probe brings up again.
func (g *Gossip) doubtUDP(member string) {
	select {
	case g.doubts <- member:
	default:
	}
}

// checkUDP pings the members in doubt, one after the other.
func (g *Gossip) checkUDP(list *memberlist.Memberlist) {
	defer g.wg.Done()
	for {
		select {
		case <-g.life.Done():
			return
		case member := <-g.doubts:
			addr, ok := g.members.addrOf(member)
			if ok && !g.answersUDP(g.life, list, member, addr) && g.life.Err() == nil {
				g.findings.Find(findings.UDPBlocked, member, "TCP to "+member+" works, UDP does not")
			}
		}
	}
}
