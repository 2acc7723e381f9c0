package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/seniority"
)

// A member whose wall clock is a year off joins and ranks last: the lead is not
// taken from anybody, in no mode and by no rule. What it says of its clock is
// what /diag compares. When it alone is left it leads, with any clock.
func TestAClockAYearOffTakesNothing(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, off := range []time.Duration{year, -year} {
		for _, voters := range [][]string{nil, {"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000", "10.0.0.4:4000"}} {
			t.Run(fmt.Sprintf("%v off, %d voters", off, len(voters)), func(t *testing.T) {
				inGroup(t, func(t *testing.T, g *group) {
					a, b, c := g.three(func(c *Config, _ *fakeExecutor) { c.Voters = voters })
					odd := g.add(func(c *Config, _ *fakeExecutor) {
						c.Name, c.Voters = "odd", voters
						c.seams.now = func() seniority.Now {
							now := g.now()
							now.Wall += off.Milliseconds()
							return now
						}
					})
					g.await(10*time.Second, "odd follows m0", func() bool { return odd.follows("m0") && len(odd.Members()) == 4 })
					term := a.Status().Term
					for range 600 {
						time.Sleep(100 * time.Millisecond)
						if !a.IsLeader() || a.Status().Term != term || !b.follows("m0") || !c.follows("m0") || !odd.follows("m0") {
							t.Fatalf("want m0 to go on leading term %d, got %+v, and odd sees %+v", term, a.Status(), odd.Status())
						}
					}
					line := a.Members()
					if last := line[len(line)-1]; last.Name != "odd" || last.Rank != 4 {
						t.Errorf("want odd last in the line of succession, got %+v", line)
					}
					if got := odd.State().WallTime - a.State().WallTime; got != off.Seconds() {
						t.Errorf("want its clock told as it is, %v off, got %v s", off, got)
					}
					// Failing over still goes by the line.
					g.crash(a)
					g.await(20*time.Second, "m1 leads", func() bool { return b.IsLeader() && c.follows("m1") && odd.follows("m1") })
				})
			})
		}
	}
}

// A clock beyond the year 2255, where terms end, is named. In available mode the
// members lead all the same; in quorum mode, where a term must not have two
// leaders, none does that has heard of no term.
func TestAClockBeyondAllTermsIsNamed(t *testing.T) {
	for _, voters := range [][]string{nil, {"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}} {
		t.Run(fmt.Sprintf("%d voters", len(voters)), func(t *testing.T) {
			inGroup(t, func(t *testing.T, g *group) {
				g.back.Store(-280 * 365 * 24 * int64(time.Hour))
				for range 3 {
					g.add(func(c *Config, _ *fakeExecutor) { c.Voters = voters })
					time.Sleep(time.Millisecond)
				}
				time.Sleep(20 * time.Second)
				for _, m := range g.members {
					if m.follows("m0") != (voters == nil) || m.follows("") != (voters != nil) {
						t.Errorf("%s: got the leadership %+v", m.Name(), m.Status())
					}
					const want = "the wall clock of this member shows the year 22"
					if r := m.Ready(); r.Ready != (voters == nil) || !strings.Contains(strings.Join(r.Reasons, "; "), want) {
						t.Errorf("%s: want /ready to say %q, got %+v", m.Name(), want, r)
					}
					if !slices.ContainsFunc(m.State().Findings, func(f Finding) bool {
						return f.What == "clock-beyond" && strings.HasPrefix(f.Evidence, want)
					}) {
						t.Errorf("%s: want a finding, got %+v", m.Name(), m.State().Findings)
					}
				}
				g.back.Store(0)
				g.await(20*time.Second, "m0 leads, and nothing is said of clocks that are right", func() bool {
					return g.members[0].IsLeader() && len(g.members[0].State().Findings) == 0
				})
			})
		})
	}
}
