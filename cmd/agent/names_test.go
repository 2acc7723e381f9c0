package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Host names are the same in upper and lower case, and with or without a final dot;
// a seed given by its address is the voter that is advertised by a name.
func TestVotersWrittenDifferently(t *testing.T) {
	t.Parallel()
	for what, written := range map[string][3]string{
		"names":     {"localhost:", "LocalHost:", "localhost.:"},
		"addresses": {"127.0.0.1:", "127.0.0.1:", "127.0.0.1:"},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGroup(t, 3)
			for i, n := range g.nodes {
				seeds := strings.ReplaceAll(strings.Join(g.names(), ","), "localhost:", written[i])
				n.args[slices.Index(n.args, "--seeds")+1] = seeds
				n.start("--voters", "seeds")
			}
			g.eventually(func() error {
				var d diagAnswer
				if !g.nodes[0].get("/diag", &d) || d.Verdict.Status != "agreed" || len(d.Verdict.Findings) > 0 || len(d.MemberStates) != 3 {
					return fmt.Errorf("want the verdict agreed and no findings, got %+v", d.Verdict)
				}
				return nil
			})
		})
	}
}
