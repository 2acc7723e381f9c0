package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// options is a checked configuration: what goes to package agent, and the few
// things that only this command uses.
type options struct {
	agent.Config
	configFile  string
	tokenFile   string
	tlsCertFile string
	tlsKeyFile  string
	logLevel    slog.Level
	logFormat   string
}

// A given holds the values that one source gave for one setting, unchecked.
type given struct {
	values []string
	from   string // where, if not on the command line; "" there
}

// flagValues collects the command line: the values given for each setting, by
// its name. Checking waits until the sources are laid over one another, so
// that all of them share one set of sentences.
type flagValues map[string]*flagValue

// flagValue is one flag of the command line; urfave/cli calls Set.
type flagValue struct {
	values []string
	bool   bool
}

func (f *flagValue) Set(v string) error { f.values = append(f.values, v); return nil }
func (f *flagValue) String() string     { return "" }
func (f *flagValue) IsBoolFlag() bool   { return f.bool }

// newFlags returns the flags of all settings and where their values go. The
// aliases are flags of their own, because urfave/cli would copy the values of
// an alias to the name and so give each of them twice.
func newFlags() ([]cli.Flag, flagValues) {
	values := make(flagValues, len(settings))
	var flags []cli.Flag
	for _, s := range settings {
		v := &flagValue{bool: s.flag}
		values[s.name] = v
		flags = append(flags, &cli.GenericFlag{Name: s.name, Usage: s.usage, DefaultText: s.text, Value: v})
		if s.alias != "" {
			flags = append(flags, &cli.GenericFlag{Name: s.alias, Usage: "the same as --" + s.name, Value: v})
		}
	}
	return flags, values
}

// first reports the first setting that is on the command line, "" for none.
func (f flagValues) first() string {
	for _, s := range settings {
		if len(f[s.name].values) > 0 {
			return s.name
		}
	}
	return ""
}

// load lays flag over environment over file over default and checks the
// outcome. Every error is one sentence that names the flag.
func load(flags flagValues, getenv func(string) string) (options, error) {
	o := options{logFormat: logText}
	sources := []func(setting) given{
		func(s setting) given { return given{values: flags[s.name].values} },
		func(s setting) given {
			// An empty variable counts as unset, as in a unit file that passes
			// on what may not be there.
			if v := getenv(s.env()); v != "" {
				return given{values: []string{v}, from: s.env()}
			}
			return given{}
		},
	}
	config, _ := find("config")
	if err := o.take(config, sources); err != nil {
		return options{}, err
	}
	if o.configFile != "" {
		file, err := readFile(o.configFile)
		if err != nil {
			return options{}, err
		}
		sources = append(sources, func(s setting) given { return file[s.name] })
	}
	for _, s := range settings {
		if err := o.take(s, sources); err != nil {
			return options{}, err
		}
	}
	if err := o.Config.Validate(); err != nil {
		return options{}, err
	}
	return o, nil
}

// take stores the value of one setting from the first source that has it.
func (o *options) take(s setting, sources []func(setting) given) error {
	for _, source := range sources {
		g := source(s)
		if len(g.values) == 0 {
			continue
		}
		for _, v := range s.entries(g.values) {
			if err := s.set(o, v); err != nil {
				return fmt.Errorf("--%s%s: %w", s.name, g.where(), err)
			}
		}
		return nil
	}
	return nil
}

// entries splits the values of a list at commas; of any other setting the last
// value counts, as is the custom for flags.
func (s setting) entries(values []string) []string {
	if !s.list {
		return values[len(values)-1:]
	}
	var all []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			all = append(all, strings.TrimSpace(e))
		}
	}
	return slices.DeleteFunc(all, func(e string) bool { return e == "" })
}

func (g given) where() string {
	if g.from == "" {
		return ""
	}
	return " (from " + g.from + ")"
}
