package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsAfterCommand moves flags that only a command takes, and that stand before
// it, behind it: 'agent --addr HOST leader' is 'agent leader --addr HOST'.
func flagsAfterCommand(app *cli.App, args []string) []string {
	var before, moved []string
	rest := args[min(1, len(args)):]
	groups := [][]string{} // a flag, with its value if that is an argument of its own
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") && rest[0] != "-" && rest[0] != "--" {
		n := 1
		if !strings.Contains(rest[0], "=") && takesValue(app, flagName(rest[0])) {
			n = min(2, len(rest))
		}
		groups, rest = append(groups, rest[:n]), rest[n:]
	}
	if len(rest) == 0 {
		return args
	}
	i := slices.IndexFunc(app.Commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
	if i < 0 || isSetting(app.Commands[i]) {
		return args
	}
	for _, g := range groups {
		if hasFlag(app.Commands[i].Flags, flagName(g[0])) {
			moved = append(moved, g...)
		} else {
			before = append(before, g...)
		}
	}
	return slices.Concat(args[:1], before, rest[:1], moved, rest[1:])
}

// flagsBeforeArguments moves the flags of a command that takes arguments before these,
// so that they may stand anywhere before a --. What follows the -- of a command that
// runs another is its own.
func flagsBeforeArguments(app *cli.App, args []string) []string {
	at := commandAt(app, args)
	if at == len(args) || args[len(args)-1] == completing {
		return args
	}
	command := app.Command(args[at])
	if command == nil || command.ArgsUsage == "" || command.Name == "exec" {
		return args
	}
	var flags, rest []string
	for i := at + 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case !isFlag(command, arg, len(rest)):
			rest = append(rest, arg)
		case strings.Contains(arg, "=") || !takesValue(app, flagName(arg)):
			flags = append(flags, arg)
		case i+1 == len(args): // its value is missing, and must not be taken from the others
			return slices.Concat(args[:at+1], flags, []string{arg})
		default:
			flags = append(flags, arg, args[i+1])
			i++
		}
	}
	if slices.ContainsFunc(flags, asksForHelp) {
		return append(slices.Clip(args[:at+1]), "--help") // cli takes an argument beside it as the name of a command
	}
	return slices.Concat(args[:at+1], flags, []string{"--"}, rest)
}

// isFlag reports whether an argument that follows so many others of the command is a
// flag. A value for the store may begin with a dash.
func isFlag(command *cli.Command, arg string, others int) bool {
	name := flagName(arg)
	if !strings.HasPrefix(arg, "-") || arg == "-" {
		return false
	}
	return command.Name != "store" || others < 2 || hasFlag(command.Flags, name) || asksForHelp(arg)
}

func asksForHelp(arg string) bool {
	name := flagName(arg)
	return name == "help" || name == "h"
}

// commandAt is where in the arguments the command stands; their number if there is none.
func commandAt(app *cli.App, args []string) int {
	i := 1
	for ; i < len(args) && strings.HasPrefix(args[i], "-") && args[i] != "-" && args[i] != "--"; i++ {
		if !strings.Contains(args[i], "=") && takesValue(app, flagName(args[i])) {
			i++
		}
	}
	return min(i, len(args))
}

// splitCommand takes what follows a -- off the arguments of the agent itself: the
// command that it runs while it leads. Commands that ask an agent keep theirs.
func splitCommand(app *cli.App, args []string) (rest, command []string, err error) {
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--" && i == len(args)-1:
			return args, nil, cli.Exit("-- is to be followed by the command to run while this member leads", exitUsage)
		case arg == "--":
			return args[:i], args[i+1:], nil
		case strings.HasPrefix(arg, "-") && arg != "-":
			if !strings.Contains(arg, "=") && takesValue(app, flagName(arg)) {
				i++
			}
		case !slices.ContainsFunc(app.Commands, func(c *cli.Command) bool { return c.HasName(arg) && isSetting(c) }):
			return args, nil, nil
		}
	}
	return args, nil, nil
}

// isSetting reports whether the command takes the settings of the agent, as the
// program itself does: they may stand before it as they are.
func isSetting(c *cli.Command) bool { return hasFlag(c.Flags, "config") }

func flagName(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name
}

func hasFlag(flags []cli.Flag, name string) bool { return findFlag(flags, name) != nil }

func findFlag(flags []cli.Flag, name string) cli.Flag {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

// takesValue reports whether the flag of that name, of the program or of any
// command, is followed by a value.
func takesValue(app *cli.App, name string) bool {
	f := findFlag(app.Flags, name)
	for _, c := range app.Commands {
		if f == nil {
			f = findFlag(c.Flags, name)
		}
	}
	switch f := f.(type) {
	case nil, *cli.BoolFlag:
		return false
	case *cli.GenericFlag:
		v, ok := f.Value.(*flagValue)
		return !ok || !v.bool
	}
	return true
}
