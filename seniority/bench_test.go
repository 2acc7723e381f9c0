package seniority

import (
	"testing"
	"time"
)

// renewal is a leader of seven voters of quorum mode and what it takes in turn
// to renew: the time, and the confirms of the others.
type renewal struct {
	c        *Core
	now      Now
	confirms []Input
}

func newRenewal(t testing.TB) *renewal {
	t.Helper()
	voters := []string{"a", "b", "c", "d", "e", "f", "g"}
	cfg := Config{
		Self: Member{Name: "a", Voter: "a", Incarnation: 1, Eligible: true},
		Rule: Seniority{}, Timing: profiles["lan"], Voters: voters, KeptLease: lease,
	}
	r := &renewal{now: Now{Boot: time.Hour, Wall: base}}
	c, err := New(cfg, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.c = c
	members := []Member{cfg.Self}
	for _, v := range voters[1:] {
		m := Member{Name: v, Voter: v, Incarnation: 1, Eligible: true}
		members = append(members, m)
		// The lists of seven processes are not one slice.
		r.confirms = append(r.confirms, Input{Kind: Receive, Message: Message{
			Kind: Confirm, From: v, To: "a", Incarnation: 1, Lease: cfg.Timing.Lease, Voter: v, Voters: append([]string(nil), voters...),
		}})
	}
	c.Step(r.now, Input{Kind: View, Members: members, Settled: true})
	r.now.Boot += abstention
	c.Step(r.now, Input{Kind: Tick})
	for range 3 { // the votes; then every member has a number to show
		r.confirm()
		for i := range members {
			members[i].Join = c.numbers.of(&members[i])
		}
		c.Step(r.now, Input{Kind: View, Members: members, Settled: true})
	}
	if !c.out.Status.Leading {
		t.Fatalf("a does not lead: %+v", c.out.Status)
	}
	r.round()
	return r
}

// round is one renewal: the claims, and a confirm of each.
func (r *renewal) round() {
	r.now.Boot += profiles["lan"].Renewal
	r.now.Wall += profiles["lan"].Renewal.Milliseconds()
	r.c.Step(r.now, Input{Kind: Tick})
	r.confirm()
}

func (r *renewal) confirm() {
	for i := range r.confirms {
		m := &r.confirms[i].Message
		m.Term, m.Seq = r.c.claim.term, r.c.seq
		r.c.Step(r.now, r.confirms[i])
	}
}

// newGranting is a voter and the renewal it confirms.
func newGranting(t testing.TB) (*Core, *Now, *Input) {
	t.Helper()
	r := newRenewal(t)
	in := &Input{Kind: Receive, Message: r.c.claimMessage(Leading)}
	in.Message.To, in.Message.Watch = "b", true
	cfg := r.c.cfg
	cfg.Self = r.c.view.members[1]
	c, err := New(cfg, r.now)
	if err != nil {
		t.Fatal(err)
	}
	now := r.now
	c.Step(now, Input{Kind: View, Members: r.c.view.members, Settled: true})
	now.Boot += abstention
	if c.Step(now, *in); c.out.Status.Leader != "a" {
		t.Fatalf("b does not follow a: %+v", c.out.Status)
	}
	return c, &now, in
}

// TestRenewalAllocatesNothing: neither the leader's side nor the voters'.
func TestRenewalAllocatesNothing(t *testing.T) {
	r := newRenewal(t)
	if n := testing.AllocsPerRun(100, r.round); n != 0 {
		t.Errorf("want a renewal to allocate nothing, got %v allocations", n)
	}
	if s := r.c.out.Status; !s.Leading || s.LeaseEnd != r.now.Boot+profiles["lan"].Lease {
		t.Errorf("want every round confirmed, got %+v", s)
	}
	c, now, in := newGranting(t)
	n := testing.AllocsPerRun(100, func() {
		now.Boot += profiles["lan"].Renewal
		in.Message.Seq++
		c.Step(*now, *in)
	})
	if n != 0 {
		t.Errorf("want the confirm of a renewal to allocate nothing, got %v allocations", n)
	}
	if m := c.out.Messages; len(m) != 1 || m[0].Kind != Confirm {
		t.Errorf("want every renewal confirmed, got %v", m)
	}
}

// BenchmarkRenewal is one round of a leader of seven voters with all confirms:
// seven steps.
func BenchmarkRenewal(b *testing.B) {
	r := newRenewal(b)
	b.ReportAllocs()
	for b.Loop() {
		r.round()
	}
}

// BenchmarkStep is a single step: of a voter that grants a renewal, and of a
// leader of seven that takes a confirm.
func BenchmarkStep(b *testing.B) {
	b.Run("grant", func(b *testing.B) {
		c, now, in := newGranting(b)
		b.ReportAllocs()
		for b.Loop() {
			now.Boot += time.Millisecond
			in.Message.Seq++
			c.Step(*now, *in)
		}
	})
	b.Run("confirm", func(b *testing.B) {
		r := newRenewal(b)
		in := &r.confirms[0]
		b.ReportAllocs()
		for b.Loop() {
			r.c.Step(r.now, *in)
		}
	})
}
