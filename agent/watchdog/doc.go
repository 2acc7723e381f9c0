// Package watchdog arms the watchdog of a host: a device that restarts the host
// when it is not fed in time (Documentation/watchdog/watchdog-api.rst of the kernel).
//
// [Open] arms it, [Device.Feed] feeds it, [Device.Close] disarms it. A program that
// ends without Close leaves it armed: the host restarts after the timeout. That is
// what it is for: a keeper that is killed or frozen together with its agent can give
// up nothing.
//
// # Limits
//
//   - A driver with nowayout goes on after Close: the caller must go on feeding.
//   - A driver counts whole seconds, and takes the nearest timeout that it has.
//   - Check finds out what sysfs shows. /dev/watchdog itself is there not shown by
//     its driver; it is watchdog0.
//
// Internal to Doyen: no promise.
package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Info is what is known of a device without opening it.
type Info struct {
	// Active: it is armed, by this program or another.
	Active bool
	// NoWayOut: it cannot be disarmed.
	NoWayOut bool
	// Identity is the name of the driver; "": not known.
	Identity string
}

// sysfs is where the kernel shows watchdogs; tests have their own.
var sysfs = "/sys/class/watchdog"

// Check reports why the device could not be opened, as far as that is known
// without arming it.
func Check(path string) (Info, error) {
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Info{}, fmt.Errorf("%s is not there; load the driver of the host's watchdog, or softdog", path)
	case err != nil:
		return Info{}, err
	case stat.Mode()&os.ModeCharDevice == 0:
		return Info{}, fmt.Errorf("%s is no device", path)
	}
	if err := isWatchdog(path); err != nil {
		return Info{}, err
	}
	if err := writable(path); err != nil {
		return Info{}, fmt.Errorf("%s may not be opened by this user: %w", path, err)
	}
	return look(path), nil
}

// look reads what sysfs shows of the device.
func look(path string) Info {
	name := filepath.Base(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		name = filepath.Base(target)
	}
	if name == "watchdog" {
		name = "watchdog0"
	}
	read := func(file string) string {
		b, _ := os.ReadFile(filepath.Join(sysfs, name, file))
		return strings.TrimSpace(string(b))
	}
	return Info{Active: read("state") == "active", NoWayOut: read("nowayout") == "1", Identity: read("identity")}
}

// Timeout is the timeout that a device should have for a leadership that another
// may follow after the time given: the next whole second, and at least two, since a
// busy host may be late with feeding.
func Timeout(after time.Duration) time.Duration {
	return max((after+time.Second-1)/time.Second*time.Second, 2*time.Second)
}

// FeedEvery is how often a device with that timeout is fed.
func FeedEvery(timeout time.Duration) time.Duration { return timeout / 4 }

// describe is the device as errors name it.
func describe(path string, timeout time.Duration) string {
	return path + " with a timeout of " + strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64) + " s"
}
