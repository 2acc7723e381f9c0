package main

import (
	"errors"
	"strings"
	"testing"
)

// A member whose only seed is mistyped leads alone, as it should; it must say
// why it is alone before it does, in the log and in the diagnosis, and that it
// is over once the seed answers.
func TestMistypedSeedIsReportedBeforeItsMemberLeadsAlone(t *testing.T) {
	t.Parallel()
	for name, seed := range map[string]string{"no such name": "no-such-host.invalid", "no agent there": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, 2)
			a, b := g.nodes[0], g.nodes[1]
			if seed == "" {
				seed = b.name
			}
			a.args = append(a.args[:len(a.args)-1], seed)
			a.start()
			g.checkLeader(a, a)
			var lines []string
			if !poll(func() bool {
				lines = a.lines(0)
				return tells(lines, []string{`level=WARN msg=finding what=seed-unreached about=` + seed + ` evidence=`, `this member leads`})
			}) {
				t.Errorf("the log does not say before the member leads why it is alone:\n%s", strings.Join(lines, "\n"))
			}
			var d diagAnswer
			if !a.get("/diag", &d) || d.Verdict.Status != "degraded" || len(d.Verdict.Findings) == 0 || d.Verdict.Findings[0].Member != seed {
				t.Errorf("want a diagnosis that names the seed, got %+v", d.Verdict)
			}
			if seed != b.name {
				return
			}
			b.start()
			g.eventually(func() error { return expectMembers(a, 2) })
			g.eventually(func() error {
				if !tells(a.lines(0), []string{`level=INFO msg="finding is over" what=seed-unreached about=` + seed}) {
					return errors.New("the log does not say that the seed has been reached")
				}
				return nil
			})
		})
	}
}
