package packages

import (
	"fmt"
	"strings"
	"testing"

	"doyen/examples/internal/box"
	"doyen/examples/internal/trial"
)

// A host is a box that has or gets the service.
type host struct {
	*box.Box
	t    *testing.T
	from string // where the part of the journal begins that is read
}

// newHost boots a box that is removed when the test ends. A switch with no other host on
// it is there for a floating address.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{Box: box.New(t, "package"), t: t}
	h.Run("sh", "-euc", `ip link set lo up
		ip link add eth0 type veth peer name switch0
		ip link set switch0 up
		ip link set eth0 up
		ip address add 192.0.2.1/24 dev eth0`)
	h.forget()
	return h
}

// property returns a property of the service from systemd.
func (b *host) property(name string) string {
	b.t.Helper()
	return b.Run("systemctl", "show", "--property", name, "--value", "doyen.service")
}

// eventually waits until check returns "", and fails the test with its last value.
func (b *host) eventually(check func() string) {
	b.t.Helper()
	trial.Eventually(b.t, trial.Patience, func() error {
		if why := check(); why != "" {
			return fmt.Errorf("%s\n%s", why, b.journal())
		}
		return nil
	})
}

// until waits for a line of the service's journal.
func (b *host) until(line string) {
	b.t.Helper()
	b.eventually(func() string {
		if strings.Contains(b.journal(), line) {
			return ""
		}
		return "the journal has no line with " + line
	})
}

// forget makes journal leave out the lines so far.
func (b *host) forget() {
	b.t.Helper()
	b.from = b.Run("date", "+@%s.%6N")
}

// journal returns the lines that the service, and systemd about it, have logged since.
func (b *host) journal() string {
	b.t.Helper()
	return b.Run("journalctl", "--unit", "doyen.service", "--output", "cat", "--no-pager", "--since", b.from)
}
