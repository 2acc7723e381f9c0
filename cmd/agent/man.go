package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

//go:embed man.roff
var manPage string

// man prints the manual page: man.roff, with the commands and the options put in
// from the tables that make them.
func man(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	var options strings.Builder
	for _, s := range settings {
		options.WriteString(s.man())
	}
	_, err := strings.NewReplacer(
		"@VERSION@", roff(agent.Version),
		"@COMMANDS@\n", manCommands(c.App.Commands),
		"@OPTIONS@\n", options.String(),
	).WriteString(c.App.Writer, manPage)
	return err
}

// man is a setting's paragraph.
func (s setting) man() string {
	names := []string{"--" + s.name}
	if s.argv {
		names[0] = "--"
	}
	if s.alias != "" {
		names = append(names, "--"+s.alias)
	}
	usage := s.usage
	if s.text != "" {
		usage += " (default: " + s.text + ")"
	}
	return manOption(names, usage)
}

// manOption is the paragraph of an option, whose placeholder is in backquotes.
func manOption(names []string, usage string) string {
	head := "\\fB" + roff(strings.Join(names, ", ")) + "\\fR"
	if _, rest, ok := strings.Cut(usage, "`"); ok {
		value, _, _ := strings.Cut(rest, "`")
		head += " \\fI" + roff(value) + "\\fR"
	}
	return ".TP\n" + head + "\n" + manSentence(usage) + "\n"
}

// manCommands is a section for each kind of command. What all of a kind have in
// common is told once.
func manCommands(commands []*cli.Command) string {
	commands = slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Hidden || c.Category == "" })
	var kinds []string
	for _, c := range commands {
		if !slices.Contains(kinds, c.Category) {
			kinds = append(kinds, c.Category)
		}
	}
	var b strings.Builder
	for _, kind := range kinds {
		fmt.Fprintf(&b, ".SS %s\n", roff(upperFirst(kind)))
		of := slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Category != kind })
		common := commonFlags(of)
		for _, c := range of {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR %s\n%s\n", roff(c.Name), roff(c.ArgsUsage), manSentence(c.Usage))
			own := manFlags(c)
			maps.DeleteFunc(own, func(name, _ string) bool { return common[name] != "" })
			if len(own) > 0 {
				b.WriteString(".RS\n" + manOptions(own) + ".RE\n")
			}
		}
		if len(common) > 0 {
			b.WriteString(".PP\nAll of these take\n" + manOptions(common))
		}
	}
	return b.String()
}

// manFlags are the flags of a command that are no settings: what they do, by
// their names.
func manFlags(c *cli.Command) map[string]string {
	all := map[string]string{}
	for _, f := range c.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && f != cli.HelpFlag {
			if _, isSetting := f.(*cli.GenericFlag); !isSetting {
				all[f.Names()[0]] = d.GetUsage()
			}
		}
	}
	return all
}

// commonFlags are those that all of several commands have.
func commonFlags(commands []*cli.Command) map[string]string {
	common := manFlags(commands[0])
	for _, c := range commands {
		has := manFlags(c)
		maps.DeleteFunc(common, func(name, usage string) bool { return len(commands) < 2 || has[name] != usage })
	}
	return common
}

func manOptions(flags map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		b.WriteString(manOption([]string{"--" + name}, flags[name]))
	}
	return b.String()
}

// manSentence makes a usage a sentence, with its placeholder in italics.
func manSentence(usage string) string {
	parts := strings.SplitN(upperFirst(usage), "`", 3)
	for i := range parts {
		parts[i] = roff(parts[i])
	}
	text := strings.Join(parts, "")
	if len(parts) == 3 {
		text = parts[0] + "\\fI" + parts[1] + "\\fR" + parts[2]
	}
	return "\\&" + text + "."
}

// roff quotes what troff would take for its own.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\[u2026]`).Replace(s)
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
