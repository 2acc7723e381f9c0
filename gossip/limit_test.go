package gossip

import (
	"io"
	"net"
	"testing"
	"time"

	"doyen/gossip/transport"
)

// Strangers that fill all the room there is for connections, with as much as
// they can send, keep no member from joining; and what they hold is bounded.
func TestStrangersFillTheRoom(t *testing.T) {
	for _, keys := range []string{"", line(key(32, 1))} {
		c := Config{}
		if keys != "" {
			c.KeyFile = keyFile(t, "", keys)
		}
		a := real(t, c)
		head := string([]byte{transport.LabelByte, byte(len(a.mux.Label()))}) + a.mux.Label()
		// Each sends what makes a member wait for more, and a lot of it.
		more := "\x06\x83\xa4Join\xc2\xa5Nodes\xce\x00\x00\x40\x00\xacUserStateLen\xce\x00\x00\x00\x00"
		for range 1000 {
			more += "\x81\xa4Name\xbfabcdefghijklmnopqrstuvwxyzabcde"
		}
		if keys != "" {
			more = "\x0a\x00\x7f\xff\xff\x01" + more
		}
		for range 2<<20/(8<<10) + 50 { // more than the room has place for
			c, err := net.DialTimeout("tcp", a.Addr(), patience)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			io.WriteString(c, head+more)
		}
		c.Seeds = []string{a.Addr()}
		b := real(t, c)
		eventually(t, "joined", func() bool { return len(a.View().Members) == 2 && len(b.View().Members) == 2 })
		weight, room := a.mux.Held(), 2<<20+16<<10
		if weight > room {
			t.Errorf("want no more than %d held, got %d", room, weight)
		}
		eventually(t, "it is counted", func() bool { return a.Counters()["stream-full"] > 0 })
	}
}
