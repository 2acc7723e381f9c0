package keeper

import (
	"sync"
	"time"

	"doyen/agent/clock"
)

// alarms lets the executors of a keeper share one alarm, so that an election
// costs no timer of its own.
type alarms struct {
	now func() time.Duration

	mu    sync.Mutex
	alarm clock.Alarm // nil: it is closed
	due   map[*sharedAlarm]time.Duration
	set   time.Duration // what the alarm is set to
}

func newAlarms(now func() time.Duration, alarm func(ring func()) clock.Alarm) *alarms {
	a := &alarms{now: now, due: map[*sharedAlarm]time.Duration{}}
	a.mu.Lock() // it may ring at once
	defer a.mu.Unlock()
	a.alarm = alarm(a.ring)
	return a
}

// close ends all alarms.
func (a *alarms) close() {
	a.mu.Lock()
	alarm := a.alarm
	a.alarm = nil
	a.mu.Unlock() // Close waits for a ring under way
	alarm.Close()
}

// ring wakes those whose time has come.
func (a *alarms) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alarm == nil {
		return
	}
	now := a.now()
	for s, at := range a.due {
		if at <= now {
			delete(a.due, s)
			select {
			case s.c <- struct{}{}:
			default:
			}
		}
	}
	a.set = 0
	a.reset()
}

// reset sets the alarm to the earliest time. The caller holds mu.
func (a *alarms) reset() {
	first := time.Duration(0)
	for _, at := range a.due {
		if first == 0 || at < first {
			first = at
		}
	}
	if first != a.set {
		a.set = first
		a.alarm.Set(first)
	}
}

// sharedAlarm is the alarm of one executor.
type sharedAlarm struct {
	of *alarms
	c  chan struct{}
}

func (a *alarms) newAlarm() clock.Alarm { return &sharedAlarm{a, make(chan struct{}, 1)} }

func (s *sharedAlarm) C() <-chan struct{} { return s.c }

func (s *sharedAlarm) Set(at time.Duration) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if at > 0 {
		s.of.due[s] = at
	} else {
		delete(s.of.due, s)
	}
	s.of.reset()
}

func (s *sharedAlarm) Close() { s.Set(0) }
