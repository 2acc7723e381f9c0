package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBootRises(t *testing.T) {
	last := Boot()
	if last <= 0 {
		t.Fatalf("boot time is %v, want it positive", last)
	}
	for range 1000 {
		now := Boot()
		if now < last {
			t.Fatalf("boot time went back from %v to %v", last, now)
		}
		last = now
	}
}

func TestAlarmNeverWakesEarly(t *testing.T) {
	a := NewAlarm()
	defer a.Close()
	due := Boot() + 20*time.Millisecond
	a.Set(due + time.Hour)
	a.Set(due)
	await(t, a)
	if now := Boot(); now < due {
		t.Fatalf("woken at %v, before %v", now, due)
	}
}

func TestAlarmInThePastWakesAtOnce(t *testing.T) {
	a := NewAlarm()
	defer a.Close()
	a.Set(1)
	await(t, a)
}

func TestAlarmFuncIsCalled(t *testing.T) {
	for name, newAlarm := range map[string]func(func()) Alarm{
		"boot":  NewAlarmFunc,
		"timer": func(ring func()) Alarm { return NewTimerAlarmFunc(Boot, ring) },
	} {
		rung := make(chan time.Duration, 1)
		a := newAlarm(func() { rung <- Boot() })
		for range 3 {
			due := Boot() + time.Millisecond
			a.Set(due)
			select {
			case at := <-rung:
				if at < due {
					t.Errorf("%s: rung at %v, before %v", name, at, due)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: the alarm did not go off", name)
			}
		}
		a.Close()
	}
}

func TestAlarmOffNeverWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := NewTimerAlarm(func() time.Duration { return time.Since(began) + 1 })
		defer a.Close()
		a.Set(time.Second)
		a.Set(0)
		time.Sleep(time.Hour)
		select {
		case <-a.C():
			t.Fatal("an alarm that is off went off")
		default:
		}
		a.Set(time.Since(began) + time.Second)
		<-a.C()
	})
}

func await(t *testing.T, a Alarm) {
	t.Helper()
	select {
	case <-a.C():
	case <-time.After(time.Minute):
		t.Fatal("the alarm did not go off")
	}
}
