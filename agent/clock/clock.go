// Package clock is the one place that reads the time for an election.
//
// Elections count in boot time, CLOCK_BOOTTIME: it never jumps, no operator
// sets it, and unlike Go's own monotonic clock it counts the time that the
// machine was suspended. So a lease that ran out while a laptop slept has run
// out when it wakes. An [Alarm] goes off by the same clock: one that came due
// during a suspension goes off on resume, where a time.Timer would still wait
// for what was left.
//
// # Limits
//
// A hypervisor that stops the guest stops this clock too; nothing inside the
// guest can see that. Systems other than Linux get Go's monotonic clock, which
// on some of them stands still during sleep.
//
// Internal to Doyen: no promise.
package clock

import (
	"time"

	"doyen/seniority"
)

// Now reads both clocks that a core wants.
func Now() seniority.Now {
	return seniority.Now{Boot: Boot(), Wall: time.Now().UnixMilli()}
}

// Alarm wakes its owner at a boot time. Set and Close belong to one goroutine.
type Alarm interface {
	// C receives when the time has come. It may receive once more for a time
	// that has been replaced since, so the receiver looks at the clock.
	C() <-chan struct{}
	// Set replaces the time to wake at; one that has passed wakes at once, and
	// zero or less never.
	Set(at time.Duration)
	// Close lets go of what the alarm uses. It does not close C.
	Close()
}

// NewTimerAlarm returns an alarm for another clock than Boot, such as the clock of
// a test. It turns on a time.Timer.
func NewTimerAlarm(now func() time.Duration) Alarm {
	c := make(chan struct{}, 1)
	return newTimerAlarm(now, c, poke(c))
}

// NewTimerAlarmFunc does the same for NewAlarmFunc.
func NewTimerAlarmFunc(now func() time.Duration, ring func()) Alarm {
	return newTimerAlarm(now, nil, ring)
}

func newTimerAlarm(now func() time.Duration, c chan struct{}, ring func()) *timerAlarm {
	a := &timerAlarm{now: now, c: c, timer: time.AfterFunc(time.Hour, ring)}
	a.timer.Stop()
	return a
}

// poke returns what leaves an element in a channel of capacity one.
func poke(c chan struct{}) func() {
	return func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

type timerAlarm struct {
	now   func() time.Duration
	c     chan struct{}
	timer *time.Timer
}

func (a *timerAlarm) C() <-chan struct{} { return a.c }

func (a *timerAlarm) Set(at time.Duration) {
	if at <= 0 {
		a.timer.Stop()
		return
	}
	a.timer.Reset(max(at-a.now(), 0))
}

func (a *timerAlarm) Close() { a.timer.Stop() }
