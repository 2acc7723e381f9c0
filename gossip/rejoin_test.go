package gossip

import (
	"net/netip"
	"testing"
	"time"

	"doyen/gossip/simnet"
)

// A member that may have been cut off has found the others with the first that answers: it
// does not wait for one that hangs.
func TestRejoinEndsWithTheFirstAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		a, b, c := all[0], all[1], all[2]
		time.Sleep(10 * time.Second)
		wantNames(t, a, a, b, c)
		hangs := netip.MustParseAddrPort(c.Addr())
		n.Cut(func(from, to netip.AddrPort) bool { return from == hangs || to == hangs })
		if a.Rejoin(); !a.View().Apart {
			t.Error("want a member that asks to be apart")
		}
		time.Sleep(100 * time.Millisecond)
		if a.View().Apart {
			t.Error("want it to have found one of the others within 100 ms")
		}
	})
}
