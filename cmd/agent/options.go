package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	loopRate    string   // without effect
	repeated    []string // what the command line gives more than once, a sentence each
	prefer      []string // of an election
}

// notes is what of the configuration is accepted and may not be what was meant.
func (o *options) notes(environ []string) []string {
	notes := slices.Concat(misspelt(environ), o.repeated, o.Config.Warnings())
	if o.loopRate != "" {
		notes = append(notes, "--loop-rate has no effect: the agent acts on events, and nothing in it loops")
	}
	return notes
}

// A given holds the values that one source gave for one setting, unchecked.
type given struct {
	values []string
	own    map[string]map[string]given // of elections: what each is told, by name
	from   string                      // where, if not on the command line; "" there
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
		if s.argv {
			continue
		}
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
// outcome. The error has a line for each fault, a sentence that names the flag;
// the options are then what is good.
func load(flags flagValues, getenv func(string) string) (options, error) {
	o := options{logFormat: logText}
	sources := []func(setting) given{
		func(s setting) given { return given{values: flags[s.name].values} },
		func(s setting) given {
			for _, name := range s.envs() {
				// An empty variable counts as unset, as in a unit file that
				// passes on what may not be there.
				if v := getenv(name); v != "" {
					return given{values: []string{v}, from: name}
				}
			}
			return given{}
		},
	}
	config, _ := find("config")
	faults := []error{o.take(config, sources)}
	if o.configFile != "" {
		file, err := readFile(o.configFile)
		faults = append(faults, err)
		sources = append(sources, func(s setting) given { return file[s.name] })
	}
	for _, s := range settings {
		faults = append(faults, o.take(s, sources))
		if values := flags[s.name].values; len(values) > 1 && !s.list && !s.argv {
			o.repeated = append(o.repeated, fmt.Sprintf("--%s is given %d times, and only the last counts: %s", s.name, len(values), values[len(values)-1]))
		}
	}
	return o, errors.Join(append(faults, o.Config.Validate())...)
}

// take stores the value of one setting from the first source that has it.
func (o *options) take(s setting, sources []func(setting) given) error {
	for _, source := range sources {
		g := source(s)
		if len(g.values) == 0 {
			continue
		}
		var faults []error
		for _, v := range s.entries(g.values) {
			if err := s.set(o, v); err != nil {
				faults = append(faults, fmt.Errorf("--%s%s: %w", s.name, g.where(), err))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(g.own)) {
			faults = append(faults, o.takeElection(name, g.own[name]))
		}
		return errors.Join(faults...)
	}
	return nil
}

// entries splits the values of a list at commas; of any other setting the last
// value counts, as is the custom for flags.
func (s setting) entries(values []string) []string {
	switch {
	case s.argv:
		return values
	case !s.list:
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
