package gossip

import (
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"
)

func TestWindow(t *testing.T) {
	var w window
	for _, tc := range []struct {
		n  uint64
		ok bool
	}{
		{0, false}, {1, true}, {1, false}, {3, true}, {2, true}, {2, false}, {3, false},
		{100, true}, {37, true}, {36, false}, {37, false}, {99, true}, {100, false},
		{1 << 40, true}, {100, false}, {1<<40 - 63, true}, {1<<40 - 64, false}, {1<<64 - 1, true}, {1 << 40, false},
	} {
		if got := w.take(tc.n); got != tc.ok {
			t.Errorf("%d: want %v, got %v", tc.n, tc.ok, got)
		}
	}
}

// A direct message is taken once, from the run of its sender that is known to
// the run of its receiver that is here.
func TestDirectMessagesAreTakenOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Transport: n.Host(), KeyFile: keyFile(t, "", line(key(32, 1)))})
		tap := n.Host().Tap()
		b := start(t, Config{Transport: tap, KeyFile: a.cfg.KeyFile, Seeds: []string{a.Addr()}})
		time.Sleep(2 * time.Second)
		for seq := range uint64(3) {
			m := claimOf(b, 6, seq+1)
			m.Message.To = a.Name()
			b.Send(m)
		}
		synctest.Wait()
		if got := received(a); len(got) != 3 {
			t.Fatalf("want three messages, got %+v", got)
		}
		enemy := n.Host()
		replay := func(to *Gossip, reason string) {
			t.Helper()
			for _, p := range tap.Packets() {
				enemy.WriteTo(p, to.AddrPort().String())
			}
			synctest.Wait()
			if got := received(to); len(got) > 0 {
				t.Errorf("want nothing taken again, got %+v", got)
			}
			if c := to.Counters()[reason]; c != 3 {
				t.Errorf("want 3 refused as %s, got %v", reason, to.Counters())
			}
		}
		replay(a, "message-replayed")
		// What was meant for another run, or comes from one, counts as little.
		a.Close()
		again := start(t, Config{Transport: n.HostAt(a.AddrPort()), KeyFile: a.cfg.KeyFile, Seeds: []string{b.Addr()}})
		time.Sleep(2 * time.Second)
		wantNames(t, again, again, b)
		replay(again, "message-of-other-run")
	})
}

// Members that forget each other and meet again go on where they were.
func TestMembersThatMeetAgainHearEachOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 2)
		time.Sleep(2 * time.Second)
		for round := range uint64(3) {
			for i, from := range all {
				m := claimOf(from, 6, round+1)
				m.Message.To = all[1-i].Name()
				from.Send(m)
				from.Send(m)
				synctest.Wait()
				if got := received(all[1-i]); len(got) != 2 {
					t.Errorf("round %d: want two messages, got %+v", round, got)
				}
			}
			all[0].members.mu.Lock()
			p := all[0].members.members[all[1].Name()]
			delete(all[0].members.known, p.Name)
			all[0].members.mu.Unlock()
			all[0].members.put(p)
		}
	})
}

// A member's last words are taken, once, although its good-bye overtook them.
func TestLastWordsMayComeAfterTheGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 2)
		time.Sleep(2 * time.Second)
		a, b := all[0], all[1]
		if !a.members.goodbye(b.Name(), b.cfg.Incarnation) {
			t.Fatal("the good-bye is no news")
		}
		m := claimOf(b, 6, 1)
		m.Message.To = a.Name()
		b.Send(m)
		synctest.Wait()
		if got := received(a); len(got) != 1 {
			t.Errorf("want one message, got %+v, refused %v", got, a.Counters())
		}
	})
}
