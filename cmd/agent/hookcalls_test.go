//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"testing"
)

// What a hook, a command and agent exec run may change the store without a token and
// without --addr, on a member whose address is not loopback.
func TestHooksReachTheirMember(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	l.also(fmt.Sprintf(`[ "$1" = acquire ] && %s store put hook "$DOYEN_TERM"; :`, l.exe))
	h.args = []string{
		"--bind-addr", "0.0.0.0", "--advertise-addr", h.addr, "--voters", h.addr, "--seeds", h.addr, "--hook", l.hook(),
		"--store", "on", "--state-dir", filepath.Join(l.dir, "state"), "--", "sh", "-c", l.exe + ` store put command "$DOYEN_TERM" && exec sleep 1000`,
	}
	h.start()
	for _, by := range []string{"hook", "command"} {
		l.eventually(func() error {
			if want, got := fmt.Sprint(h.state().Term), h.run(l.exe, "store", "get", by); got != want {
				return fmt.Errorf("the %s: want term %s in the store, got %q", by, want, got)
			}
			return nil
		})
	}
	out := h.run(l.exe, "exec", "--", l.exe, "store", "put", "exec", "done")
	if got := h.run(l.exe, "store", "get", "exec"); got != "done" {
		t.Errorf("from agent exec: want done in the store, got %q: %s", got, out)
	}
}
