package gossip

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"

	"github.com/hashicorp/memberlist"
)

// captured runs a group for a while and returns everything that its members
// have sent, the group still running.
func captured(t *testing.T, n *simnet.Network, keys string) (all []*Gossip, packets, streams [][]byte) {
	t.Helper()
	var taps []*simnet.Tap
	for range 4 {
		tap := n.Host().Tap()
		c := Config{Transport: tap, Seeds: []string{"10.0.0.1:4000"}}
		if keys != "" {
			c.KeyFile = keyFile(t, "", keys)
		}
		taps = append(taps, tap)
		all = append(all, start(t, c))
	}
	for i, g := range all {
		g.SetGreeting(nil)
		g.Send(claimOf(g, uint64(i+1), 1))
	}
	time.Sleep(40 * time.Second) // the exchanges of the start, and comparisons
	for _, tap := range taps {
		packets = append(packets, tap.Packets()...)
		streams = append(streams, tap.Streams()...)
	}
	return all, packets, streams
}

// What members really send passes; and nothing of it is refused by anybody.
func TestShapeOfWhatMembersSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all, packets, streams := captured(t, &n, "")
		kinds := map[byte]int{}
		for _, p := range packets {
			rest, _, err := memberlist.RemoveLabelHeaderFromPacket(p)
			if err != nil {
				t.Fatalf("want a label before this packet of a member: %q, %v", p, err)
			}
			kinds[rest[0]]++
		}
		for _, s := range streams {
			kinds[s[2+int(s[1])]]++
		}
		if len(packets) < 100 || len(streams) < 5 || kinds[12] == 0 || kinds[6] == 0 {
			t.Errorf("want a capture of all kinds, got %d packets, %d streams, %v", len(packets), len(streams), kinds)
		}
		for _, g := range all {
			for _, reason := range []string{"packet-malformed", "stream-malformed", "packet-too-long", "stream-full"} {
				if c := g.Counters()[reason]; c > 0 {
					t.Errorf("%s: want nothing refused as %s, got %d", g.Name(), reason, c)
				}
			}
		}
	})
}

// mutate returns a copy of b with a few faults.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	switch r.IntN(4) {
	case 0:
		return b[:r.IntN(len(b))]
	case 1:
		return append(b, b[r.IntN(len(b)):]...)
	}
	for range 1 + r.IntN(4) {
		b[r.IntN(len(b))] = byte(r.Uint32())
	}
	return b
}

// Captures of a group are replayed, cut short and garbled, at the group itself,
// with and without keys: no member is lost, with keys none joins, nothing panics.
func TestReplayedAndGarbledCaptures(t *testing.T) {
	for name, keys := range map[string]string{"plain": "", "encrypted": line(key(32, 1))} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var n simnet.Network
				all, packets, streams := captured(t, &n, keys)
				enemy := n.Host()
				r := rand.New(rand.NewPCG(1, 2))
				for i := range 30_000 {
					to := all[i%len(all)].AddrPort().String()
					b := packets[r.IntN(len(packets))]
					// Faults in the label would only test the label.
					label := 2 + int(b[1])
					if i%3 > 0 {
						b = append(bytes.Clone(b[:label]), mutate(r, b[label:])...)
					}
					enemy.WriteTo(b, to)
					if i%100 == 0 {
						time.Sleep(100 * time.Millisecond)
					}
				}
				for i := range 1000 {
					s := streams[r.IntN(len(streams))]
					label := 2 + int(s[1])
					if i%3 > 0 {
						s = append(bytes.Clone(s[:label]), mutate(r, s[label:])...)
					}
					send(t, enemy, all[i%len(all)].AddrPort().String(), s)
				}
				if keys != "" { // in the form that memberlist once had
					for i, b := range packets {
						b = bytes.Clone(b)
						b[2+int(b[1])] = 0
						enemy.WriteTo(b, all[i%len(all)].AddrPort().String())
					}
					for i, s := range streams {
						s = bytes.Clone(s)
						s[2+int(s[1])+5] = 0
						send(t, enemy, all[i%len(all)].AddrPort().String(), s)
					}
				}
				time.Sleep(20 * time.Second)
				for _, g := range all {
					if keys != "" {
						wantNames(t, g, all...)
						continue
					}
					// Without keys a garbled name may well be one more member.
					for _, other := range all {
						if !slices.Contains(names(g), other.Name()) {
							t.Errorf("want %s in the view of %s, got %v", other.Name(), g.Name(), names(g))
						}
					}
				}
			})
		})
	}
}

// send writes to a connection of its own and waits for the other side to end it.
func send(t *testing.T, from *simnet.Host, to string, b []byte) {
	t.Helper()
	c, err := from.DialTimeout(to, time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write(b)
	select {
	case <-done:
	case <-time.After(2 * streamLimit):
	}
	c.Close()
	<-done
	synctest.Wait()
}
