package seniority

import (
	"bytes"
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
		if _, err := ParseMessage(append(b, 0)); err == nil {
			t.Errorf("%v with a byte too many was accepted", m.Kind)
		}
	}
}

// FuzzParseMessage: whatever is accepted has exactly one encoding, and fits.
func FuzzParseMessage(f *testing.F) {
	for _, m := range samples() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if again := AppendMessage(nil, &m); !bytes.Equal(again, b) {
			t.Errorf("%x was read as %+v, which is written as %x", b, m, again)
		}
	})
}
