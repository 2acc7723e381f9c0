package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// alike is the least likeness (Jaro-Winkler, 1 is the same) of a word that may
// have been meant: one letter wrong in a short word is about 0.87.
const alike = 0.86

// didYouMean is the end of a sentence about an unknown word: the known word that
// is most like it, or nothing.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return "; did you mean " + best + "?"
	}
	return ""
}

func nearest(word string, known []string) string {
	best, likeness := "", alike
	for _, k := range known {
		if l := smetrics.JaroWinkler(word, k, 0.7, 4); l > likeness {
			best, likeness = k, l
		}
	}
	return best
}

// settingNames are the names and aliases of all settings.
func settingNames() []string {
	var all []string
	for _, s := range settings {
		all = append(all, s.name)
		if s.alias != "" {
			all = append(all, s.alias)
		}
	}
	return all
}

// flagNames are the flags that a command takes, each with its dashes. Before a
// command those of every command may stand.
func flagNames(c *cli.Context) []string {
	flags := slices.Clone(c.App.Flags)
	if c.Command != nil && c.Command.Name != c.App.Name {
		flags = c.Command.Flags
	} else {
		for _, command := range c.App.Commands {
			flags = append(flags, command.Flags...)
		}
	}
	var all []string
	for _, f := range flags {
		for _, name := range f.Names() {
			all = append(all, "--"+name)
		}
	}
	return all
}

// clientCommandWith is the first of the commands that ask or tell a running agent which takes
// a flag of this name; "": none does.
func clientCommandWith(flag string) string {
	for _, c := range clientCommands(nil) {
		if slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), flag) }) {
			return c.Name
		}
	}
	return ""
}

// clientVariables are the environment variables that these commands read.
func clientVariables() (all []string) {
	for _, c := range clientCommands(nil) {
		for _, f := range c.Flags {
			if d, ok := f.(cli.DocGenerationFlag); ok {
				all = append(all, d.GetEnvVars()...)
			}
		}
	}
	return all
}

// commandNames are the commands that help shows.
func commandNames(app *cli.App) []string {
	var all []string
	for _, c := range app.Commands {
		if !c.Hidden {
			all = append(all, c.Name)
		}
	}
	return all
}

// misspelt says which variables of the environment look like one of a setting
// and are none. Others that begin with DOYEN_ are no fault: hooks get some, and
// an orchestrator may make some for a service called doyen.
func misspelt(environ []string) []string {
	known := clientVariables()
	for _, s := range settings {
		known = append(known, s.envs()...)
	}
	var all []string
	given := func(name string) bool {
		return slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") && e != name+"=" })
	}
	// The agent gives its programs a DOYEN_RUN, beside others.
	if given("DOYEN_RUN") && !given("DOYEN_NODE") {
		all = append(all, "DOYEN_RUN has no effect: the command to run follows a --, or is run: in the file")
	}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "DOYEN_") || slices.Contains(known, name) || slices.Contains(hookVariables, name) {
			continue
		}
		// The common beginning says nothing of how alike the rest is.
		rest := make([]string, len(known))
		for i, k := range known {
			rest[i] = strings.TrimPrefix(k, "DOYEN_")
		}
		if best := nearest(strings.TrimPrefix(name, "DOYEN_"), rest); best != "" {
			all = append(all, fmt.Sprintf("%s is no setting; did you mean DOYEN_%s?", name, best))
		}
	}
	return all
}

// hookVariables are set for hooks and health checks, which may run this program.
var hookVariables = strings.Fields(`DOYEN_EVENT DOYEN_TERM DOYEN_NODE DOYEN_ADDR DOYEN_API DOYEN_LEADER DOYEN_LEADER_ADDR DOYEN_PREVIOUS_LEADER
	DOYEN_REASON DOYEN_RULE DOYEN_CLUSTER DOYEN_DEADLINE_MS DOYEN_RUN DOYEN_ELECTION`)
