//go:build linux

package floatingip

import (
	"testing"
	"time"
)

// A leader renews several times a second; the lifetimes follow now and then.
func TestLifetimesFollowNowAndThen(t *testing.T) {
	now := time.Minute
	s := &Set{cfg: Config{Now: func() time.Duration { return now }}, held: true, gate: &gate{}}
	asked := func() bool { return s.mayAge() && s.beginAging() }
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {100 * time.Millisecond, false}, {lifetimeEvery - 101*time.Millisecond, false}, {time.Millisecond, true}, {time.Millisecond, false}, {time.Hour, true}} {
		if now += c.after; asked() != c.want {
			t.Errorf("at %v: want the lifetimes asked to follow: %v", now, c.want)
		}
	}
	s.gate = nil
	for range 2 {
		if !asked() {
			t.Error("without a gate, want the lifetimes to follow each renewal")
		}
	}
}
