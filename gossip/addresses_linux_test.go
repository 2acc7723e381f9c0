package gossip

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// news is a message of the kernel about an address of interface 2 with a lifetime.
func news(kind uint16, last byte, lifetime uint32) []byte {
	attribute := func(kind uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		return append(binary.NativeEndian.AppendUint16(b, kind), value...)
	}
	body := []byte{unix.AF_INET, 24, 0, 0, 2, 0, 0, 0}
	body = append(body, attribute(unix.IFA_LOCAL, []byte{10, 0, 0, last})...)
	cache := make([]byte, 16)
	binary.NativeEndian.PutUint32(cache[4:], lifetime)
	body = append(body, attribute(unix.IFA_CACHEINFO, cache)...)
	head := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	head = binary.NativeEndian.AppendUint16(head, kind)
	return append(append(head, make([]byte, 10)...), body...)
}

func TestLifetimesAreNoChangeOfAddresses(t *testing.T) {
	var known knownAddresses
	for i, c := range []struct {
		text []byte
		want bool
	}{
		{news(unix.RTM_NEWADDR, 1, 10), true},
		{news(unix.RTM_NEWADDR, 1, 20), false},
		{news(unix.RTM_NEWADDR, 2, 20), true},
		{news(unix.RTM_NEWADDR, 1, 30), false},
		{slices.Concat(news(unix.RTM_NEWADDR, 1, 40), news(unix.RTM_NEWADDR, 3, 40)), true},
		{news(unix.RTM_DELADDR, 2, 0), true},
		{news(unix.RTM_NEWADDR, 2, 10), true}, // it has come back
		{news(unix.RTM_NEWLINK, 2, 10), true},
		{[]byte{1, 2, 3}, true},
	} {
		if got := known.changedBy(c.text); got != c.want {
			t.Errorf("message %d: want a change: %v, got %v", i, c.want, got)
		}
	}
	for i := range 2 * maxAddresses {
		b := news(unix.RTM_NEWADDR, byte(i), 10)
		binary.NativeEndian.PutUint32(b[unix.NLMSG_HDRLEN+4:], uint32(i))
		if !known.changedBy(b) || len(known) > maxAddresses {
			t.Fatalf("address %d: want it new and at most %d kept, got %d", i, maxAddresses, len(known))
		}
	}
}
