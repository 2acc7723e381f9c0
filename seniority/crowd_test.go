package seniority

import (
	"fmt"
	"testing"
	"time"
)

// crowd is a member of available mode that is first in line, in a group of n.
func crowd(t testing.TB, n int) (*Core, Now, []Member) {
	t.Helper()
	now := Now{Boot: time.Hour, Wall: base}
	c, err := New(Config{Self: Member{Name: "m0000", Incarnation: 1, Eligible: true}, Rule: Seniority{}, Timing: profiles["lan"]}, now)
	if err != nil {
		t.Fatal(err)
	}
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Name: fmt.Sprintf("m%04d", i), Incarnation: 1, Start: int64(i), Eligible: true}
	}
	return c, now, members
}

// BenchmarkElection is a claim that all confirm, and what the winner sends.
func BenchmarkElection(b *testing.B) {
	for _, n := range []int{3, 30, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c, now, members := crowd(b, n)
				b.StartTimer()
				c.Step(now, Input{Kind: View, Members: members, Settled: true})
				out := c.Step(now, Input{Kind: Tick})
				for i := range members[1:] {
					out = c.Step(now, Input{Kind: Receive, Message: Message{
						Kind: Confirm, From: members[i+1].Name, To: "m0000", Incarnation: 1, Term: c.claim.term, Seq: c.seq, Lease: c.timing.Lease,
					}})
				}
				if !out.Status.Leading || len(out.Messages) < n-1 {
					b.Fatalf("%+v", out.Status)
				}
			}
		})
	}
}

// BenchmarkView is a view in which one member has changed.
func BenchmarkView(b *testing.B) {
	for _, n := range []int{3, 30, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, now, members := crowd(b, n)
			for b.Loop() {
				members[n/2].ID++
				c.Step(now, Input{Kind: View, Members: members, Settled: true})
			}
		})
	}
}
