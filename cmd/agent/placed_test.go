package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// placedLimit is how long a placement at a member that may not lead the election any more
// may be named: far longer than gossip needs, and far shorter than promises last.
const placedLimit = 5 * time.Second

// TestPlacedFollowsAReload takes an election from the settings of the member that leads
// it, or makes that member no candidate of it: no member names it for long as the one that
// the election is placed at.
func TestPlacedFollowsAReload(t *testing.T) {
	t.Parallel()
	const web, none = "elections: {web: {}}\n", "placement: spread\n"
	for _, test := range []struct {
		name          string
		before, after []string // by member; the first is the doyen
	}{
		{"the only election, named by the doyen", []string{web, none, none}, []string{none, none, none}},
		{"the only election, named by another", []string{none, web, none}, []string{none, none, none}},
		{"the only election, named by all", []string{web, web, web}, []string{none, none, none}},
		{"one of two", []string{"elections: {web: {}, mail: {}}\n", none, none}, []string{"elections: {mail: {}}\n", none, none}},
		{"one of two, on another", []string{"elections: {mail: {}}\n", web, none}, []string{"elections: {mail: {}}\n", none, none}},
		{"named by others still", []string{web, web, web}, []string{none, web, web}},
		{"named by one other still", []string{web, web, none}, []string{none, web, none}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, 3)
			file := func(i int, text string) string { return g.secretFile(fmt.Sprintf("%d.yaml", i), text) }
			for i, n := range g.nodes {
				n.args = append(n.args, "--config", file(i, test.before[i]))
			}
			g.start(patient...)
			placed := func(n *node) string {
				all, err := n.elections()
				if e, ok := all["web"]; err == nil && ok && e.Placed != nil {
					return *e.Placed
				}
				return ""
			}
			g.eventually(func() error {
				for _, n := range g.nodes {
					if all, err := n.elections(); err != nil || all["web"].Leader == nil || placed(n) != *all["web"].Leader {
						return fmt.Errorf("%s: web is not led where it is placed: %+v, %v", n.name, all["web"], err)
					}
				}
				return nil
			})
			may := []string{""}
			for i, n := range g.nodes {
				file(i, test.after[i])
				if test.after[i] == web {
					may = append(may, n.name)
				}
			}
			for i, n := range g.nodes {
				if test.after[i] != test.before[i] {
					n.reload("read the log level again")
				}
			}
			began := time.Now()
			g.eventually(func() error {
				for _, n := range g.nodes {
					if got := placed(n); !slices.Contains(may, got) || len(may) > 1 && got == "" {
						return fmt.Errorf("%s: web is placed at %q, want one of %q", n.name, got, may)
					}
				}
				return nil
			})
			if took := time.Since(began); took > placedLimit {
				t.Errorf("web was placed at a member that may not lead it for %v", took)
			} else {
				t.Logf("placed anew after %v", took)
			}
		})
	}
}
