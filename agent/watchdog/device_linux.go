package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Device is a watchdog that is armed. One goroutine at a time uses it.
type Device struct {
	file     *os.File
	path     string
	timeout  time.Duration
	noWayOut bool
}

// Open arms the device: the host restarts unless it is fed within the timeout, or
// closed. A driver without a variable timeout keeps its own; see Device.Timeout.
func Open(path string, timeout time.Duration) (*Device, error) {
	info := look(path)
	if err := isWatchdog(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use by another program, such as systemd with RuntimeWatchdogSec", path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the watchdog: %w", err)
	}
	d := &Device{file: file, path: path, timeout: timeout, noWayOut: info.NoWayOut}
	if err := d.setTimeout(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// setTimeout sets the timeout and reads what the driver makes of it.
func (d *Device) setTimeout() error {
	want := int(d.timeout / time.Second)
	return d.control(func(fd int) error {
		err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, want)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) {
			return fmt.Errorf("arming %s: %w", describe(d.path, d.timeout), err)
		}
		got, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT)
		if err == nil && got > 0 {
			d.timeout = time.Duration(got) * time.Second
		}
		return nil
	})
}

// Timeout is how long after the last feeding the host restarts.
func (d *Device) Timeout() time.Duration { return d.timeout }

// NoWayOut reports whether the device goes on after Close.
func (d *Device) NoWayOut() bool { return d.noWayOut }

// Feed has the device wait for another timeout.
func (d *Device) Feed() error {
	err := d.control(func(fd int) error { return unix.IoctlWatchdogKeepalive(fd) })
	if err != nil { // a driver without the call takes any byte but a V
		_, err = d.file.Write([]byte{0})
	}
	if err != nil {
		return fmt.Errorf("feeding the watchdog %s: %w", d.path, err)
	}
	return nil
}

// Close disarms the device. A driver that has been told no way out goes on.
func (d *Device) Close() error {
	// The magic close: without a V before it, the end of a program is a fault.
	_, err := d.file.Write([]byte("V"))
	return errors.Join(err, d.file.Close())
}

func (d *Device) control(f func(fd int) error) error {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return err
	}
	failed := error(nil)
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// writable reports why this user could not open the device.
func writable(path string) error { return unix.Access(path, unix.W_OK) }

// sysDevices is where the kernel shows each device by its number; tests have their own.
var sysDevices = "/sys/dev/char"

// isWatchdog reports that a character device is no watchdog, without opening it, which
// would arm one. /dev/watchdog has the number 10:130; all others, and that one too, are
// of the class watchdog in sysfs. Where there is no sysfs, nothing is known.
func isWatchdog(path string) error {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFCHR {
		return nil // opening it gives the error
	}
	major, minor := unix.Major(stat.Rdev), unix.Minor(stat.Rdev)
	if major == 10 && minor == 130 {
		return nil
	}
	class, err := os.Readlink(filepath.Join(sysDevices, fmt.Sprintf("%d:%d", major, minor), "subsystem"))
	if _, noSysfs := os.Stat(sysDevices); noSysfs != nil || err == nil && filepath.Base(class) == "watchdog" {
		return nil
	}
	return fmt.Errorf("%s is no watchdog, but another device", path)
}
