package clock

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Boot is the time since the machine was started, suspended time included. Its
// system call is one of those that Go's scheduler is not told of: it never waits, and
// to tell would cost more than the call.
func Boot() time.Duration {
	var ts unix.Timespec
	if _, _, err := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); err != 0 {
		// Every kernel since 2.6.39 has this clock. Without it no lease can be
		// counted, and going on would be the only way to break the promise.
		panic(fmt.Sprintf("clock: reading CLOCK_BOOTTIME: %v", err))
	}
	return time.Duration(ts.Nano())
}

// NewAlarm returns an alarm that goes off by Boot.
func NewAlarm() Alarm {
	c := make(chan struct{}, 1)
	return newBootAlarm(c, poke(c))
}

// NewAlarmFunc returns an alarm that calls a function instead of sending to C, which is nil.
// It wakes no goroutine between the timer and the function.
func NewAlarmFunc(ring func()) Alarm { return newBootAlarm(nil, ring) }

func newBootAlarm(c chan struct{}, ring func()) Alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		// A sandbox without timerfd: the alarm may then be late after a
		// suspension, by no more than it was ahead before.
		return newTimerAlarm(Boot, c, ring)
	}
	a := &bootAlarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd"), c: c, ring: ring}
	go a.run()
	return a
}

// bootAlarm is a timerfd. Nothing reads it: that it becomes readable is all there is
// to know, and each expiry makes it so once more.
type bootAlarm struct {
	fd   int
	file *os.File
	c    chan struct{}
	ring func()
}

func (a *bootAlarm) C() <-chan struct{} { return a.c }

func (a *bootAlarm) Set(at time.Duration) {
	spec := unix.ItimerSpec{}
	if at > 0 {
		spec.Value = unix.NsecToTimespec(int64(at))
	}
	// It never waits; see Boot.
	if _, _, err := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.fd), unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); err != 0 {
		panic(fmt.Sprintf("clock: setting an alarm for %v: %v", at, err))
	}
}

// Close ends run as well: its wait returns.
func (a *bootAlarm) Close() { a.file.Close() }

// run rings whenever the timerfd becomes readable, until it is closed. What comes before
// the first wait is read, as the wait does not tell of it.
func (a *bootAlarm) run() {
	conn, err := a.file.SyscallConn()
	if err != nil {
		return // it is closed already
	}
	waited := false
	_ = conn.Read(func(fd uintptr) (done bool) {
		var expirations [8]byte
		if !waited {
			waited = true
			if n, _ := unix.Read(int(fd), expirations[:]); n <= 0 {
				return false
			}
		}
		a.ring()
		return false
	})
}
