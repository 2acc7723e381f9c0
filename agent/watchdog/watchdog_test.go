//go:build linux

package watchdog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file takes what a device without ioctls would: a byte for each feeding, and the
// V that disarms.
func TestLifeOfADevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Feed(); err != nil {
			t.Error(err)
		}
	}
	if err := d.Close(); err != nil || d.Timeout() != 3*time.Second || d.NoWayOut() {
		t.Errorf("want it closed with a timeout of 3s and a way out, got %v, %v, %v", err, d.Timeout(), d.NoWayOut())
	}
	if got, err := os.ReadFile(path); string(got) != "\x00\x00V" {
		t.Errorf("want two feedings and a V, got %q, %v", got, err)
	}
	if err := d.Feed(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("want an error that names the device, got %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "none"): "is not there", plain: "is no device"} {
		if _, err := Check(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", path, want, err)
		}
	}
	if _, err := Check("/dev/null"); err != nil {
		t.Error(err)
	}
}

func TestLook(t *testing.T) {
	old := sysfs
	defer func() { sysfs = old }()
	sysfs = t.TempDir()
	for file, text := range map[string]string{"state": "active\n", "nowayout": "1\n", "identity": "i6300ESB timer\n"} {
		dir := filepath.Join(sysfs, "watchdog0")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/dev/watchdog", "/dev/watchdog0"} {
		if got, want := look(path), (Info{Active: true, NoWayOut: true, Identity: "i6300ESB timer"}); got != want {
			t.Errorf("%s: want %+v, got %+v", path, want, got)
		}
	}
	if got := look("/dev/watchdog1"); got != (Info{}) {
		t.Errorf("want nothing known, got %+v", got)
	}
}

func TestTimeout(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		60 * time.Millisecond: 2 * time.Second, 2 * time.Second: 2 * time.Second, 2001 * time.Millisecond: 3 * time.Second,
	} {
		if got := Timeout(after); got != want {
			t.Errorf("%v: want %v, got %v", after, want, got)
		}
	}
}
