package floatingip

import (
	"fmt"
	"os"
	"time"
)

// CutOff returns how long before the end of a lease the kernel's own cut-off of
// addrs must be counted as beginning, so that it is over in time: some
// milliseconds with nftables, seconds without. The error then says what is
// missing. It makes and removes a table of its own to find out.
func CutOff(addrs []Address) (time.Duration, error) {
	g, err := newGate(fmt.Sprintf("%s%d_", probePrefix, os.Getpid()), addrs)
	if err == nil {
		err = g.remove()
	}
	return cutOff(err == nil), err
}
