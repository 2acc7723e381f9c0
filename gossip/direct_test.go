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
		for i := range 43 {
			sent = append(sent, ElectionMessage{fmt.Sprintf("e%d", i), renewal(from, to, uint64(1000+i))})
		}
		sent[0].Election = "" // the group's own
		// round sends all claims one way and their confirms the other.
		round := func(seq uint64) (claims, confirms uint64) {
			var answers []ElectionMessage
			for i := range sent {
				sent[i].Message.Seq = seq
				sent[i].Message.Held += time.Second + time.Duration(i)
				answers = append(answers, ElectionMessage{sent[i].Election, confirmOf(&sent[i].Message)})
			}
			claims, confirms = sentTo(from, to), sentTo(to, from)
			from.Send(sent...)
			synctest.Wait()
			wantReceived(t, to, sent)
			to.Send(answers...)
			synctest.Wait()
			wantReceived(t, from, answers)
			return sentTo(from, to) - claims, sentTo(to, from) - confirms
		}
		if claims, confirms := round(1); claims > 4 || confirms > 2 {
			t.Errorf("want 43 claims and confirms in 4 and 2 datagrams at most, got %d, %d", claims, confirms)
		}
		if claims, _ := round(2); claims != 1 {
			t.Errorf("want 43 renewals in one datagram, got %d", claims)
		}
		if claims, confirms := round(3); claims != 1 || confirms != 1 {
			t.Errorf("want 43 renewals and their confirms in one datagram each, got %d, %d", claims, confirms)
		}
		from.Send(ElectionMessage{"web", seniority.Message{Kind: seniority.Release, From: from.Name(), Incarnation: 7, Term: 5}})
		time.Sleep(2 * time.Second)
		for _, g := range all[1:] {
			if got := len(g.Messages()); got != 1 {
				t.Errorf("%s: want the message for all once, got %d times", g.Name(), got)
			}
		}
	})
}

// renewal is a claim that a leader repeats, with its first sequence number.
func renewal(from, to *Gossip, term uint64) seniority.Message {
	return seniority.Message{
		Kind: seniority.Claim, From: from.Name(), To: to.Name(), Incarnation: 1 << 62, Term: term, Seq: 1, Lease: time.Second,
		Voter: "10.0.0.1:4000", Voters: []string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"},
		Stand: seniority.Leading, Held: time.Hour, Join: seniority.Join{Group: 1 << 62, Number: 1}, Will: [32]byte{byte(term)},
	}
}

// confirmOf is the confirm of a claim.
func confirmOf(m *seniority.Message) seniority.Message {
	return seniority.Message{
		Kind: seniority.Confirm, From: m.To, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq, Lease: m.Lease,
		Voter: "10.0.0.2:4000", Voters: m.Voters,
	}
}

// wantReceived fails unless these messages have come, in any order.
func wantReceived(t *testing.T, g *Gossip, want []ElectionMessage) {
	t.Helper()
	got := map[string]seniority.Message{}
	for range len(g.Messages()) {
		m := <-g.Messages()
		got[m.Election] = m.Message
	}
	if len(got) != len(want) {
		t.Fatalf("want %d messages, got %d, refused %v", len(want), len(got), g.Counters())
	}
	for _, m := range want {
		if !reflect.DeepEqual(got[m.Election], m.Message) {
			t.Fatalf("%s: want %+v, got %+v", m.Election, m.Message, got[m.Election])
		}
	}
}

func TestNamesOfAnyLength(t *testing.T) {
	for n := range 256 {
		name := strings.Repeat("x", n)
		got, rest, ok := takeName(append(appendName(nil, name), 'r'))
		if !ok || got != name || string(rest) != "r" {
			t.Errorf("%d bytes: got %q, %q, %v", n, got, rest, ok)
		}
		if _, _, ok := takeName(appendName(nil, name)[:n]); ok {
			t.Errorf("%d bytes: taken, though the last is missing", n)
		}
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
