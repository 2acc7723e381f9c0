// Package history is what a member remembers of the leaderships of an election, for
// people: History is the list of them, Track what was heard of leaders and how long the
// failover took. It decides nothing.
//
// Invariants: one leadership is one row, also if its term is raised, if the leader is
// lost from sight for a while, and if a restart lies between; a row begins when the one
// before it has ended, or later; a row that has not lasted a millisecond is none. All of
// it is this member's own view: claims arrive late, so the earliest beginning that was
// heard of counts.
package history
