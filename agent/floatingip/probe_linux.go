package floatingip

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// CutOff returns how long before the end of a lease the kernel's own cut-off of
// addrs must be counted as beginning, so that it is over in time: some
// milliseconds with nftables, seconds without. The error then says what is
// missing. It makes and removes tables for one address of each family to find out.
func CutOff(addrs []Address) (time.Duration, error) {
	g, err := newGate(fmt.Sprintf("%s%d_", probePrefix, os.Getpid()), oneOfEachFamily(addrs))
	if err == nil {
		err = g.remove()
	}
	return cutOff(err == nil), err
}

// oneOfEachFamily returns the first IPv4 and the first IPv6 address.
func oneOfEachFamily(addrs []Address) (some []Address) {
	for _, a := range addrs {
		if !slices.ContainsFunc(some, func(b Address) bool { return b.IP().Is4() == a.IP().Is4() }) {
			some = append(some, a)
		}
	}
	return some
}
