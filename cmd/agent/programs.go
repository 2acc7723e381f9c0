package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doyen/agent"
	"doyen/agent/hook"
)

// checkPrograms checks the programs that the configuration names, and says in a
// sentence what is known of them; "" if it names none.
func (o *options) checkPrograms() (string, error) {
	var usable []string
	var faults []error
	type program struct{ flag, name, path string }
	programs := []program{{"--hook", "the hook", o.Hook}, {"--health", "the health check", o.Health}}
	for _, name := range slices.Sorted(maps.Keys(o.Elections)) {
		e := o.Elections[name]
		programs = append(programs,
			program{"election " + name + ": hook", "the hook of " + name, e.Hook},
			program{"election " + name + ": health", "the health check of " + name, e.Health})
	}
	for _, seed := range o.Seeds {
		if path, ok := strings.CutPrefix(seed, "exec:"); ok && filepath.IsAbs(path) {
			programs = append(programs, program{"--seeds", "the program that names seeds", path})
		}
	}
	for _, p := range programs {
		if p.path == "" || p.path == agent.Off {
			continue
		}
		path, err := filepath.Abs(p.path)
		if err == nil {
			err = hook.CheckUsable(path)
		}
		if first, _, more := strings.Cut(p.path, " "); err != nil && more && hook.CheckUsable(first) == nil {
			err = fmt.Errorf("%q is taken as one path; put a command with arguments into a script", p.path)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.flag, plainPath(err)))
			continue
		}
		usable = append(usable, p.name)
	}
	if len(faults) > 0 {
		return "", errors.Join(faults...)
	}
	switch names := strings.Join(usable, " and "); {
	case names == "":
		return "", nil
	case os.Geteuid() == 0:
		return names + " can be run, and only root could have written or replaced what is run", nil
	default:
		return names + " can be run by this user", nil
	}
}

// plainPath says of a missing file that it is missing, without the system call.
func plainPath(err error) error {
	if missing, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there", missing.Path)
	}
	return err
}
