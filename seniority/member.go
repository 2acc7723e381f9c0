package seniority

import (
	"fmt"
	"net/netip"
)

// Role says what part a member takes in elections.
type Role uint8

// The roles, in the order of how much a member may do.
const (
	// Candidate votes and may lead.
	Candidate Role = iota
	// Witness votes and never leads.
	Witness
	// Observer neither votes nor leads.
	Observer
)

var roleNames = [...]string{"candidate", "witness", "observer"}

// String returns the name that flags, JSON and metrics use.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, error) {
	for i, name := range roleNames {
		if s == name {
			return Role(i), nil
		}
	}
	return 0, fmt.Errorf("role %q is none of candidate, witness, observer", s)
}

// Join is a member's place in a group: its join number, and the group that
// gave it. The zero Join belongs to a member that no leader has numbered yet.
type Join struct {
	// Group is the term of the leadership that founded the group.
	Group uint64
	// Number counts from 1 in the order in which the group took its members in.
	Number uint64
}

// Member is what an election needs to know of one node. A Member is a value:
// the receiver may keep it.
type Member struct {
	// Name is unique in the cluster.
	Name string
	// Addr is the address the member is reached at; it breaks ties of equal
	// ids under the bully rule.
	Addr netip.AddrPort
	// Incarnation identifies this run of the member; a restart draws another.
	Incarnation uint64
	// Start is when this run began, in Unix nanoseconds by the member's own
	// wall clock. It orders only members that have no join number yet.
	Start int64
	// ID ranks the member under the bully rule.
	ID uint64
	// Role limits what the member may do.
	Role Role
	// Eligible is false while a candidate must not be elected: its health
	// check fails, or it stands aside after a failure or a request.
	Eligible bool
	// Join is the member's join number.
	Join Join
	// Voter is, in quorum mode, the entry of the list of voters that this
	// member is; empty for a member that is none.
	Voter string
}

// Votes reports whether the member takes part in elections of available mode.
func (m *Member) Votes() bool { return m.Role != Observer }

// MayLead reports whether the member may be elected now.
func (m *Member) MayLead() bool { return m.Role == Candidate && m.Eligible }
