//go:build linux

package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
}

// Only a watchdog is one: the class of its number in sysfs tells, or that number which
// the first watchdog has. Nothing is opened, since that would arm it.
func TestOnlyAWatchdogIsOne(t *testing.T) {
	old := sysDevices
	defer func() { sysDevices = old }()
	sysDevices = t.TempDir()
	dir := t.TempDir()
	node := func(name string, major, minor uint32, class string) string {
		path := filepath.Join(dir, name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
			if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
				t.Fatal(err)
			}
			t.Skipf("no device can be made here: %v", err)
		}
		shown := filepath.Join(sysDevices, fmt.Sprintf("%d:%d", major, minor))
		if err := os.MkdirAll(shown, 0o700); class != "" && err == nil {
			if err := os.Symlink("../../../class/"+class, filepath.Join(shown, "subsystem")); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	for path, is := range map[string]bool{
		node("watchdog", 10, 130, ""): true, node("watchdog1", 248, 1, "watchdog"): true, node("null", 1, 3, "mem"): false,
		node("tty", 5, 0, "tty"): false, node("odd", 250, 0, ""): false, "/dev/null": false,
	} {
		_, err := Check(path)
		if is && err != nil || !is && (err == nil || !strings.Contains(err.Error(), path+" is no watchdog")) {
			t.Errorf("%s: want it a watchdog %v, got %v", path, is, err)
		}
		if is {
			continue // opening it could arm one
		}
		if _, err := Open(path, 2*time.Second); err == nil || !strings.Contains(err.Error(), "is no watchdog") {
			t.Errorf("%s: want it not opened, got %v", path, err)
		}
	}
	sysDevices = filepath.Join(dir, "none")
	if _, err := Check("/dev/null"); err != nil {
		t.Errorf("without sysfs nothing is known: got %v", err)
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
