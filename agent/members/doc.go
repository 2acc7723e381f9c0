// Package members is the members of a group as people are shown them: the line of
// succession, and behind it for a while those that have vanished without a good-bye. It
// tells what has changed in it, and decides nothing.
//
// Invariants: it is worked out anew from the whole order and the whole view, never
// patched; what is published is never changed, so that snapshots may share it; the members
// lost are bounded in number and in time.
package members
