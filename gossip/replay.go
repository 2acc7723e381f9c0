package gossip

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
)

// Encryption tells who sent a message, not when: somebody on the wire could
// send it again, and so keep a dead leader's claims coming. So every direct
// message says from which run to which run it goes, and its number between the
// two; it is taken once, from the run that gossip knows to the one that is
// here. A restart of either end makes everything seen before worthless.

// stampSize is the length of what stands before a direct message: its kind, the
// sender's incarnation, the receiver's, and the number.
const stampSize = 1 + 3*8

// The reasons to refuse a direct message.
var (
	errStranger = errors.New("message-of-stranger")
	errOtherRun = errors.New("message-of-other-run")
	errReplayed = errors.New("message-replayed")
)

// outgoing returns where a member is reached, its run and the stamp of the next message
// to it; false: nothing is known of it.
func (r *members) outgoing(name string) (addr netip.AddrPort, run uint64, stamp []byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil {
		return netip.AddrPort{}, 0, nil, false
	}
	// A run that is forgotten and met again goes on with higher numbers.
	k.sent++
	r.highest = max(r.highest, k.sent)
	stamp = append(make([]byte, 0, 512), directByte)
	for _, n := range []uint64{r.self.Incarnation, k.run, k.sent} {
		stamp = binary.BigEndian.AppendUint64(stamp, n)
	}
	return k.addr, k.run, stamp, true
}

// incoming checks the stamp of a message from a member, and returns the member's run.
// Without keys no member could trust a stamp, but duplicates are of no use there either.
func (r *members) incoming(from string, stamp []byte) (sender uint64, err error) {
	sender = binary.BigEndian.Uint64(stamp[1:])
	receiver := binary.BigEndian.Uint64(stamp[9:])
	number := binary.BigEndian.Uint64(stamp[17:])
	r.mu.Lock()
	defer r.mu.Unlock()
	var got *window
	k := r.known[from]
	i := slices.IndexFunc(r.parted, func(p parted) bool { return p.name == from && p.run == sender })
	switch {
	case k != nil && k.run == sender:
		got = &k.got
	case i >= 0:
		got = &r.parted[i].got
	case k == nil:
		return 0, errStranger
	default:
		return 0, errOtherRun
	}
	if r.self.Incarnation != receiver {
		return 0, errOtherRun
	}
	if !got.take(number) {
		return 0, errReplayed
	}
	return sender, nil
}

// windowSize is how far a message may be overtaken by others before it is
// refused as well; it is late then anyway.
const windowSize = 64

// window tells which of a row of numbers have been taken: everything up to top
// that is not among the last windowSize, and of these those whose bit is set.
type window struct {
	top, bits uint64
}

// take reports whether n is taken for the first time.
func (w *window) take(n uint64) bool {
	switch {
	case n == 0:
		return false
	case n > w.top:
		w.bits = w.bits<<min(n-w.top, windowSize) | 1
		w.top = n
		return true
	case w.top-n >= windowSize || w.bits>>(w.top-n)&1 == 1:
		return false
	}
	w.bits |= 1 << (w.top - n)
	return true
}
