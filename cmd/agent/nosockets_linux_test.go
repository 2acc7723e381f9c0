package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// overflow has a process miss changes of interfaces and addresses, more than its
// subscriptions hold, and denies it every new file, sockets among them, until more is
// called.
func (h *host) overflow(pid int) (more func()) {
	h.g.t.Helper()
	var batch strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&batch, "link set dev spare0 mtu %d\naddr add 192.0.2.1/32 dev spare0\naddr del 192.0.2.1/32 dev spare0\n", 1000+i)
	}
	file := filepath.Join(h.g.dir, "changes")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		h.g.t.Fatal(err)
	}
	var was unix.Rlimit
	stop := func(err error) {
		h.g.t.Helper()
		if err != nil {
			h.g.t.Fatal(err)
		}
	}
	stop(syscall.Kill(pid, syscall.SIGSTOP))
	ip(h.g.t, "-n", h.ns, "-batch", file)
	stop(unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was))
	stop(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}, nil))
	stop(syscall.Kill(pid, syscall.SIGCONT))
	return func() { stop(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil)) }
}

// logged waits until the log has so many lines more with all of these words than before.
func (h *host) logged(lines int, words ...string) {
	h.g.t.Helper()
	h.g.eventually(func() error {
		found := 0
		for line := range strings.Lines(h.log()) {
			has := 0
			for _, w := range words {
				if strings.Contains(line, w) {
					has++
				}
			}
			if has == len(words) {
				found++
			}
		}
		if found != lines {
			return fmt.Errorf("got %d lines with %q, want %d; log:\n%s", found, words, lines, h.log())
		}
		return nil
	})
}

// TestWatchOfInterfacesComesBack takes the subscriptions from an agent and from its keeper,
// and has no new ones to be had for a time: what changes meanwhile is seen all the same,
// and later too.
func TestWatchOfInterfacesComesBack(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	if out, err := exec.Command("ip", "-n", h.ns, "link", "add", "spare0", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.args = []string{"--lone-wait", "0s", "--check-interval", "0s", "--lease", "5s", "--floating-ip", floatingFlag}
	h.start()
	if l.holder() != h {
		t.Fatal("want the only host to hold the address")
	}
	const failing, works = "interfaces of the floating addresses cannot be watched", "interfaces of the floating addresses are watched again"
	const lost = "level=WARN msg=finding what=floating-ip-no-link"

	more := h.overflow(h.state().PID)
	h.logged(1, failing)
	h.cut(true)
	h.logged(1, lost) // without a subscription
	more()
	h.logged(1, works)
	h.cut(false)
	l.holder()
	h.cut(true)
	h.logged(2, lost)
	h.cut(false)
	l.holder()
	h.logged(1, failing)
	h.logged(1, works)

	keeper := h.state().KeeperPID
	if keeper == nil {
		t.Fatal("keeper_pid: got null, want the keeper's")
	}
	more = h.overflow(*keeper)
	h.logged(1, "msg=finding ", "floating-ip-not-watched")
	for range 3 {
		ip(t, "-n", h.ns, "addr", "del", floating+"/24", "dev", "eth0")
		if !poll(h.holds) {
			t.Fatalf("the address has not come back without a subscription; log:\n%s", h.log())
		}
	}
	more()
	h.logged(1, "finding is over", "floating-ip-not-watched")
	ip(t, "-n", h.ns, "addr", "del", floating+"/24", "dev", "eth0")
	if !poll(h.holds) {
		t.Fatalf("the address has not come back; log:\n%s", h.log())
	}
	if after := h.state().KeeperPID; after == nil || *after != *keeper {
		t.Errorf("want the same keeper, %d, got %v", *keeper, after)
	}
}
