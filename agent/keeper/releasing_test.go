//go:build linux

package keeper

import (
	"testing"
	"time"

	"doyen/agent/clock"
)

// Where another node may lead at a known time, a try is killed early enough to be dead
// by then.
func TestTimeThatAReleaseHas(t *testing.T) {
	const now = 100 * time.Second
	e := &executor{
		node: &node{cfg: Config{Quorum: true}}, cfg: Election{HookTimeout: 30 * time.Second},
		leadership: &leadership{term: 1, over: true}, release: &release{until: now + 30*time.Second},
	}
	for _, test := range []struct {
		name      string
		by, until time.Duration
		late      bool
		want      time.Duration
	}{
		{"unplanned", now + time.Second, 0, false, now + time.Second - killMargin},
		{"planned", now + time.Hour, now + 10*time.Second, false, now + 10*time.Second},
		{"planned, and not renewed", now + time.Second, now + 10*time.Second, false, now + time.Second - killMargin},
		{"late", now - time.Second, 0, true, now + 30*time.Second},
	} {
		e.order, e.release.late = Order{ReleaseTerm: 1, ReleaseBy: test.by, ReleaseUntil: test.until}, test.late
		if got := e.releaseLimit(); got != test.want {
			t.Errorf("%s: want %v, got %v", test.name, test.want-now, got-now)
		}
	}
}

// A release that is late goes on until this node leads again: then the new acquire must
// not wait for it.
func TestLateReleaseGivesWayToANewLeadership(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT$DOYEN_TERM = release1 ] || exit 0
sleep 1000`)
	s.cfg.Quorum, s.election().ReleaseBudget, s.election().HookTimeout = true, time.Minute, limit/3
	r := s.start(inProcess)
	r.lead(1)
	r.ended("acquire")
	r.stepDown(1, clock.Boot()+400*ms)
	r.until("the failure", func(r Report) bool { return r.Released == 1 && r.ReleaseFailed })
	r.until("the start of the late try", func(r Report) bool { return r.Event == "release" && r.Running })
	r.lead(2)
	if rep := r.ended("release"); !rep.Overtaken {
		t.Errorf("want the late try overtaken, got %+v", rep)
	}
	if rep := r.ended("acquire"); rep.Term != 2 || !rep.Held {
		t.Errorf("want term 2 held, got %+v", rep)
	}
}

// What acquire has left running dies before the release from outside.
func TestReleaseNowEndsWhatAcquireLeft(t *testing.T) {
	s := newStage(t, daemons)
	left := s.leftByTheDead()
	if err := ReleaseNow(t.Context(), s.cfg, Tools{}); err != nil {
		t.Error(err)
	}
	s.wantLeft(left, false, "after the release")
}
