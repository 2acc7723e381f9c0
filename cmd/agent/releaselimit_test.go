package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReleaseHasOneLimit hands over in quorum mode while the release hangs, or
// fails again and again: the hook is told the limit that is meant, and the next
// leader comes when that is over, even if the leader renews meanwhile.
func TestReleaseHasOneLimit(t *testing.T) {
	for name, last := range map[string]string{"hangs": "exec sleep 1000", "fails": "exit 1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 4 * time.Second
			g := newGroup(t, 3)
			told := filepath.Join(g.dir, "told")
			script := "#!/bin/sh\n[ $1 = release ] && [ $DOYEN_REASON != startup ] || exit 0\necho $DOYEN_DEADLINE_MS >>" + told + "\n" + last + "\n"
			if err := os.WriteFile(g.hook(), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			g.start("--voters", "seeds", "--hook", g.hook(), "--hook-timeout", limit.String())
			g.checkLeader(g.nodes[0], g.nodes...)
			began := time.Now()
			_, _, code := g.command("step-down", "--addr", g.nodes[0].name)
			if code != 0 {
				t.Errorf("step-down: got exit code %d", code)
			}
			g.checkLeader(g.nodes[1], g.nodes...)
			took := time.Since(began)
			if took < limit {
				t.Errorf("want the next leader once the release has had its %v, got it after %v", limit, took)
			}
			t.Logf("next leader %v after the call, with a limit of %v", took.Round(time.Millisecond), limit)
			lines, _ := os.ReadFile(told)
			first, _, _ := strings.Cut(string(lines), "\n")
			// What is left when the hook starts: a busy machine may take long to get there,
			// and the lease, a limit that would be wrong, is 1000 ms.
			if ms, err := strconv.Atoi(first); err != nil || ms < 1500 || ms > 4000 {
				t.Errorf("want the hook told at most 4000 ms and more than a lease, got %q", lines)
			}
			failed := false
			for _, f := range g.nodes[0].state().Findings {
				failed = failed || f.What == "hook-failed"
			}
			if !failed {
				t.Errorf("want a finding about the hook, got %+v", g.nodes[0].state().Findings)
			}
		})
	}
}
