package seniority

import "testing"

func TestNextTerm(t *testing.T) {
	const wall = 1_770_000_000_000
	for _, tc := range []struct {
		what        string
		known       uint64
		wall        int64
		place, want uint64
	}{
		{"the clock proposes", 5, wall, 7, wall*1000 + 7},
		{"what is known counts more than a clock behind", wall*1000 + 999, wall - 50, 7, (wall+1)*1000 + 7},
		{"a clock before 1970", 12_000, -5, 3, 13_003},
		{"never the term known", wall * 1000, wall, 0, (wall + 1) * 1000},
		{"places are three digits", 0, wall, 1002, wall*1000 + 2},
		{"the last terms are not passed", maxTerm - 1, wall, 1, 0},
		{"the last millisecond of terms", 5, maxTerm/places - 1, 7, maxTerm/places*places - places + 7},
		{"a clock that has passed it", 5, maxTerm / places, 7, places + 7},
		{"a clock in the year 2286", wall * 1000, 10_000_000_000_000, 7, (wall+1)*1000 + 7},
	} {
		if got := nextTerm(tc.known, tc.wall, tc.place); got != tc.want {
			t.Errorf("%s: nextTerm = %d, want %d", tc.what, got, tc.want)
		}
	}
}

func TestTooFarAhead(t *testing.T) {
	const wall, day = 1_770_000_000_000, 24 * 3600 * 1000
	for _, tc := range []struct {
		what  string
		term  uint64
		known uint64
		wall  int64
		want  bool
	}{
		{"less than a day ahead of the clock", (wall + day - 1) * 1000, 0, wall, false},
		{"more than a day", (wall + day + 1) * 1000, 0, wall, true},
		{"ahead of the clock but not of what has led", (wall + day + 1) * 1000, wall * 1000, 0, true},
		{"a day from what has led, clock at 1970", (wall + day - 1) * 1000, wall * 1000, 0, false},
		{"beyond all terms", maxTerm + 1, maxTerm, wall, true},
	} {
		if got := tooFarAhead(tc.term, tc.known, tc.wall); got != tc.want {
			t.Errorf("%s: tooFarAhead = %v, want %v", tc.what, got, tc.want)
		}
	}
}
