//go:build linux

package floatingip

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"doyen/agent/clock"
)

// keepTable has another program keep a table of nftables for itself, until free is called.
func (h *host) keepTable(name string) (free func()) {
	nft := exec.Command("nft", "-i")
	orders, err := nft.StdinPipe()
	must(h.t, err)
	h.do(func() { must(h.t, nft.Start()) })
	free = sync.OnceFunc(func() {
		orders.Close()
		nft.Wait()
	})
	h.t.Cleanup(free)
	_, err = fmt.Fprintf(orders, "add table inet %s { flags owner; }\n", name)
	must(h.t, err)
	within(h.t, "nft makes the table", func() bool { return len(h.tables()) > 1 })
	return free
}

// TestAddressThatCannotBeGuarded adds one whose table is another program's. It is not put before it
// is guarded, the other goes on, and what has failed spoils nothing that follows.
func TestAddressThatCannotBeGuarded(t *testing.T) {
	a, b := pair(t)
	a.echo()
	s := a.runWith(float4Net + "@eth0")
	s.take(t)
	free := a.keepTable(tablePrefix + "10.9.8.101")
	both, err := ParseAll([]string{float4Net + "@eth0", "10.9.8.101/24@eth0"})
	must(t, err)
	for range 2 {
		a.do(func() {
			if err := s.Change(both); err == nil {
				t.Error("a table that is another program's has been made")
			}
		})
		must(t, s.Check())
		must(t, s.Take(clock.Boot()+time.Minute))
		if _, there := a.addrs()["10.9.8.101/24"]; there || !b.asks(float4, patience) {
			t.Errorf("want the address that is guarded to answer and the other not put, which is: %v", there)
		}
	}
	must(t, s.Drop())
	s.take(t)
	free()
	a.do(func() { must(t, s.Change(both)) })
	if _, there := a.addrs()["10.9.8.101/24"]; !there || len(a.tables()) != 2 {
		t.Errorf("want the other put, which is %v, and guarded, got %v", there, a.tables())
	}
	begun, ended := 0, 0
	for _, e := range s.events() {
		switch {
		case e.What != NotChanged:
		case e.Over:
			ended++
		default:
			begun++
		}
	}
	if begun != 1 || ended != 1 {
		t.Errorf("want the finding to begin and end once, got %d and %d", begun, ended)
	}
}
