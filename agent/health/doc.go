// Package health judges by repeated checks whether this node is fit to lead.
//
// The first result is the first verdict. From then on Fall failures in a row
// make a healthy node sick, and Rise successes in a row a sick one healthy. A
// check that has not ended at its Timeout has failed, and is killed; so one that
// hangs is noticed after at most Fall × max(Interval, Timeout).
//
// A [Monitor] runs one check at a time in a goroutine of its own. Its report is
// always the whole: one that was not read is replaced by the next, so a reader that
// reads is never behind and delays nothing. A check whose processes cannot be
// killed, as they wait for a disk or a server that is gone, counts as another
// failure every Interval until it ends; none is started meanwhile.
//
// Internal to Doyen: no promise.
package health
