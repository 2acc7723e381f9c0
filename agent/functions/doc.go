// Package functions holds the functions of a program that run while this member leads an
// election: they are as much part of a leadership as what its hook holds.
//
// Invariants: a function that was let in is in the set until it has returned, so that a
// release can wait for it; each is told once its leadership is over, however long it then
// takes. The set does not know whether this member leads: the one that lets a function in
// looks after that, and again while the function runs.
package functions
