package gossip

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"doyen/seniority"
)

// end is one end of a conversation without a network.
type end struct {
	name  string
	talk  *conversations
	wires [][]byte // what is under way to the other
}

// say puts messages on the way.
func (e *end) say(messages ...ElectionMessage) {
	var all []*ElectionMessage
	for i := range messages {
		all = append(all, &messages[i])
	}
	for len(all) > 0 {
		b, n := e.talk.say(1, nil, all)
		e.wires, all = append(e.wires, b), all[n:]
	}
}

// A leader renews, and the other confirms, over a network that loses, doubles and
// reorders, while either forgets the other now and then and what they say changes. Each
// message that is taken is one that was sent, and where nothing is lost every one is.
func TestBriefMessagesSayWhatWasSent(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		a, b := &end{name: "a", talk: new(conversations)}, &end{name: "b", talk: new(conversations)}
		sent := map[string]seniority.Message{} // by kind, election, term and sequence number
		key := func(m *ElectionMessage) string {
			return fmt.Sprint(m.Message.Kind, m.Election, m.Message.Term, m.Message.Seq)
		}
		claims := []ElectionMessage{{"", seniority.Message{}}, {"web", seniority.Message{}}}
		for i := range claims {
			claims[i].Message = seniority.Message{
				Kind: seniority.Claim, From: "a", To: "b", Incarnation: 7, Term: uint64(100 + i), Lease: time.Second,
				Voter: "a", Voters: []string{"a", "b"}, Stand: seniority.Leading, Will: [32]byte{byte(i)},
			}
		}
		deliver := func(from, to *end) (taken []ElectionMessage) {
			wires := from.wires
			from.wires = nil
			r.Shuffle(len(wires), func(i, j int) { wires[i], wires[j] = wires[j], wires[i] })
			for _, w := range wires {
				if r.IntN(10) == 0 && seed%2 == 1 {
					if r.IntN(2) == 0 {
						from.wires = append(from.wires, w) // it comes later
					}
					continue
				}
				messages, unheard, _, err := to.talk.hear(1, w, from.name, to.name)
				if err != nil || unheard > 0 && seed%2 == 0 {
					t.Fatalf("seed %d: %d of a datagram were not understood, %v", seed, unheard, err)
				}
				for _, m := range messages {
					if want, ok := sent[key(&m)]; !ok || !reflect.DeepEqual(want, m.Message) {
						t.Fatalf("seed %d: sent %+v, taken as %+v", seed, want, m.Message)
					}
				}
				taken = append(taken, messages...)
			}
			return taken
		}
		short := 0
		for seq := range uint64(100) {
			for i := range claims {
				m := &claims[i].Message
				m.Seq, m.Held = seq+1, m.Held+time.Duration(r.Int64N(1e9))
				switch r.IntN(40) {
				case 0:
					m.Given = seniority.Join{Group: 1, Number: uint64(r.IntN(3))}
				case 1:
					m.Term += 10
					m.Will[1]++
				case 2:
					m.Voters = append([]string{"c"}, m.Voters...)[:1+r.IntN(3)%len(m.Voters)]
				}
				sent[key(&claims[i])] = *m
			}
			if seed%2 == 1 {
				switch r.IntN(40) {
				case 0:
					a.talk = new(conversations)
				case 1:
					b.talk = new(conversations)
				}
			}
			a.say(claims...)
			short += min(1, 100/len(a.wires[0]))
			taken := deliver(a, b)
			if seed%2 == 0 && len(taken) != len(claims) {
				t.Fatalf("seed %d: want %d claims taken, got %d", seed, len(claims), len(taken))
			}
			for _, m := range taken {
				answer := ElectionMessage{m.Election, confirmOf(&m.Message)}
				sent[key(&answer)] = answer.Message
				b.say(answer)
			}
			taken = deliver(b, a)
			if seed%2 == 0 && len(taken) != len(claims) {
				t.Fatalf("seed %d: want %d confirms taken, got %d", seed, len(claims), len(taken))
			}
		}
		if short < 30 {
			t.Errorf("seed %d: only %d of 100 rounds were brief", seed, short)
		}
	}
}

// After a claim that was lost the next is whole, so a receiver that knows nothing hears it.
func TestAClaimAfterALostOneIsWhole(t *testing.T) {
	a, b := &end{name: "a", talk: new(conversations)}, &end{name: "b", talk: new(conversations)}
	m := ElectionMessage{"web", seniority.Message{Kind: seniority.Claim, From: "a", To: "b", Incarnation: 7, Term: 100, Stand: seniority.Leading}}
	for seq := range uint64(2) {
		m.Message.Seq = seq + 1
		a.say(m)
	}
	if heard, _, _, err := b.talk.hear(1, a.wires[1], "a", "b"); err != nil || len(heard) != 1 {
		t.Errorf("the second claim is not heard: %v", err)
	}
}

// A claimant that has forgotten what was said, and so claims whole, gets a whole confirm.
func TestAClaimantThatHasForgottenHearsTheConfirm(t *testing.T) {
	a, b := &end{name: "a", talk: new(conversations)}, &end{name: "b", talk: new(conversations)}
	m := ElectionMessage{"web", seniority.Message{Kind: seniority.Claim, From: "a", To: "b", Incarnation: 7, Term: 100, Stand: seniority.Leading}}
	for seq := range uint64(6) {
		if seq == 3 {
			a.talk = new(conversations)
		}
		m.Message.Seq = seq + 1
		a.say(m)
		heard, _, _, err := b.talk.hear(1, a.wires[seq], "a", "b")
		if err != nil || len(heard) != 1 {
			t.Fatalf("claim %d is not heard: %v", seq+1, err)
		}
		b.say(ElectionMessage{"web", confirmOf(&heard[0].Message)})
		if heard, _, _, err = a.talk.hear(1, b.wires[seq], "b", "a"); err != nil || len(heard) != 1 {
			t.Fatalf("confirm %d is not heard: %v", seq+1, err)
		}
	}
}

// A claim of a quorum of three that is renewed is at most 120 bytes on an Ethernet, all
// headers included.
func TestRenewalIsShort(t *testing.T) {
	const headers = 14 + 20 + 8 // Ethernet, IPv4, UDP
	a, b := &end{name: "10.0.0.1:4000", talk: new(conversations)}, &end{name: "10.0.0.2:4000", talk: new(conversations)}
	m := ElectionMessage{"", seniority.Message{
		Kind: seniority.Claim, From: a.name, To: b.name, Incarnation: 1 << 62, Term: 1 << 52, Seq: 100_000, Lease: time.Second,
		Voter: "10.0.0.1", Voters: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, Stand: seniority.Leading, Held: 24 * time.Hour,
	}}
	a.say(m)
	heard, _, _, _ := b.talk.hear(1, a.wires[0], a.name, b.name)
	b.say(ElectionMessage{"", confirmOf(&heard[0].Message)})
	a.talk.hear(1, b.wires[0], b.name, a.name)
	m.Message.Seq++
	a.say(m)
	// memberlist adds the kind of the packet, and its label with two bytes before it.
	if all := headers + 3 + len(labelPrefix+"doyen") + stampSize + 1 + len(a.name) + len(a.wires[1]); all > 120 {
		t.Errorf("want 120 bytes at most, got %d; the first was %d longer", all, len(a.wires[0])-len(a.wires[1]))
	}
}

// Nothing that a stranger can put into a datagram makes a message.
func TestMalformedEntriesAreRefused(t *testing.T) {
	m := &ElectionMessage{"web", seniority.Message{Kind: seniority.Confirm, From: "a", To: "b", Term: 1, Incarnation: 1}}
	good, _ := new(conversations).say(1, nil, []*ElectionMessage{m, m})
	if got, _, _, err := new(conversations).hear(1, good, "a", "b"); err != nil || len(got) != 2 || !reflect.DeepEqual(got[1], *m) {
		t.Fatalf("want two messages from a to b, got %+v, %v", got, err)
	}
	for i := 1; i < len(good); i++ {
		if got, _, _, err := new(conversations).hear(1, good[:i], "a", "b"); err == nil && len(got) != 1 {
			t.Errorf("%d of %d bytes are taken: %+v", i, len(good), got)
		}
	}
	for what, b := range map[string][]byte{
		"a digest cut short":            {briefEntry, 5, 1, 2, 3, 4, 5},
		"an entry longer than there is": {briefEntry, 200, 1, 2},
		"an entry without numbers":      {wholeEntry, 0},
		"a length that does not end":    {'?', 0x80},
	} {
		if got, _, _, err := new(conversations).hear(1, b, "a", "b"); err == nil {
			t.Errorf("%s is taken: %+v", what, got)
		}
	}
}

// What a newer version may send beside what this one reads costs only that.
func TestEntriesOfANewerVersionArePassedOver(t *testing.T) {
	voters := []string{"a", "b"}
	m := &ElectionMessage{"web", seniority.Message{Kind: seniority.Confirm, From: "a", To: "b", Term: 1, Incarnation: 1, Voters: voters}}
	newer := *m
	newer.Message.Kind = 99
	long := *m
	long.Election = strings.Repeat("x", 255)
	b := append([]byte{'?', 3}, "new"...)
	for _, m := range []*ElectionMessage{&newer, &long, m} {
		b, _ = new(conversations).say(1, b, []*ElectionMessage{m})
	}
	got, _, unread, err := new(conversations).hear(1, b, "a", "b")
	if err != nil || unread != 3 || len(got) != 1 || !reflect.DeepEqual(got[0], *m) {
		t.Errorf("want one message, and three not read, got %+v, %d, %v", got, unread, err)
	}
}

// A message with a time before now, as version 0.1.0 sends some, does not cost the others of
// its datagram.
func TestMessageWithATimeBeforeNowIsPassedOver(t *testing.T) {
	m := &ElectionMessage{"web", seniority.Message{Kind: seniority.Confirm, From: "a", To: "b", Term: 1, Incarnation: 1}}
	before := &ElectionMessage{"", seniority.Message{Kind: seniority.Object, From: "a", To: "b", Term: 1, Incarnation: 1, Held: -time.Second}}
	b, _ := new(conversations).say(1, nil, []*ElectionMessage{before, m})
	got, _, unread, err := new(conversations).hear(1, b, "a", "b")
	if err != nil || unread != 1 || len(got) != 1 || !reflect.DeepEqual(got[0], *m) {
		t.Errorf("want one message, and one not read, got %+v, %d, %v", got, unread, err)
	}
}

// Claims that are lost, and come in another order than they were sent, cost no more rounds
// than that.
func TestCopiesOfAClaimAreOneToTheReceiver(t *testing.T) {
	a, b := &end{name: "a", talk: new(conversations)}, &end{name: "b", talk: new(conversations)}
	m := ElectionMessage{"web", seniority.Message{Kind: seniority.Claim, From: "a", To: "b", Incarnation: 7, Term: 100, Seq: 1, Stand: seniority.Leading}}
	a.say(m)
	m.Message.Held = time.Second // it is sent again
	a.say(m)
	heard, _, _, _ := b.talk.hear(1, a.wires[0], "a", "b") // and lost
	b.say(ElectionMessage{"web", confirmOf(&heard[0].Message)})
	a.talk.hear(1, b.wires[0], "b", "a")
	m.Message.Seq++
	a.say(m)
	if len(a.wires[2]) >= len(a.wires[1]) {
		t.Errorf("want the third claim brief, got %d bytes after %d", len(a.wires[2]), len(a.wires[1]))
	}
	if heard, unheard, _, err := b.talk.hear(1, a.wires[2], "a", "b"); len(heard) != 1 || !reflect.DeepEqual(heard[0], m) {
		t.Errorf("want the third claim heard, got %+v, %d not, %v", heard, unheard, err)
	}
}

// What a member says to be remembered takes no more memory than is meant for all.
func TestConversationsAreBounded(t *testing.T) {
	var c conversations
	voters := make([]string, 20)
	for i := range voters {
		voters[i] = strings.Repeat("x", seniority.MaxName)
	}
	for run := range uint64(3000) {
		m := ElectionMessage{fmt.Sprint("e", run%7), seniority.Message{Kind: seniority.Claim, From: "a", To: "b", Term: run, Voters: voters}}
		text, _ := new(conversations).say(1, nil, []*ElectionMessage{&m})
		if got, _, _, err := c.hear(run%1000, text, "a", "b"); err != nil || len(got) != 1 {
			t.Fatalf("run %d: %d messages, %v", run, len(got), err)
		}
		size := 0
		for _, h := range c.heard {
			size += keptEach
			for _, v := range h.Message.Voters {
				size += len(v) + stringSize
			}
		}
		if size > c.kept || c.kept > maxKept {
			t.Fatalf("run %d: %d bytes are kept, and %d counted", run, size, c.kept)
		}
	}
}

func FuzzEntries(f *testing.F) {
	m := &ElectionMessage{"web", seniority.Message{Kind: seniority.Claim, Term: 1, Incarnation: 1, Voters: []string{"a", "b"}}}
	whole, _ := new(conversations).say(1, nil, []*ElectionMessage{m, m})
	f.Add(whole)
	f.Add(appendEntry(nil, briefEntry, make([]byte, 8), &m.Message))
	f.Add(append([]byte{wholeEntry, 200, 2, 1, 1, 255}, make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var talk conversations
		for range 2 {
			messages, unheard, unread, err := talk.hear(1, b, "a", "b")
			if err != nil && len(messages)+unheard+unread > 0 {
				t.Errorf("%d messages of a datagram that is refused", len(messages))
			}
			for _, m := range messages {
				if m.Message.From != "a" || m.Message.To != "b" {
					t.Errorf("a message from %s to %s", m.Message.From, m.Message.To)
				}
			}
		}
	})
}
