package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestPlacedFollowsAReload takes an election from the settings of the member that leads
// it: no member names it as the one that the election is placed at for as long as promises
// last, after which an election that no settings name is forgotten.
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
			// placed is where a member says that web is placed, and known that it lists web.
			placed := func(n *node) (at string, known bool) {
				all, err := n.elections()
				if err != nil {
					t.Error(err)
				}
				e, known := all["web"]
				if e.Placed != nil {
					at = *e.Placed
				}
				return at, known
			}
			g.eventually(func() error {
				for _, n := range g.nodes {
					all, err := n.elections()
					if e := all["web"]; err != nil || e.Leader == nil || e.Placed == nil || *e.Placed != *e.Leader {
						return fmt.Errorf("%s: web is not led where it is placed: %+v, %v", n.name, e, err)
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
			done := map[*node]bool{}
			g.eventually(func() error {
				for _, n := range g.nodes {
					at, known := placed(n)
					done[n] = done[n] || known && slices.Contains(may, at) && (len(may) == 1 || at != "")
					if !done[n] && !known {
						t.Fatalf("%s forgot web, and had it placed where none may lead it until then, for %v", n.name, time.Since(began))
					}
					if !done[n] {
						return fmt.Errorf("%s: web is placed at %q, want one of %q", n.name, at, may)
					}
				}
				return nil
			})
			t.Logf("placed anew after %v", time.Since(began))
		})
	}
}
