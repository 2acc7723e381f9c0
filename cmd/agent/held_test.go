package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// has reports whether a host has the floating address on its interface and the kernel
// lets it answer.
func (h *host) has() bool {
	return h.holds() && strings.Contains(h.run("nft", "list", "ruleset"), "elements = {")
}

// shown returns an error unless a member says of itself, wherever it does, that it holds
// the floating address, or that it does not.
func (h *host) shown(held bool) error {
	if s := h.state(); len(s.Addresses) != 1 || s.Addresses[0].Held != held {
		return fmt.Errorf("%s: want held %v in /state, got %+v; log:\n%s", h.name, held, s.Addresses, h.log())
	}
	if e := h.state().Elections["group"]; len(e.Addresses) != 1 || e.Addresses[0].Held != held {
		return fmt.Errorf("%s: want held %v in /elections, got %+v", h.name, held, e.Addresses)
	}
	n := 0
	if held {
		n = 1
	}
	want := fmt.Sprintf(`doyen_floating_address_held{address="%s/24",election="group",interface="eth0"} %d`, floating, n)
	if got := h.run("curl", "-s", "http://"+h.name+"/metrics"); !strings.Contains(got, want) {
		return fmt.Errorf("%s: want %s in /metrics", h.name, want)
	}
	var d diagAnswer
	h.get("/diag", &d)
	for _, f := range d.Verdict.Findings {
		if f.What == "floating-ip-two-holders" {
			return fmt.Errorf("%s: want one holder at most, got %+v", h.name, f)
		}
	}
	return nil
}

// TestAddressIsNotShownAsHeldWhileItsReleaseRuns ends leaderships whose hook does not come
// to the end of its release: as soon as the host has the address no more, the member says
// so.
func TestAddressIsNotShownAsHeldWhileItsReleaseRuns(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name string
		args []string
	}{
		{"available", nil},
		{"quorum", []string{"--voters", "seeds"}},
	} {
		for _, end := range []struct {
			name string
			of   func(l *lan, h *host)
		}{
			{"step-down", func(l *lan, h *host) {
				// It ends with the release.
				cmd := exec.Command(h.within[0], append(h.within[1:], l.exe, "step-down")...)
				if err := cmd.Start(); err != nil {
					l.t.Fatal(err)
				}
				l.t.Cleanup(func() { cmd.Wait() })
			}},
			{"agent stopped", func(l *lan, h *host) {
				h.signal(syscall.SIGSTOP)
				poll(func() bool {
					next := l.hosts[(slices.Index(l.hosts, h)+1)%3].leader()
					return next != "" && next != h.name && !h.has()
				})
				h.signal(syscall.SIGCONT)
			}},
			{"keeper killed", func(l *lan, h *host) {
				if err := syscall.Kill(*h.state().KeeperPID, syscall.SIGKILL); err != nil {
					l.t.Fatal(err)
				}
			}},
		} {
			t.Run(mode.name+", "+end.name, func(t *testing.T) {
				l := newLAN(t, 3)
				slow := filepath.Join(l.dir, "slow")
				hook := filepath.Join(l.dir, "slow.sh")
				text := "#!/bin/sh\n[ $1 = release ] || exit 0\nwhile [ -e " + slow + " ]; do sleep 0.02; done\n"
				if err := os.WriteFile(hook, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, h := range l.hosts {
					h.args = append([]string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--hook", hook, "--floating-ip", floatingFlag}, mode.args...)
					h.start()
				}
				h := l.holder()
				l.eventually(func() error { return h.shown(true) })
				if err := os.WriteFile(slow, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				end.of(l, h)
				if !poll(func() bool { return !h.has() }) {
					t.Fatalf("the host still has the address; log:\n%s", h.log())
				}
				l.eventually(func() error { return h.shown(false) })
				l.eventually(func() error {
					if s := h.state(); s.Hook == nil || s.Hook.Event != "release" || !s.Hook.Running {
						return fmt.Errorf("want the release to run still, got %+v; log:\n%s", s.Hook, h.log())
					}
					return nil
				})
				if err := os.Remove(slow); err != nil {
					t.Fatal(err)
				}
				next := l.holder()
				for _, h := range l.hosts {
					l.eventually(func() error { return h.shown(h == next) })
				}
			})
		}
	}
}
