package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"doyen/agent/hook"
)

// checkPrograms checks the programs that the configuration names, and says in a
// sentence what is known of them; "" if it names none.
func (o *options) checkPrograms() (string, error) {
	var usable []string
	for _, p := range []struct{ flag, name, path string }{
		{"hook", "the hook", o.Hook},
		{"health", "the health check", o.Health},
	} {
		if p.path == "" {
			continue
		}
		path, err := filepath.Abs(p.path)
		if err == nil {
			err = hook.CheckUsable(path)
		}
		if err != nil {
			return "", fmt.Errorf("--%s: %w", p.flag, err)
		}
		usable = append(usable, p.name)
	}
	switch names := strings.Join(usable, " and "); {
	case names == "":
		return "", nil
	case os.Geteuid() == 0:
		return names + " can be run, and nobody but root could have written or replaced what is run", nil
	default:
		return names + " can be run by this user", nil
	}
}
