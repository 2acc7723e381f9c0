package gossip

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"

	"github.com/hashicorp/memberlist"
)

// headOf is the beginning of an exchange that announces so many nodes and so
// long a greeting, each as four bytes.
func headOf(nodes, greeting uint32) string {
	number := func(n uint32) string {
		return string([]byte{0xce, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return "\x06\x83\xa4Join\xc2\xa5Nodes" + number(nodes) + "\xacUserStateLen" + number(greeting)
}

func TestShapeOfPackets(t *testing.T) {
	ping := "\x00\x82\xa5SeqNo\x07\xa4Node\xa1a"
	two := "\x07\x02\x00" + string(rune(len(ping))) + "\x00\x02" + ping + "\x08x"
	for _, tc := range []struct {
		name, packet string
		ok           bool
	}{
		{"a ping", ping, true},
		{"one of ours", "\x08anything", true},
		{"with a checksum", "\x0cabcd" + ping, true},
		{"two in one", two, true},
		{"two in one, with a checksum", "\x0cabcd" + two, true},
		{"empty", "", false},
		{"a checksum of nothing", "\x0cabcd", false},
		{"cut short", ping[:len(ping)-1], false},
		{"with more behind it", ping + "x", false},
		{"compressed", "\x09\x82\xa4Algo\x00\xa3Buf\xa1x", false},
		{"compressed within another", "\x07\x01\x00\x02\x09x", false},
		{"nested", "\x07\x01\x00\x05\x07\x01\x00\x01x", false},
		{"parts cut short", two[:len(two)-1], false},
		{"sizes cut short", "\x07\x02\x00", false},
		{"an exchange", headOf(0, 0), false},
		{"an extension of four gigabytes", "\x00\x81\xa1x\xc9\xff\xff\xff\xf0\x05", false},
		{"bytes of four gigabytes", "\x00\x81\xa1x\xc6\xff\xff\xff\xf0", false},
		{"a string longer than any", "\x00\x81\xa1x\xda\x04\x01" + strings.Repeat("x", 1025), false},
		{"a list of four billion", "\x00\xdd\xff\xff\xff\xff", false},
		{"nested deeply", "\x00" + strings.Repeat("\x91", 1000) + "\x01", false},
		{"a fraction", "\x00\xcb12345678", false},
	} {
		if err := checkPacket([]byte(tc.packet)); (err == nil) != tc.ok {
			t.Errorf("%s: want it taken: %v, got %v", tc.name, tc.ok, err)
		}
	}
}

func TestShapeOfStreams(t *testing.T) {
	node := "\x81\xa4Name\xa1a"
	for _, tc := range []struct {
		name, stream string
		err          error
	}{
		{"an exchange", headOf(2, 3) + node + node + "abc", nil},
		{"a ping", "\x00\x81\xa5SeqNo\x07", nil},
		{"the answer to one", "\x02\x81\xa5SeqNo\x07", nil},
		{"an error", "\x0d\x81\xa5Error\xa3why", nil},
		{"an encrypted one", "\x0a\xff\xff\xff\xff", nil}, // memberlist says that it has no keys
		{"more nodes than there may be", headOf(2*maxMembers+1, 0), errShape},
		{"a greeting that is too long", headOf(0, maxPacket+1), errShape},
		{"a message for a delegate", "\x08\x81\xaaUserMsgLen\xce\x01\x31\x2d\x00", errShape},
		{"a compressed one", "\x09\x82\xa4Algo\x00\xa3Buf\xa1x", errShape},
		{"an unknown one", "\x63", errShape},
		{"a head that is no map", "\x06\x93\x01\x02\xc2", errShape},
		{"an unknown field of the head", "\x06\x81\xa4Odd!\x01", errShape},
		{"a negative number of nodes", "\x06\x81\xa5Nodes\xff", errShape},
		{"a name of four gigabytes", headOf(1, 0) + "\x81\xa4Name\xdb\xff\xff\xff\xf0", errShape},
	} {
		c := &conn{Conn: script{Reader: strings.NewReader(tc.stream)}, check: checkStream}
		got, err := c.Read(make([]byte, len(tc.stream)))
		if !errors.Is(err, tc.err) || err == nil && got != len(tc.stream) {
			t.Errorf("%s: want %v, got %d bytes and %v", tc.name, tc.err, got, err)
		}
	}
	for name, tc := range map[string]struct {
		stream string
		err    error
	}{
		"not encrypted, for memberlist to answer": {"\x06anything", nil},
		"encrypted":                    {"\x0a\x00\x00\x00\x06\x01hello", nil},
		"encrypted and far too long":   {"\x0a\x01\x00\x00\x00", errTooLong},
		"encrypted, of unknown length": {"\x0a\x01", errShape},
		"encrypted in the old form":    {"\x0a\x00\x00\x00\x06\x00hello", errShape},
	} {
		c := &conn{Conn: script{Reader: strings.NewReader(tc.stream)}, check: checkSealedStream}
		if _, err := c.Read(make([]byte, 100)); (err == nil) != (tc.err == nil) {
			t.Errorf("%s, with keys: want %v, got %v", name, tc.err, err)
		}
	}
}

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
			if err != nil || checkPacket(rest) != nil {
				t.Errorf("want this packet of a member taken: %q, %v", p, err)
			}
			kinds[rest[0]]++
		}
		for _, s := range streams {
			rest := s[2+int(s[1]):]
			c := &conn{Conn: script{Reader: bytes.NewReader(rest)}, check: checkStream}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Errorf("want this stream of a member taken: %q, %v", s, err)
			}
			kinds[rest[0]]++
		}
		if len(packets) < 100 || len(streams) < 5 || kinds[crcMsg] == 0 || kinds[pushPullMsg] == 0 {
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
// with and without keys: nobody is lost, with keys nobody joins, nothing panics.
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

func FuzzShape(f *testing.F) {
	f.Add([]byte("\x00\x82\xa5SeqNo\x07\xa4Node\xa1a"))
	f.Add([]byte("\x0cabcd\x07\x02\x00\x02\x00\x02\x08x\x08x"))
	f.Add([]byte(headOf(1, 3) + "\x81\xa4Name\xa1aabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = checkPacket(b)
		c := &conn{Conn: script{Reader: bytes.NewReader(b)}, check: checkStream}
		var got []byte
		for buf := make([]byte, 64); ; {
			n, err := c.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				break
			}
		}
		if len(got) > 0 && !bytes.Equal(got, b) {
			t.Fatalf("want nothing lost of %q, got %q", b, got)
		}
	})
}
