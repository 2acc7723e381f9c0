package history

import (
	"testing"
	"time"

	"doyen/seniority"
)

// Claims arrive late, and in any order: the earliest beginning counts.
func TestTrackTakesTheEarliestBeginning(t *testing.T) {
	var track Track
	claim := seniority.Message{Kind: seniority.Claim, Stand: seniority.Leading, From: "a", Incarnation: 1, Term: 7}
	for _, c := range []struct{ at, held time.Duration }{{100, 10}, {120, 40}, {130, 20}} {
		claim.Held = c.held * time.Second
		track.Hear(&claim, seniority.Now{Boot: c.at * time.Second, Wall: int64(c.at) * 1000})
	}
	now := seniority.Now{Boot: 130 * time.Second, Wall: 130_000}
	track.Follow(now, &seniority.Status{}, []seniority.Note{{Kind: seniority.LeaderChanged, Peer: "a", Term: 7}})
	if want := time.UnixMilli(80_000); !track.Since().Equal(want) {
		t.Errorf("beginning: want %v, got %v", want, track.Since())
	}
	if want := now.Boot; track.HeardAt("a") != want || track.SilentSince("a") != want {
		t.Errorf("last heard: want %v, got %v and %v", want, track.HeardAt("a"), track.SilentSince("a"))
	}
}

// After a hand-over there is nothing to detect: the leader has said that it stops.
func TestTrackMeasuresDetection(t *testing.T) {
	for _, test := range []struct {
		handsOver bool
		want      time.Duration
	}{{false, 3 * time.Second}, {true, 0}} {
		var track Track
		claim := seniority.Message{Kind: seniority.Claim, Stand: seniority.Leading, From: "a", Incarnation: 1, Term: 7}
		track.Hear(&claim, seniority.Now{Boot: 10 * time.Second})
		track.Follow(seniority.Now{Boot: 10 * time.Second}, &seniority.Status{}, []seniority.Note{{Kind: seniority.LeaderChanged, Peer: "a", Term: 7}})
		if test.handsOver {
			claim.Stand = seniority.Leaving
			track.Hear(&claim, seniority.Now{Boot: 10 * time.Second})
		}
		track.Follow(seniority.Now{Boot: 13 * time.Second}, &seniority.Status{}, []seniority.Note{{Kind: seniority.Claimed, Term: 8}})
		track.Follow(seniority.Now{Boot: 14 * time.Second}, &seniority.Status{}, []seniority.Note{{Kind: seniority.Won, Term: 8}})
		if track.Detection != test.want || track.Confirm != time.Second {
			t.Errorf("hands over %v: want %v and 1s, got %v and %v", test.handsOver, test.want, track.Detection, track.Confirm)
		}
	}
}
