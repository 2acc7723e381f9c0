// Package logqueue lets a program log without waiting for the reader of its log: a
// stopped terminal or a full pipe must not be able to stop an election.
//
// Invariants: a call of the logger never blocks; lines are written in the order of
// their calls; lines that are dropped are counted, and the next line that is written
// is followed by one that says how many.
package logqueue
