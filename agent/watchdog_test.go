package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent/keeper"

	"golang.org/x/sys/unix"
)

// A member whose watchdog cannot be armed is no candidate and says so, until it can.
func TestAMemberWithoutItsWatchdogIsNoCandidate(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		device := filepath.Join(t.TempDir(), "watchdog")
		for i := range 3 {
			g.add(func(c *Config, _ *fakeExecutor) {
				if c.Hook = "/bin/true"; i == 0 {
					c.Watchdog = device
				}
			})
			time.Sleep(time.Millisecond)
		}
		m := g.members[0]
		g.await(5*time.Second, "m1 leads", g.allFollow("m1"))
		found := func() bool {
			return slices.ContainsFunc(m.State().Findings, func(f Finding) bool { return f.What == noWatchdog && strings.Contains(f.Evidence, device) })
		}
		if s := m.State(); s.Eligible || s.Watchdog == nil || s.Watchdog.Error == "" || !found() {
			t.Errorf("want it no candidate for its watchdog, got eligible %v, %+v, %+v", s.Eligible, s.Watchdog, s.Findings)
		}
		if err := os.Symlink("/dev/null", device); err != nil {
			t.Fatal(err)
		}
		g.await(time.Minute, "m0 says that the device is no watchdog", func() bool { return strings.Contains(m.State().Watchdog.Error, "is no watchdog") })
		if err := os.Remove(device); err != nil {
			t.Fatal(err)
		}
		// The number of a watchdog is all that is looked at here. Nothing opens it.
		if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 130))); err != nil {
			if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
				t.Fatal(err)
			}
			t.Skipf("no device can be made here: %v", err)
		}
		g.await(time.Minute, "m0 is a candidate again", func() bool { return m.State().Eligible && !found() })
		m.executor.reports <- keeper.Report{Watchdog: &keeper.WatchdogReport{Armed: true, Timeout: 3 * time.Second}}
		g.await(5*time.Second, "m0 tells of its watchdog", func() bool {
			w := m.State().Watchdog
			return w.Armed && w.TimeoutMS == 3000
		})
		if r := m.Ready(); !slices.ContainsFunc(r.Reasons, func(s string) bool { return strings.Contains(s, "restarts the host within 3s") }) {
			t.Errorf("want the bound in ready, got %q", r.Reasons)
		}
	})
}
