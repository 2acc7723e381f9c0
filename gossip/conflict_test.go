package gossip

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

func TestNamesakeStaysOutUntilTheFirstIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Name: "a", Transport: n.Host()})
		b := start(t, Config{Name: "b", Transport: n.Host(), Seeds: []string{"10.0.0.1:4000"}})
		time.Sleep(5 * time.Second)
		for _, g := range []*Gossip{a, b} {
			select {
			case <-g.Changed():
			default:
			}
		}
		// Its clock says 1970, which must not make it the first.
		second := newMember(t, Config{Name: "a", Transport: n.Host(), Seeds: []string{"10.0.0.2:4000"}})
		if err := second.Start(seniority.Member{Start: 1}, Extra{Rule: "seniority"}); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			time.Sleep(time.Second)
			wantNames(t, a, a, b)
			wantNames(t, b, a, b)
			wantNames(t, second, second)
		}
		if p, _ := b.members.member("a"); p.Addr != a.AddrPort() {
			t.Errorf("want the first to keep the name, got %+v", p)
		}
		if v := second.View(); !v.Clash || !v.Settled {
			t.Errorf("want the second to say that it stays out, got %+v", v)
		}
		if a.View().Clash || b.View().Clash {
			t.Error("want no other to stay out")
		}
		for _, g := range []*Gossip{a, b} {
			select {
			case <-g.Changed():
				t.Errorf("want nothing to change for %s", g.Addr())
			default:
			}
		}
		for _, g := range []*Gossip{a, b, second} {
			if f := found(t, g, findings.NameClash); f.Member != "a" || !f.Degrades {
				t.Errorf("want it to be about a and to degrade, got %+v", f)
			}
		}

		a.Close()
		time.Sleep(time.Minute)
		wantNames(t, b, second, b)
		wantNames(t, second, second, b)
		if second.View().Clash {
			t.Error("want the second in once the first is gone")
		}
		time.Sleep(2 * findings.TTL)
		if f := second.Findings(); slices.ContainsFunc(f, func(f findings.Finding) bool { return f.What == findings.NameClash }) {
			t.Errorf("want the finding gone, got %v", f)
		}
	})
}

func TestOfTwoNamesakesAloneTheFirstStarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		seeds := []string{"10.0.0.1:4000", "10.0.0.2:4000"}
		first := start(t, Config{Name: "a", Transport: n.Host(), Seeds: seeds})
		time.Sleep(time.Millisecond)
		second := start(t, Config{Name: "a", Transport: n.Host(), Seeds: seeds})
		time.Sleep(10 * time.Second)
		if first.View().Clash || !second.View().Clash {
			t.Errorf("want only the second to stay out, got %v and %v", first.View().Clash, second.View().Clash)
		}
		found(t, first, findings.NameClash)
		found(t, second, findings.NameClash)
	})
}

func TestTwoGroupsWithANamesakeMeet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a1 := start(t, Config{Name: "a", Transport: n.Host()})
		b := start(t, Config{Name: "b", Transport: n.Host(), Seeds: []string{"10.0.0.1:4000"}})
		a2 := start(t, Config{Name: "a", Transport: n.Host()})
		c := start(t, Config{Name: "c", Transport: n.Host(), Seeds: []string{"10.0.0.3:4000"}})
		time.Sleep(5 * time.Second)
		d := start(t, Config{Name: "d", Transport: n.Host(), Seeds: []string{"10.0.0.1:4000", "10.0.0.3:4000"}})
		time.Sleep(30 * time.Second)
		if a1.View().Clash == a2.View().Clash {
			t.Fatalf("want one of the two to stay out, got %v and %v", a1.View().Clash, a2.View().Clash)
		}
		stays, goes := a1, a2
		if a1.View().Clash {
			stays, goes = a2, a1
		}
		found(t, stays, findings.NameClash)
		found(t, goes, findings.NameClash)
		if err := goes.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		goes.Close()
		time.Sleep(time.Minute)
		for _, g := range []*Gossip{stays, b, c, d} {
			wantNames(t, g, stays, b, c, d)
			if p, ok := g.members.member("a"); g != stays && (!ok || p.Addr != stays.AddrPort()) {
				t.Errorf("want %s to know a at %s, got %+v", g.Name(), stays.AddrPort(), p)
			}
		}
	})
}

func TestHostileMembersAreRefusedByReason(t *testing.T) {
	good := Peer{Member: seniority.Member{Name: "x", Incarnation: 1}, Advertise: "x:1"}
	meta := appendMeta(nil, &good)
	for _, tc := range []struct {
		reason string
		node   memberlist.Node
	}{
		{"bad-name", memberlist.Node{Name: "evil\x1b[2J", Addr: []byte{10, 0, 0, 9}, Port: 1, Meta: meta}},
		{"bad-name", memberlist.Node{Name: string(make([]byte, 300)), Addr: []byte{10, 0, 0, 9}, Port: 1, Meta: meta}},
		{"bad-name", memberlist.Node{Addr: []byte{10, 0, 0, 9}, Port: 1, Meta: meta}},
		{"bad-address", memberlist.Node{Name: "x", Addr: []byte{0, 0, 0, 0}, Port: 1, Meta: meta}},
		{"bad-address", memberlist.Node{Name: "x", Addr: []byte{1, 2}, Port: 1, Meta: meta}},
		{"bad-address", memberlist.Node{Name: "x", Addr: []byte{10, 0, 0, 9}, Meta: meta}},
		{"meta-version", memberlist.Node{Name: "x", Addr: []byte{10, 0, 0, 9}, Port: 1}},
		{"too-many-members", memberlist.Node{Name: "x", Addr: []byte{10, 0, 0, 9}, Port: 1, Meta: meta}},
		{"", memberlist.Node{Name: "x", Addr: []byte{10, 0, 0, 9}, Port: 1, Meta: meta}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var n simnet.Network
			g := newMember(t, Config{Transport: n.Host()})
			if tc.reason == "too-many-members" {
				for i := range maxMembers {
					g.members.members[string(rune(i+1000))] = Peer{}
				}
			}
			d := &delegate{gossip: g}
			err := d.NotifyAlive(&tc.node)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.reason || tc.reason != "" && g.Counters()[tc.reason] != 1 {
				t.Errorf("want %q refused and counted for %q, got %q and %v", tc.node.Name, tc.reason, got, g.Counters())
			}
		})
	}
}

// News of an earlier run of a member may arrive after news of the run now: it ends
// nothing.
func TestOlderRunEndsNoNewerOne(t *testing.T) {
	r := newRoster(func(string) {})
	at := netip.MustParseAddrPort("10.0.0.1:4000")
	run := func(incarnation uint64, start int64) Peer {
		return Peer{Member: seniority.Member{Name: "a", Incarnation: incarnation, Start: start, Addr: at}}
	}
	r.put(run(2, 200))
	r.put(run(1, 100))
	select {
	case g := <-r.gone:
		t.Errorf("want no end told, got one: %+v", g)
	default:
	}
	r.put(run(3, 300))
	select {
	case g := <-r.gone:
		if g.Incarnation != 1 {
			t.Errorf("want the end of the run before, got %+v", g)
		}
	default:
		t.Error("want the end of the run before told")
	}
}
