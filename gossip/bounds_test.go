package gossip

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// What others can make a member keep is bounded; other tests bound the
// members, the findings, the inbox, the connections and what a seed stands for.
func TestWhatOthersMakeAMemberKeepIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n simnet.Network
		g := newMember(t, Config{Transport: n.Host()})
		peer := func(i int) Peer {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
			return Peer{Member: seniority.Member{Name: fmt.Sprint("m", i), Addr: addr, Incarnation: 1}}
		}
		const more = 100
		for i := range maxKnown + more {
			p := peer(i)
			g.members.put(p)
			g.members.remove(p.Name)
			time.Sleep(time.Millisecond)
		}
		if got := len(g.members.known); got != maxKnown {
			t.Errorf("members remembered: want %d, got %d", maxKnown, got)
		}
		if _, ok := g.members.addrOf(peer(maxKnown + more - 1).Name); !ok {
			t.Error("want the one that went missing last remembered")
		}
		for i := range maxKnown {
			g.members.goodbye(peer(maxKnown+more-1-i).Name, 1)
		}
		if got := len(g.Gone()); got != goneBacklog {
			t.Errorf("ends of runs: want %d waiting, got %d", goneBacklog, got)
		}
		for i := range 2 * maxRelay {
			g.relay.newer(peer(i).Name, &seniority.Message{From: peer(i).Name, Term: 1})
		}
		if got := len(g.relay.last); got > maxRelay {
			t.Errorf("senders of gossip: want %d at most, got %d", maxRelay, got)
		}
		for reason, want := range map[string]uint64{"members-forgotten": more, "gone-full": maxKnown - goneBacklog} {
			if got := g.Counters()[reason]; got != want {
				t.Errorf("%s: want %d counted, got %d", reason, want, got)
			}
		}
		g.Close()
	})
}

// Members that come and go faster than any group grows are refused: memberlist
// keeps the dead for a while.
func TestNewcomersAreBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n simnet.Network
		g := newMember(t, Config{Transport: n.Host()})
		d := &delegate{gossip: g}
		taken := 0
		come := func(times int) {
			for range times {
				p := Peer{Member: seniority.Member{Name: fmt.Sprint("m", taken), Incarnation: 1}, Advertise: "x:1"}
				node := &memberlist.Node{Name: p.Name, Addr: []byte{10, 1, byte(taken >> 8), byte(taken)}, Port: 1, Meta: appendMeta(nil, &p)}
				if d.NotifyAlive(node) == nil {
					d.NotifyJoin(node)
					d.NotifyLeave(node)
					taken++
				}
			}
		}
		come(2 * maxMembers)
		if taken != maxMembers {
			t.Errorf("at once: want %d taken, got %d", maxMembers, taken)
		}
		time.Sleep(10 * time.Second)
		come(2 * maxMembers)
		if want := maxMembers + 10*newcomerRate; taken != want {
			t.Errorf("ten seconds later: want %d taken in all, got %d", want, taken)
		}
		g.Close()
	})
}
