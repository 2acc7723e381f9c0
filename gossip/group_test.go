package gossip

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

func TestMembersFindEachOtherBySeeds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		seeds := []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}
		var all []*Gossip
		for range 3 {
			all = append(all, start(t, Config{Transport: n.Host(), Seeds: seeds}))
		}
		time.Sleep(2 * time.Second)
		for _, g := range all {
			wantNames(t, g, all...)
			if !g.View().Settled {
				t.Errorf("want %s settled, got %+v", g.Name(), g.View())
			}
			if f := g.Findings(); len(f) > 0 {
				t.Errorf("want no findings, got %v", f)
			}
		}
	})
}

// Gossip alone may miss somebody when many join at once, and whole states are
// exchanged only every ten seconds.
// Members of a service start at the same time, and each is told of itself
// before it is told of the others.
func TestSeedIsLookedUpAgainSoonWhileItStandsForNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		service := addrs("10.0.0.1", "10.0.0.2")
		began := time.Now()
		var both []*Gossip
		for i := range service {
			names := lookupFunc(func() []netip.Addr {
				if time.Since(began) < time.Second {
					return service[i : i+1]
				}
				return service
			})
			both = append(both, start(t, Config{Transport: n.Host(), Seeds: []string{"service"}, Resolver: names}))
		}
		time.Sleep(5 * time.Second) // half of what a member waits before it leads alone
		for _, g := range both {
			wantNames(t, g, both...)
		}
	})
}

// Half of a service is started anew at other addresses, as pods are.
func TestSeedIsLookedUpAgainSoonWhenMembersVanish(t *testing.T) {
	for phase := range 5 { // a look-up when all is well comes every half minute
		bubble(t, func(t *testing.T) {
			var n simnet.Network
			var service atomic.Pointer[[]netip.Addr]
			points := func(to ...string) { list := addrs(to...); service.Store(&list) }
			points("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
			look := lookupFunc(func() []netip.Addr { return *service.Load() })
			var all []*Gossip
			for range 4 {
				all = append(all, start(t, Config{Transport: n.Host(), Seeds: []string{"service"}, Resolver: look}))
			}
			time.Sleep(time.Minute + time.Duration(phase)*6*time.Second)
			all[2].Close()
			all[3].Close()
			points("10.0.0.1", "10.0.0.2", "10.0.0.5", "10.0.0.6")
			time.Sleep(10 * time.Second) // memberlist may need some more to notice
			// The new ones are told of each other alone, as a name server may do.
			others := lookupFunc(func() []netip.Addr { return (*service.Load())[2:] })
			now := all[:2:2]
			for range 2 {
				now = append(now, start(t, Config{Transport: n.Host(), Seeds: []string{"service"}, Resolver: others}))
			}
			time.Sleep(14 * time.Second)
			// memberlist may still believe in one that has gone.
			for _, g := range now {
				for _, m := range now {
					if !slices.Contains(names(g), m.Name()) {
						t.Errorf("want %s in the view of %s, got %v", m.Name(), g.Name(), names(g))
					}
				}
			}
		})
	}
}

func TestMembersThatStartTogetherKnowEachOtherAtOnce(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			var n simnet.Network
			all := group(t, &n, 5)
			time.Sleep(1500 * time.Millisecond)
			for _, g := range all {
				wantNames(t, g, all...)
			}
		})
	}
}

func TestViewCarriesWhatMembersPublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		want := all[1].members.own()
		want.Join = seniority.Join{Group: 7, Number: 2}
		want.Eligible, want.Unfit = false, "unhealthy"
		all[1].SetSelf(want.Member, want.Unfit)
		time.Sleep(2 * time.Second)
		if got, _ := all[2].members.member(want.Name); got != want {
			t.Errorf("want %+v, got %+v", want, got)
		}
	})
}

func TestSettledOnceEverySeedHasAnsweredOrRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		silent := netip.MustParseAddrPort("10.9.9.9:4000")
		n.Cut(func(_, to netip.AddrPort) bool { return to == silent })
		g := start(t, Config{Transport: n.Host(), Seeds: []string{"10.0.0.1:4000", "10.8.8.8:4000"}})
		h := start(t, Config{Transport: n.Host(), Seeds: []string{silent.String()}})
		time.Sleep(time.Second)
		if !g.View().Settled {
			t.Error("want a refusal to settle")
		}
		time.Sleep(time.Minute)
		if h.View().Settled {
			t.Error("want silence not to settle")
		}
		if f := found(t, h, findings.SeedUnreached); !strings.Contains(f.Advice, "both TCP and UDP") {
			t.Errorf("want advice about the way there, got %+v", f)
		}
		n.Cut(nil)
		time.Sleep(8 * time.Second)
		if !h.View().Settled {
			t.Error("want the refusal after the silence to settle")
		}
	})
}

// A seed that has joined by itself is not unreached, though no dial of this member's
// has found it yet.
func TestSeedThatJoinsByItselfIsReached(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		g := start(t, Config{Transport: n.Host(), Seeds: []string{"10.0.0.2:4000"}})
		time.Sleep(time.Minute)
		found(t, g, findings.SeedUnreached)
		start(t, Config{Transport: n.Host(), Seeds: []string{g.Addr()}})
		for len(g.View().Members) < 2 {
			time.Sleep(time.Millisecond)
		}
		for _, f := range g.Findings() {
			if f.What == findings.SeedUnreached {
				t.Errorf("got %+v of a seed that is a member", f)
			}
		}
	})
}

// muteHost loses the packets that it sends while mute is true. Its streams work.
type muteHost struct {
	*simnet.Host
	mute atomic.Bool
}

func (h *muteHost) WriteTo(b []byte, addr string) (time.Time, error) {
	if h.mute.Load() {
		return time.Now(), nil
	}
	return h.Host.WriteTo(b, addr)
}

func (h *muteHost) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return h.WriteTo(b, a.Addr)
}

// A probe that came through over TCP alone shows only that packets were lost. UDP counts as
// blocked once all pings that follow are lost, too. A query says so only if its own pings are.
func TestLostPacketsAreNoBlockedUDP(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		out := newLockedBuffer()
		h := &muteHost{Host: n.Host()}
		a := start(t, Config{Transport: h, Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		b := start(t, Config{Transport: n.Host(), Seeds: []string{h.Addr().String()}})
		b.OnQuery(func(bool) []byte { return []byte("state") })
		time.Sleep(5 * time.Second)
		h.mute.Store(true)
		eventually(t, "a probe has come through over TCP alone", func() bool {
			synctest.Wait()
			return strings.Contains(out.String(), "UDP probes failed")
		})
		h.mute.Store(false)
		time.Sleep(3 * time.Second)
		if all := a.Findings(); len(all) != 0 {
			t.Errorf("one probe was lost: want no finding, got %v", all)
		}
		h.mute.Store(true)
		time.AfterFunc(3*udpPause/2, func() { h.mute.Store(false) })
		if _, udp, err := a.Query(t.Context(), b.Name()); !udp || err != nil {
			t.Errorf("two pings were lost: want an answer over UDP, got %v, %v", udp, err)
		}
		h.mute.Store(true)
		if _, udp, err := a.Query(t.Context(), b.Name()); udp || err != nil {
			t.Errorf("all pings are lost: want an answer over TCP alone, got UDP: %v, %v", udp, err)
		}
		time.Sleep(5 * time.Second)
		found(t, a, findings.UDPBlocked)
		h.mute.Store(false)
		time.Sleep(3 * time.Second)
		if all := a.Findings(); len(all) != 0 {
			t.Errorf("want the finding over, got %v", all)
		}
	})
}

// That UDP is blocked is over as soon as a packet is answered.
func TestAnsweredPacketsEndUDPBlocked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		time.Sleep(5 * time.Second)
		for _, member := range []string{all[1].Name(), "one that has gone"} {
			all[0].findings.Find(findings.UDPBlocked, member, "TCP works, UDP does not")
		}
		time.Sleep(10 * time.Second)
		if f := found(t, all[0], findings.UDPBlocked); f.Member == all[1].Name() || len(all[0].Findings()) != 1 {
			t.Errorf("want it to stay only of a member that answers nothing, got %+v", all[0].Findings())
		}
	})
}

// A partition is cut for so long that memberlist has forgotten the others.
func TestPartitionOfAnyLengthHeals(t *testing.T) {
	for _, oneWay := range []bool{false, true} {
		t.Run(fmt.Sprintf("oneWay=%v", oneWay), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var n simnet.Network
				all := group(t, &n, 4)
				time.Sleep(5 * time.Second)
				left := func(a netip.AddrPort) bool { return a == all[0].AddrPort() || a == all[1].AddrPort() }
				n.Cut(func(from, to netip.AddrPort) bool {
					return left(from) && !left(to) || !oneWay && !left(from) && left(to)
				})
				time.Sleep(forgotten)
				if !oneWay {
					wantNames(t, all[0], all[0], all[1])
					wantNames(t, all[3], all[2], all[3])
				}
				n.Cut(nil)
				time.Sleep(10 * time.Second)
				for _, g := range all {
					wantNames(t, g, all...)
				}
			})
		})
	}
}

func TestRestartUnderTheSameNameIsANewMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		time.Sleep(5 * time.Second)
		old := all[1]
		old.Close()
		again := start(t, Config{Transport: n.HostAt(old.AddrPort()), Seeds: []string{"10.0.0.1:4000"}})
		time.Sleep(time.Second)
		for _, g := range []*Gossip{all[0], all[2]} {
			p, ok := g.members.member(old.Name())
			if !ok || p.Incarnation != again.cfg.Incarnation {
				t.Errorf("want %s with incarnation %d in the view of %s, got %+v", old.Name(), again.cfg.Incarnation, g.Name(), p)
			}
			select {
			case got := <-g.Gone():
				if want := (Gone{Name: old.Name(), Incarnation: old.cfg.Incarnation}); got != want {
					t.Errorf("want %+v, got %+v", want, got)
				}
			default:
				t.Errorf("want %s to be told that the old run is gone", g.Name())
			}
		}
		wantNames(t, again, all...)
	})
}

func TestDeadMembersComeBackWhenTheyRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		time.Sleep(5 * time.Second)
		all[2].Close()
		time.Sleep(forgotten)
		wantNames(t, all[0], all[0], all[1])
		// It knows no seed; the others dial it.
		again := start(t, Config{Transport: n.HostAt(all[2].AddrPort())})
		time.Sleep(10 * time.Second)
		wantNames(t, again, all...)
		wantNames(t, all[0], all...)
	})
}

func TestLeaveIsFastAndFinal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 5)
		time.Sleep(5 * time.Second)
		began := time.Now()
		if err := all[4].Leave(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if d := time.Since(began); d > time.Millisecond {
			t.Errorf("want no waiting, got %v", d)
		}
		all[4].Close()
		for _, g := range all[:4] {
			wantNames(t, g, all[:4]...)
			if _, ok := g.members.addrOf(all[4].Name()); ok {
				t.Errorf("want %s to forget who has left", g.Name())
			}
		}
		alone := start(t, Config{Transport: n.Host()})
		began = time.Now()
		if err := alone.Leave(t.Context()); err != nil || time.Since(began) > time.Millisecond {
			t.Errorf("want no waiting alone, got %v after %v", err, time.Since(began))
		}
	})
}

func TestFiftyMembersHearABroadcast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 50)
		time.Sleep(30 * time.Second)
		const last = 10
		for seq := range uint64(last) {
			all[7].Send(claimOf(all[7], 9, seq+1))
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		for _, g := range all {
			wantNames(t, g, all...)
			newest := uint64(0)
			for _, m := range received(g) {
				if m.Seq <= newest || !m.Gossiped || m.From != all[7].Name() || g == all[7] {
					t.Errorf("want only newer claims of %s, got %+v at %s", all[7].Name(), m, g.Name())
				}
				newest = m.Seq
			}
			// Gossip may miss a member once in some thousand times.
			if g != all[7] && newest < last-1 {
				t.Errorf("want %s to hear the newest claim, got %d", g.Name(), newest)
			}
		}
	})
}

func TestDirectMessagesAndTheGreeting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Transport: n.Host()})
		greeting := claimOf(a, 5, 1).Message
		a.SetGreeting(seniority.AppendMessage(nil, &greeting))
		b := start(t, Config{Transport: n.Host(), Seeds: []string{a.Addr()}})
		time.Sleep(time.Second)
		if got := received(b); len(got) == 0 || got[0].Term != 5 || !got[0].Gossiped {
			t.Errorf("want the greeting, got %+v", got)
		}
		want := claimOf(b, 6, 2)
		want.Message.To = a.Name()
		b.Send(want)
		synctest.Wait()
		if got := received(a); len(got) != 1 || got[0].Term != 6 || got[0].Gossiped {
			t.Errorf("want one direct message, got %+v", got)
		}
		a.Close()
		time.Sleep(time.Minute)
		wantNames(t, b, b)
		again := start(t, Config{Transport: n.HostAt(a.AddrPort()), Cluster: "elsewhere"})
		b.Send(want)
		synctest.Wait()
		if again.Counters()["other-cluster"] == 0 {
			t.Error("want a message to go to the last known address of a member that is gone")
		}
	})
}

func TestFullInboxDropsTheOldest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		g := start(t, Config{Transport: n.Host()})
		for i := range inboxSize + 10 {
			g.inbox.put(ElectionMessage{Message: seniority.Message{Seq: uint64(i)}})
		}
		got := received(g)
		if len(got) != inboxSize || got[0].Seq != 10 {
			t.Errorf("want %d messages from 10 on, got %d from %d", inboxSize, len(got), got[0].Seq)
		}
		if c := g.Counters()["inbox-full"]; c != 10 {
			t.Errorf("want 10 counted, got %d", c)
		}
	})
}

func TestOtherClustersAndProgramsAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Transport: n.Host()})
		other := start(t, Config{Transport: n.Host(), Cluster: "other", Seeds: []string{a.Addr()}})
		c := memberlist.DefaultLANConfig()
		c.Name, c.Transport, c.Logger = "foreign", n.Host(), nil
		c.LogOutput = newLockedBuffer()
		foreign, err := memberlist.Create(c)
		if err != nil {
			t.Fatal(err)
		}
		defer foreign.Shutdown()
		if _, err := foreign.Join([]string{a.Addr()}); err == nil {
			t.Error("want a foreign program refused")
		}
		time.Sleep(30 * time.Second)
		wantNames(t, a, a)
		wantNames(t, other, other)
		if f := found(t, a, findings.OtherCluster); f.Member != "10.0.0.2" {
			t.Errorf("want the finding to be about 10.0.0.2, got %+v", f)
		}
		found(t, a, findings.ForeignProgram)
		if f := found(t, other, findings.SeedUnreached); !strings.Contains(f.Advice, "--cluster") {
			t.Errorf("want advice about the other cluster, got %+v", f)
		}
		if c := a.Counters(); c["other-cluster"] == 0 || c["foreign-program"] == 0 {
			t.Errorf("want both counted, got %v", c)
		}
		if other.View().Settled {
			t.Error("want a seed that is of another cluster not to settle")
		}
	})
}

func TestDifferentRulesAreFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Transport: n.Host()})
		b := newMember(t, Config{Transport: n.Host(), Seeds: []string{a.Addr()}})
		if err := b.Start(seniority.Member{}, Extra{Rule: "bully", Mode: "quorum"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if f := found(t, a, findings.RuleDiffers); f.Member != b.Name() || !f.Degrades {
			t.Errorf("want it to be about %s and to degrade, got %+v", b.Name(), f)
		}
		found(t, b, findings.ModeDiffers)
	})
}

// A crowd converges, and dials no more than it should when a half is gone.
func TestCrowdDialsInModeration(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 60
		var n simnet.Network
		all := group(t, &n, size)
		time.Sleep(2 * time.Minute)
		for _, g := range all {
			if got := len(g.View().Members); got != size {
				t.Errorf("want %s to know %d members, got %d", g.Name(), size, got)
			}
		}
		half := func(a netip.AddrPort) bool { return a.Addr().As4()[3]%2 == 0 }
		n.Cut(func(from, to netip.AddrPort) bool { return half(from) != half(to) })
		time.Sleep(3 * time.Minute)
		before := n.Dials()
		time.Sleep(time.Minute)
		if dials, limit := n.Dials()-before, size*5*60; dials > limit {
			t.Errorf("want at most %d dials a minute, got %d", limit, dials)
		}
		n.Cut(nil)
		time.Sleep(30 * time.Second)
		for _, g := range all {
			if got := len(g.View().Members); got != size {
				t.Errorf("want %s to know %d members again, got %d", g.Name(), size, got)
			}
		}
	})
}

// memberlist's own network in memory serves as a transport, too. It blocks
// senders to a member that does not read any more, so a goroutine reads on.
func TestMockNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n memberlist.MockNetwork
		var transports []*memberlist.MockTransport
		for i := range 10 {
			transports = append(transports, n.NewTransport(fmt.Sprint("m", i)))
		}
		ended := make(chan struct{})
		t.Cleanup(func() {
			time.Sleep(10 * time.Second)
			close(ended)
		})
		var all []*Gossip
		for i, tr := range transports {
			c := Config{Name: fmt.Sprint("m", i), Transport: tr, Seeds: []string{"127.0.0.1:1"}}
			all = append(all, start(t, c))
		}
		t.Cleanup(func() {
			for _, tr := range transports {
				go swallow(tr, ended)
			}
		})
		time.Sleep(10 * time.Second)
		for _, g := range all {
			wantNames(t, g, all...)
		}
		all[3].OnQuery(func(bool) []byte { return []byte("state") })
		answer, udp, err := all[5].Query(t.Context(), "m3")
		if string(answer) != "state" || !udp || err != nil {
			t.Errorf("want an answer, got %q, %v, %v", answer, udp, err)
		}
	})
}

// swallow reads what is sent to a transport until the end.
func swallow(tr *memberlist.MockTransport, ended <-chan struct{}) {
	for {
		select {
		case <-tr.PacketCh():
		case c := <-tr.StreamCh():
			c.Close()
		case <-ended:
			return
		}
	}
}
