package clock

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is the time since the machine was started, suspended time included.
func Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Every kernel since 2.6.39 has this clock. Without it no lease can be
		// counted, and going on would be the only way to break the promise.
		panic(fmt.Sprintf("clock: reading CLOCK_BOOTTIME: %v", err))
	}
	return time.Duration(ts.Nano())
}

// NewAlarm returns an alarm that goes off by Boot.
func NewAlarm() Alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		// A sandbox without timerfd: the alarm may then be late after a
		// suspension, by no more than it was ahead before.
		return NewTimerAlarm(Boot)
	}
	a := &bootAlarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd"), c: make(chan struct{}, 1)}
	go a.run()
	return a
}

// bootAlarm is a timerfd. The file is only read and closed: asking it for its
// descriptor would make reads block a thread.
type bootAlarm struct {
	fd   int
	file *os.File
	c    chan struct{}
}

func (a *bootAlarm) C() <-chan struct{} { return a.c }

func (a *bootAlarm) Set(at time.Duration) {
	spec := unix.ItimerSpec{}
	if at > 0 {
		spec.Value = unix.NsecToTimespec(int64(at))
	}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic(fmt.Sprintf("clock: setting an alarm for %v: %v", at, err))
	}
}

// Close ends run as well: the read returns.
func (a *bootAlarm) Close() { a.file.Close() }

func (a *bootAlarm) run() {
	var expirations [8]byte
	for {
		if _, err := a.file.Read(expirations[:]); err != nil {
			return
		}
		select {
		case a.c <- struct{}{}:
		default:
		}
	}
}
