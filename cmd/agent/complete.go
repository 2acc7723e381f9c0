package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// completing is the last argument with which the completion scripts ask what may
// follow the others.
const completing = "--generate-bash-completion"

// askTime is how long completion waits for the agent of this host, whose members
// it offers: somebody is waiting at a keyboard.
const askTime = 300 * time.Millisecond

// words are the values that a flag is known to take.
var words = map[string][]string{
	"rule":       {"seniority", "bully"},
	"role":       {"candidate", "witness", "observer"},
	"profile":    {"edge", "fast", "lan", "wan"},
	"keeper":     {agent.On, agent.Off},
	"store":      {agent.On, agent.Off},
	"http":       {agent.Off},
	"voters":     {agent.VotersSeeds},
	"log-level":  {"debug", "info", "warn", "error"},
	"log-format": {logText, logJSON},
}

// completeValue prints what may follow if that is the value of a flag, or the
// shell of the command completion; done tells whether it is. Nothing printed has
// the shell offer files.
func completeValue(ctx context.Context, app *cli.App, args []string, w io.Writer) (done bool) {
	if len(args) < 3 || args[len(args)-1] != completing {
		return false
	}
	// What follows -- is a command of another program. To go on would run it.
	if slices.Contains(args[1:len(args)-1], "--") {
		return true
	}
	last := args[len(args)-2]
	if last == "=" { // bash takes --flag= apart
		last = args[max(len(args)-3, 0)]
	}
	var values []string
	name := flagName(last)
	switch {
	case last == "completion":
		values = []string{"bash", "zsh", "fish"}
	case !strings.HasPrefix(last, "--") || strings.Contains(last, "=") || !takesValue(app, name):
		return false
	case name == "addr":
		values = members(ctx, func(m agent.MemberInfo) string { return m.Addr })
	case name == "to":
		values = members(ctx, func(m agent.MemberInfo) string { return m.Name })
	case name == "election":
		values = electionNames(ctx)
	case name == "bind-addr", name == "bind-interface":
		values = interfaces()
	default:
		values = words[name]
	}
	for _, v := range values {
		fmt.Fprintln(w, v)
	}
	return true
}

// members is one word for each member that the agent of this host knows.
func members(ctx context.Context, word func(agent.MemberInfo) string) []string {
	var known []agent.MemberInfo
	askHere(ctx, "/members", &known)
	var found []string
	for _, m := range known {
		found = append(found, clean(word(m)))
	}
	return found
}

// electionNames are the elections that the agent of this host knows.
func electionNames(ctx context.Context) []string {
	var known map[string]json.RawMessage
	askHere(ctx, "/elections", &known)
	return slices.Sorted(maps.Keys(known))
}

// askHere asks the agent of this host; without an answer it changes nothing.
func askHere(ctx context.Context, path string, into any) {
	addr, err := clientAddr(os.Getenv(envName("addr")))
	if err != nil {
		return
	}
	c := &client{addr: addr, timeout: askTime}
	if a, err := c.get(ctx, path, http.StatusOK); err == nil {
		_ = a.decode(into) // what is no JSON offers nothing
	}
}

func interfaces() []string {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// fishValues are lines of fish's completion for the values that flags take.
func fishValues() string {
	var names []string
	for name := range words {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "complete -c agent -l %s -x -a '%s'\n", name, strings.Join(words[name], " "))
	}
	b.WriteString("complete -c agent -n '__fish_seen_subcommand_from completion' -x -a 'bash zsh fish'\n")
	return b.String()
}
