// Package ownfindings holds what a member itself has noticed and a person should know,
// of the member and of each of its elections, and puts it together with what gossip has
// found.
//
// Invariants: a finding is told apart by its word, its member and its election, and
// stands once; what has one cause for all elections stands once for the member, until the
// last of them has cleared it; the log has one line when a finding begins and one when it
// is over; what is published is never changed.
package ownfindings
