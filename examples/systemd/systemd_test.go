// Package systemd tests the unit with systemd's own tools. doyen/examples/package tests
// what it does.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doyen/examples/internal/trial"
)

// analyze runs systemd-analyze on a copy of the unit, with or without the drop-in.
// systemd-analyze looks for the program that the unit starts, so the copy names this test.
func analyze(t *testing.T, dropIn bool, args ...string) {
	t.Helper()
	trial.Needs(t, "systemd-analyze")
	dir := t.TempDir()
	unit := filepath.Join(dir, "doyen.service")
	place(t, "doyen.service", unit)
	if dropIn {
		for _, name := range []string{"floating-ip.conf", "edge.conf", "watchdog.conf"} {
			place(t, name, filepath.Join(unit+".d", name))
		}
	}
	out, err := exec.Command("systemd-analyze", append(args, unit)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze %q, drop-in %v: %v\n%s", args, dropIn, err, out)
	}
}

func place(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(string(text), "/usr/bin/agent", os.Args[0])
	if err := os.WriteFile(to, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnitIsGood(t *testing.T) {
	for _, dropIn := range []bool{false, true} {
		analyze(t, dropIn, "verify", "--man=no")
	}
}

// 25 means an exposure of 2.5 of 10.
func TestUnitIsConfined(t *testing.T) {
	for _, dropIn := range []bool{false, true} {
		analyze(t, dropIn, "security", "--offline=true", "--threshold=25")
	}
}
