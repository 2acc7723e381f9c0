package keeper

import (
	"testing"
	"time"

	"doyen/agent/clock"
)

// The executors' alarms go off, each at its time, and end while one may be going off.
func TestAlarms(t *testing.T) {
	a := newAlarms(clock.Boot, clock.NewAlarmFunc)
	first, second := a.newAlarm(), a.newAlarm()
	began := clock.Boot()
	second.Set(began + 2*time.Millisecond)
	first.Set(began + time.Millisecond)
	for i, s := range []clock.Alarm{first, second} {
		select {
		case <-s.C():
		case <-time.After(time.Minute):
			t.Fatal("an alarm did not go off")
		}
		if due := began + time.Duration(i+1)*time.Millisecond; clock.Boot() < due {
			t.Errorf("alarm %d has gone off before its time", i)
		}
	}
	first.Set(clock.Boot())
	first.Close()
	second.Close()
	a.close()
	a.ring() // one that was under way
}
