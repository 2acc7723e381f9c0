// Package stream hands values to readers without waiting for any of them: Hub every
// value, and a reader that is too slow is cut off; Latest the newest value, and a slow
// reader misses those in between.
//
// Invariants: to publish never blocks; a stream starts with the value that is current
// when it begins, and nothing is lost between that one and the next; a reader whose
// context has ended, or whose source is closed, finds its channel closed.
package stream
