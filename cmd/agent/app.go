package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"doyen/agent"
	"doyen/agent/journald"

	"github.com/urfave/cli/v2"
)

// The exit codes, of CONTRACT and of every command.
const (
	exitOK       = 0
	exitFailed   = 1 // could not ask, or could not be done
	exitNoLeader = 2
	exitDisagree = 3 // two leaders, or members that disagree
	exitUsage    = 2 // a bad flag or an unusable configuration
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &output{to: stdout}
	app, values := newApp(out, stderr)
	args, command, err := splitCommand(app, args)
	if err == nil {
		values["run"].values = command
	}
	if completeValue(ctx, app, args, out) {
		return exitOK
	}
	var unknown error
	app.CommandNotFound = func(c *cli.Context, name string) { // whose help is wanted; cli's own error exits with 3
		hint := cmp.Or(didYouMean(name, commandNames(c.App)), "; see 'agent help'")
		unknown = cli.Exit(fmt.Sprintf("unknown command %q%s", name, hint), exitUsage)
	}
	if err == nil {
		err = app.RunContext(ctx, flagsAfterCommand(app, flagsBeforeArguments(app, args)))
	}
	if err == nil {
		err = unknown
	}
	if failed := out.failure(); failed != nil && (err == nil || errors.Is(err, failed)) {
		err = fmt.Errorf("the output is not complete: %w", failed)
	}
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		priority := ""
		if journald.Takes(stderr) {
			priority = journald.Priority(slog.LevelError)
		}
		// A configuration with several faults has a line for each.
		for line := range strings.Lines(text) {
			fmt.Fprintf(stderr, "%sagent: %s\n", priority, strings.TrimSuffix(line, "\n"))
		}
	}
	if coder, ok := errors.AsType[cli.ExitCoder](err); ok {
		return coder.ExitCode()
	}
	return exitFailed
}

// output is stdout. It keeps the first error of a write: what is printed in lines would
// else be lost with a good exit code, as on a full disk.
type output struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.err = cmp.Or(o.err, err)
	}
	return n, err
}

func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func newApp(stdout, stderr io.Writer) (*cli.App, flagValues) {
	flags, values := newFlags()
	// Both the bare program and its command run take the settings; the values
	// of both go to the same place.
	start := func(c *cli.Context) error {
		if err := noArguments(c); err != nil {
			return err
		}
		return runAgent(c.Context, values, c.App.ErrWriter)
	}
	app := &cli.App{
		Name:                 "agent",
		Usage:                "elects one leader among the members of a group, and acts on it",
		UsageText:            "agent [flags] [-- PROGRAM [ARG…]]    run the agent, and PROGRAM while it leads\nagent COMMAND [flags]                ask or tell a running agent, or work without one",
		Description:          "Each flag NAME of the agent can also be given by the environment variable DOYEN_NAME\n(capitals, - becomes _) or in the YAML file named by --config. A flag overrides the\nenvironment, the environment the file, the file the default.",
		Version:              agent.Version,
		Flags:                flags,
		Action:               start,
		Writer:               stdout,
		ErrWriter:            stderr,
		EnableBashCompletion: true,
		OnUsageError:         usageError,
		// run prints errors and chooses the exit code, in one place.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	app.Commands = []*cli.Command{
		{Name: "run", Usage: "run the agent; the same as no command", Category: "agent", Flags: flags, Action: start},
		{Name: "validate", Usage: "check the configuration that these flags, the environment and --config make", Category: "agent", Flags: flags,
			Action: func(c *cli.Context) error { return validate(c, values) }},
		{Name: "release", Usage: "give up what an agent of this configuration that has ended still holds", Category: "agent", Flags: flags,
			Action: func(c *cli.Context) error { return release(c, values) }},
	}
	app.Commands = append(app.Commands, clientCommands(values)...)
	app.Commands = append(app.Commands, localCommands()...)
	for _, c := range app.Commands {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
	}
	app.Setup()
	for i, c := range app.Commands {
		if c.Name == "help" { // cli's own, one for all apps, becomes a command of itself when it runs
			own := *c
			own.HideHelp, own.OnUsageError = true, usageError
			app.Commands[i] = &own
		}
	}
	return app, values
}

// badValue is what package flag says of a value that it cannot parse.
var badValue = regexp.MustCompile(`^invalid (boolean )?value "(.*)" for (?:flag )?-+([a-z-]+): `)

// usageError turns what package flag says into one sentence that names the
// flag as the user writes it.
func usageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = "--" + strings.TrimPrefix(name, "-")
		if known := flagNames(c); slices.Contains(known, name) {
			text = fmt.Sprintf("%s belongs to a command, such as 'agent leader'", name)
		} else {
			text = fmt.Sprintf("unknown flag %s%s", name, didYouMean(name, known))
		}
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		text = fmt.Sprintf("--%s needs a value", strings.TrimPrefix(name, "-"))
	}
	if flag, ok := strings.CutPrefix(text, "bad flag syntax: "); ok {
		text = fmt.Sprintf("%q is no flag", flag)
	}
	if m := badValue.FindStringSubmatch(text); m != nil {
		wanted := "a duration such as 500ms, 10s or 1m30s"
		switch {
		case m[1] != "":
			wanted = "true or false"
		case takesNumber(c, m[3]):
			wanted = "a whole number, 0 or more"
		}
		text = fmt.Sprintf("--%s: %q is not %s", m[3], m[2], wanted)
	}
	return cli.Exit(text, exitUsage)
}

// noArguments refuses arguments that are no flags: a mistyped command, or the
// value of a flag that takes none.
func noArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	what, hint := "argument", ""
	if c.Command.Name == c.App.Name {
		what, hint = "command", didYouMean(c.Args().First(), commandNames(c.App))
	}
	if _, err := strconv.ParseBool(c.Args().First()); err == nil && what == "argument" {
		hint = "; the value of a flag that is true or false follows an =, as in --" + boolFlag(c) + "=" + c.Args().First()
	}
	if hint == "" {
		hint = "; see 'agent help'"
	}
	return cli.Exit(fmt.Sprintf("unknown %s %q%s", what, c.Args().First(), hint), exitUsage)
}

// boolFlag is a flag of the command that is true or false: one that is given, if any is.
func boolFlag(c *cli.Context) string {
	last := "FLAG"
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if g, ok := f.(*cli.GenericFlag); ok && g.Value.(*flagValue).bool {
			last = name
		} else if _, ok := f.(*cli.BoolFlag); !ok {
			continue
		}
		if c.IsSet(name) {
			return name
		}
	}
	return last
}

// takesNumber reports whether a flag of the command takes a whole number.
func takesNumber(c *cli.Context, name string) bool {
	return slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool {
		_, number := f.(*cli.Uint64Flag)
		return number && slices.Contains(f.Names(), name)
	})
}

// loadOptions reads the configuration, with the exit code for one that is bad.
func loadOptions(values flagValues) (options, error) {
	o, err := load(values, os.Getenv)
	if err != nil {
		return options{}, cli.Exit(err, exitUsage)
	}
	return o, nil
}
