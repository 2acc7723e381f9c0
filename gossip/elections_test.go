package gossip

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/simnet"
	"doyen/seniority"
)

// sentTo is the number of the last direct message of one member to another.
func sentTo(from, to *Gossip) uint64 {
	from.members.mu.Lock()
	defer from.members.mu.Unlock()
	return from.members.known[to.Name()].sent
}

// Messages of many elections to one member arrive whole and in few datagrams; what is for all goes round once.
func TestMessagesOfElectionsShareDatagrams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		time.Sleep(2 * time.Second)
		from, to := all[0], all[1]
		var sent []ElectionMessage
		for i := range 32 {
			sent = append(sent, ElectionMessage{fmt.Sprintf("e%d", i), seniority.Message{
				Kind: seniority.Claim, From: from.Name(), To: to.Name(), Incarnation: 7, Term: uint64(1000 + i), Seq: 9, Lease: time.Second,
				Voter: "v1", Voters: []string{"v1", "v2", "v3"}, Stand: seniority.Leading, Will: [32]byte{byte(i)},
			}})
		}
		before := sentTo(from, to)
		from.SendAll(sent)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := map[string]seniority.Message{} // datagrams may overtake each other
		for range len(to.ElectionMessages()) {
			m := <-to.ElectionMessages()
			got[m.Election] = m.Message
		}
		for _, m := range sent {
			if !reflect.DeepEqual(got[m.Election], m.Message) {
				t.Fatalf("%s: want %+v, got %+v", m.Election, m.Message, got[m.Election])
			}
		}
		if packets := sentTo(from, to) - before; packets > 3 {
			t.Errorf("want 32 renewals in 3 datagrams at most, got %d", packets)
		}
		for _, g := range all {
			if len(g.Messages()) > 0 {
				t.Errorf("%s takes a message of a further election for one of the group's own", g.Name())
			}
		}
		from.SendAll([]ElectionMessage{{"web", seniority.Message{Kind: seniority.Release, From: from.Name(), Incarnation: 7, Term: 5}}})
		time.Sleep(2 * time.Second)
		for _, g := range all[1:] {
			if got := len(g.ElectionMessages()); got != 1 {
				t.Errorf("%s: want the message for all once, got %d times", g.Name(), got)
			}
		}
	})
}

// Nothing that a stranger can put into an envelope makes a message.
func TestMalformedBundlesAreRefused(t *testing.T) {
	m := &ElectionMessage{"web", seniority.Message{Kind: seniority.Confirm, From: "a", Term: 1, Incarnation: 1}}
	good := appendEntry(appendBundleHead(nil, &m.Message), m)
	if got, err := parseBundle(good, "b"); err != nil || len(got) != 1 || got[0].Message.To != "b" || got[0].Message.From != "a" {
		t.Fatalf("want one message from a to b, got %+v, %v", got, err)
	}
	for i := 3; i < len(good); i++ { // cut off after the sender
		if got, err := parseBundle(good[:i], "b"); err == nil && len(got) > 0 {
			t.Errorf("a bundle of %d of %d bytes is taken: %+v", i, len(good), got)
		}
	}
	m.Election = strings.Repeat("x", maxElection+1)
	if got, err := parseBundle(appendEntry(appendBundleHead(nil, &m.Message), m), "b"); err == nil {
		t.Errorf("an election with a name of %d bytes is taken: %+v", len(m.Election), got)
	}
}

// A detail of any size reaches every member, and so does each newer one.
func TestDetailsAreFetched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		all := group(t, &n, 3)
		time.Sleep(2 * time.Second)
		for _, detail := range [][]byte{bytes.Repeat([]byte("long"), 5000), []byte("short"), nil} {
			all[0].SetDetail(detail)
			time.Sleep(2 * time.Second)
			for _, g := range all[1:] {
				if got, current := g.Detail(all[0].Name()); !current || !bytes.Equal(got, detail) {
					t.Errorf("%s: want a detail of %d bytes, got %d, newest %v", g.Name(), len(detail), len(got), current)
				}
			}
		}
	})
}
