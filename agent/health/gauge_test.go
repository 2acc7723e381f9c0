package health

import "testing"

func TestRiseAndFall(t *testing.T) {
	for _, test := range []struct {
		rise, fall    int
		results, want string // . is a success, x a failure; + is healthy, - sick
	}{
		{2, 3, "......", "++++++"},
		{2, 3, "x", "-"}, // the first result counts at once
		{2, 3, "x.", "--"},
		{2, 3, "x..", "--+"},
		{2, 3, "x.x.x..", "------+"},
		{2, 3, ".xx.xx.xx.", "++++++++++"},
		{2, 3, ".xxx", "+++-"},
		{2, 3, ".xxx.x..", "+++----+"},
		{2, 3, "..xxx..xxx..", "++++--+++--+"},
		{2, 3, ".xxxxx..", "+++----+"},
		{1, 1, "x.x.", "-+-+"},
		{1, 2, ".x.xx.", "++++-+"},
		{3, 1, ".x...x", "+---+-"},
	} {
		g := gauge{rise: test.rise, fall: test.fall}
		got := ""
		for _, r := range test.results {
			g.add(r == '.')
			got += map[bool]string{true: "+", false: "-"}[g.healthy]
		}
		if got != test.want {
			t.Errorf("rise %d, fall %d, %s: want %s, got %s", test.rise, test.fall, test.results, test.want, got)
		}
	}
}
