package gossip

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"
	"doyen/seniority"
)

func TestMembersOfOneViewExchangeNoStates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 5)
		time.Sleep(time.Minute)
		before := n.Dials()
		time.Sleep(5 * time.Minute)
		if got := n.Dials() - before; got != 0 {
			t.Errorf("want no connection at rest, got %d", got)
		}
		for _, g := range all {
			wantNames(t, g, all...)
			for _, reason := range []string{"question-dropped", "answer-dropped"} {
				if c := g.Counters()[reason]; c > 0 {
					t.Errorf("%s: want no %s, got %d", g.Name(), reason, c)
				}
			}
		}
	})
}

// A member that joins while another can hear neither it nor its seed is missed
// by that one: nothing says it again.
func TestWhatGossipMissedIsMadeGood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		old := group(t, &n, 2)
		time.Sleep(20 * time.Second)
		deaf := old[1].AddrPort()
		n.Cut(func(from, to netip.AddrPort) bool { return to == deaf })
		late := start(t, Config{Transport: n.Host(), Seeds: []string{"10.0.0.1:4000"}})
		time.Sleep(2 * time.Second)
		wantNames(t, old[1], old...)
		n.Cut(nil)
		time.Sleep(2 * compareInterval)
		for _, g := range append(old, late) {
			wantNames(t, g, append(old, late)...)
		}
	})
}

func TestDigestStandsForTheView(t *testing.T) {
	of := func(peers ...Peer) uint64 {
		r := newRoster(func(string) {})
		r.begin(peers[0], 0)
		for _, p := range peers[1:] {
			r.put(p)
		}
		return r.digest()
	}
	peer := func(name, addr string, number uint64) Peer {
		m := seniority.Member{Name: name, Addr: netip.MustParseAddrPort(addr), Incarnation: 1, Join: seniority.Join{Group: 1, Number: number}}
		return Peer{Member: m, Advertise: addr}
	}
	a, b := peer("a", "10.0.0.1:1", 1), peer("b", "10.0.0.2:1", 2)
	if of(a, b) != of(b, a) {
		t.Error("want one digest of one view at every member")
	}
	seen := map[uint64]string{}
	for what, digest := range map[string]uint64{
		"both": of(a, b), "one": of(a), "the other": of(b),
		"another address": of(a, peer("b", "10.0.0.3:1", 2)), "another number": of(a, peer("b", "10.0.0.2:1", 3)),
	} {
		if other, ok := seen[digest]; ok {
			t.Errorf("%s and %s have one digest", what, other)
		}
		seen[digest] = what
	}
	r := newRoster(func(string) {})
	r.begin(a, 0)
	before := r.digest()
	r.put(b)
	if r.digest() == before {
		t.Error("want another digest when the view has changed")
	}
}

// A question is answered only if its sender is a member and has the same view.
func TestOnlyTheSameViewIsAgreedTo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 2)
		time.Sleep(5 * time.Second)
		a, b := all[0], all[1]
		packet := func(digest uint64, from string) []byte {
			return append(binary.BigEndian.AppendUint64([]byte{questionByte}, digest), from...)
		}
		for _, q := range []struct {
			what   string
			packet []byte
			agreed bool
		}{
			{"the same view", packet(a.members.digest(), b.Name()), true},
			{"another view", packet(a.members.digest()+1, b.Name()), false},
			{"a stranger", packet(a.members.digest(), "x"), false},
			{"half a question", packet(a.members.digest(), "")[:5], false},
		} {
			before := len(b.agreed)
			a.receive(q.packet)
			synctest.Wait()
			if got := len(b.agreed) > before; got != q.agreed {
				t.Errorf("%s: want it agreed to: %t, got %t", q.what, q.agreed, got)
			}
			if q.agreed {
				<-b.agreed
			}
		}
	})
}
