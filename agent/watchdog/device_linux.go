package watchdog

import (
	"errors"
	"fmt"
	"os"
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
