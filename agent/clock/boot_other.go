//go:build !linux

package clock

import "time"

var start = time.Now()

// Boot is the time since this process was started, by Go's monotonic clock.
func Boot() time.Duration { return time.Since(start) + time.Nanosecond }

// NewAlarm returns an alarm that goes off by Boot.
func NewAlarm() Alarm { return NewTimerAlarm(Boot) }

// NewAlarmFunc returns an alarm that calls a function instead of sending to C, which is nil.
func NewAlarmFunc(ring func()) Alarm { return NewTimerAlarmFunc(Boot, ring) }
