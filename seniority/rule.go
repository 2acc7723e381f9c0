package seniority

import (
	"cmp"
	"fmt"
	"time"
)

// Rule is an order of preference among members and among leaderships. A rule
// is stateless; adding one is a file like this and a line in ParseRule.
type Rule interface {
	// Name is what --rule, JSON and logs call it.
	Name() string
	// Compare orders members: negative if a comes before b in the line of
	// succession. It is a strict total order of members with distinct names
	// and uses nothing but what every member knows of every other.
	Compare(a, b *Member) int
	// Prefer orders two leaderships whose groups have met: negative if a stays.
	Prefer(a, b *Leadership) int
	// Preempts says whether, unless configured otherwise, a leader hands over
	// to a preferred member that appears.
	Preempts() bool
}

// Leadership is what two leaders compare when they meet.
type Leadership struct {
	Leader Member
	// Held is how long the leadership has lasted by the leader's own clock.
	Held time.Duration
	// Met is false if the leader has never met another member.
	Met bool
}

// ParseRule returns the rule of that name.
func ParseRule(name string) (Rule, error) {
	for _, r := range []Rule{Seniority{}, Bully{}} {
		if r.Name() == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("rule %q is none of seniority, bully", name)
}

// Seniority prefers the member that joined first.
type Seniority struct{}

// Name implements Rule.
func (Seniority) Name() string { return "seniority" }

// Compare implements Rule: numbered members come first, by group and number;
// the others follow by start time. This is the only place that orders members
// under this rule.
func (Seniority) Compare(a, b *Member) int {
	return cmp.Or(
		compareBool(a.Join.Number == 0, b.Join.Number == 0),
		cmp.Compare(a.Join.Group, b.Join.Group),
		cmp.Compare(a.Join.Number, b.Join.Number),
		cmp.Compare(a.Start, b.Start),
		cmp.Compare(a.Name, b.Name),
	)
}

// Prefer implements Rule: a leader that has never met another member yields; else the longer
// leadership stays.
func (Seniority) Prefer(a, b *Leadership) int {
	return cmp.Or(
		compareBool(!a.Met, !b.Met),
		cmp.Compare(b.Held, a.Held),
		cmp.Compare(a.Leader.Name, b.Leader.Name),
	)
}

// Preempts implements Rule: no member that joins is ever senior to a leader.
func (Seniority) Preempts() bool { return false }

// Bully prefers the member with the highest id (Garcia-Molina 1982).
type Bully struct{}

// Name implements Rule.
func (Bully) Name() string { return "bully" }

// Compare implements Rule: of equal ids the higher address wins, then the
// higher port.
func (Bully) Compare(a, b *Member) int {
	return cmp.Or(
		cmp.Compare(b.ID, a.ID),
		b.Addr.Addr().Compare(a.Addr.Addr()),
		cmp.Compare(b.Addr.Port(), a.Addr.Port()),
		cmp.Compare(a.Name, b.Name),
	)
}

// Prefer implements Rule: the preferred leader stays.
func (r Bully) Prefer(a, b *Leadership) int { return r.Compare(&a.Leader, &b.Leader) }

// Preempts implements Rule.
func (Bully) Preempts() bool { return true }

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
