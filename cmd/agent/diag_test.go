package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// In quorum mode as the README writes it, seeds without ports and the voters
// taken from them, a healthy group needs no hand. A voter that is cut off is
// reported once, and counted as one of three.
func TestDiagOfVotersWithoutPorts(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	l.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds")
	l.checkLeader(l.nodes[0], l.nodes...)
	diagnose := func(status string) diagAnswer {
		t.Helper()
		var d diagAnswer
		if !poll(func() bool { return l.nodes[0].get("/diag", &d) && d.Verdict.Status == status }) {
			t.Fatalf("want the verdict %s, got %+v", status, d.Verdict)
		}
		return d
	}
	// A busy machine may make agents late at the start, which is a finding for a while.
	l.eventually(func() error {
		if d := diagnose("agreed"); len(d.Verdict.Findings) != 0 {
			return fmt.Errorf("want no findings, got %+v", d.Verdict.Findings)
		}
		return nil
	})
	l.hosts[2].isolate(true)
	d := diagnose("degraded")
	var about []string
	for _, f := range d.Verdict.Findings {
		if strings.HasPrefix(f.Member, "10.88.0.3") {
			about = append(about, f.What)
		}
	}
	if want := []string{"no-answer"}; !slices.Equal(want, about) {
		t.Errorf("of the voter cut off want %q, got %q in %+v", want, about, d.Verdict.Findings)
	}
	// Once gossip has given it up it is still one member, and one voter.
	l.eventually(func() error { return expectMembers(l.nodes[0], 2) })
	if d := diagnose("degraded"); len(d.MemberStates) != 3 {
		t.Errorf("want the three voters, got %+v", d.MemberStates)
	}
}
