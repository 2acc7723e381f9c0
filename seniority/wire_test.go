package seniority

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// samples are messages of every kind with every field that the kind carries.
func samples() []Message {
	voters := []string{"a:4000", "b:4000", "c:4000"}
	return []Message{
		{Kind: Claim, From: "a:4000", To: "b:4000", Incarnation: 7, Term: 1770000000000001, Seq: 9, Lease: time.Second,
			Voter: "a:4000", Voters: voters, Stand: Leading, Met: true, Watch: true, Deaf: true, Held: time.Hour, Join: Join{5, 1}, Given: Join{5, 2}, Will: [32]byte{1, 2}},
		{Kind: Claim, From: "a:4000", Incarnation: 7, Term: 1, Lease: time.Second},
		{Kind: Confirm, From: "b:4000", To: "a:4000", Incarnation: 7, Term: 1770000000000001, Seq: 9, Lease: time.Second, Voter: "b:4000", Voters: voters},
		{Kind: Object, From: "b:4000", To: "a:4000", Incarnation: 7, Term: 3, Seq: 9, Lease: time.Second, Reason: HeldByAnother, Held: 30 * time.Millisecond, Known: 12, Leader: "c:4000"},
		{Kind: Object, From: "b:4000", To: "a:4000", Incarnation: 7, Term: 3, Reason: LeadsToo, Held: time.Hour, Met: true, Known: 12, Leader: "b:4000"},
		{Kind: Release, From: "a:4000", Incarnation: 7, Term: 3, Reason: Preempted, Leader: "b:4000", Will: [32]byte{31: 9}},
		{Kind: Probe, From: "a:4000", To: "b:4000", Incarnation: 7, Term: 3, Seq: 2, Voter: "a:4000", Voters: voters},
		{Kind: Echo, From: "b:4000", To: "a:4000", Incarnation: 7, Term: 3, Seq: 2, Voter: "b:4000", Voters: voters, Hears: 3},
		{Kind: Claim, From: "a:4000", Incarnation: 7, Term: 1, Lease: time.Second, Log: Log{3, 1 << 40}},
		{Kind: Claim, From: "a:4000", Incarnation: 7, Term: 1, Lease: time.Second, Stand: Leading, Minority: true, Held: time.Second, Lasted: time.Hour},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range samples() {
		b := AppendMessage(nil, &m)
		got, err := ParseMessage(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("ParseMessage = %+v, %v; want %+v", got, err, m)
		}
		for i := range b {
			if _, err := ParseMessage(b[:i]); err == nil {
				t.Errorf("%v cut to %d of %d bytes was accepted", m.Kind, i, len(b))
			}
		}
	}
}

// TestNewerMessagesAreRead checks that what a newer program may add is passed over:
// fields at the end, and flags.
func TestNewerMessagesAreRead(t *testing.T) {
	for _, m := range samples() {
		b := append(AppendMessage(nil, &m), 1, 0xff, 0x80)
		if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%v with fields added: got %+v, %v; want %+v", m.Kind, got, err, m)
		}
		// What follows kind and the common fields of these two begins with a byte
		// of theirs, and then flags.
		flags := len(AppendMessage(nil, &Message{Kind: Confirm, From: m.From, To: m.To, Incarnation: m.Incarnation, Term: m.Term,
			Seq: m.Seq, Lease: m.Lease, Voter: m.Voter, Voters: m.Voters})) + 1
		if m.Kind == Claim || m.Kind == Object {
			b[flags] |= 0xc0
			if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%v with flags added: got %+v, %v; want %+v", m.Kind, got, err, m)
			}
		}
	}
	newest := Message{Kind: Object, From: "b", To: "a", Incarnation: 1, Term: 2, Reason: numReasons + 7}
	got, err := ParseMessage(AppendMessage(nil, &newest))
	if err != nil || got.Reason != newest.Reason || got.Reason.String() != fmt.Sprintf("reason(%d)", newest.Reason) {
		t.Errorf("an objection for a reason of a newer program: got %+v (%v), %v", got, got.Reason, err)
	}
}

// FuzzParseMessage: all that is accepted is a message that this program could have
// written, in no more bytes.
func FuzzParseMessage(f *testing.F) {
	for _, m := range samples() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		again := AppendMessage(nil, &m)
		if got, err := ParseMessage(again); err != nil || !reflect.DeepEqual(got, m) || len(again) > len(b) {
			t.Errorf("%x was read as %+v, which is written as %x, and read as %+v, %v", b, m, again, got, err)
		}
	})
}
