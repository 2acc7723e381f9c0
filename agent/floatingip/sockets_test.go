//go:build linux

package floatingip

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A Set opens no kind of netlink but those for addresses and for nftables:
// kernels for virtual machines often have no others, and opening one that is
// not there would be an error.
func TestSetOpensOnlyTheSocketsItNeeds(t *testing.T) {
	a, _ := pair(t)
	a.run("a")
	a.do(func() {
		table, err := os.ReadFile("/proc/thread-self/net/netlink")
		must(t, err)
		sockets := 0
		for line := range strings.Lines(string(table)) {
			// The columns are the address, the kind, and the port, which is 0
			// for the end of the kernel itself.
			field := strings.Fields(line)
			if field[0] == "sk" || field[2] == "0" {
				continue
			}
			sockets++
			const route, netfilter = "0", "12"
			if !slices.Contains([]string{route, netfilter}, field[1]) {
				t.Errorf("want sockets of the kinds %s and %s, got one of kind %s", route, netfilter, field[1])
			}
		}
		if sockets == 0 {
			t.Error("the Set has no sockets here, so this test has seen nothing")
		}
	})
}
