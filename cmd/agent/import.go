package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"doyen/cmd/agent/keepalived"

	"github.com/urfave/cli/v2"
)

// importCommand is 'agent import'.
func importCommand(category string) *cli.Command {
	return &cli.Command{Name: "import", Category: category, ArgsUsage: "KEEPALIVED.CONF", Action: importFile,
		Usage: "print the file of settings that does what a configuration of keepalived does, and name each line that has no counterpart",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "seeds", Usage: "`SEED[,SEED…]` of all hosts, instead of those that the configuration names"},
			&cli.StringFlag{Name: "config-id", Usage: "keepalived's --config-id: `NAME` whose lines, which begin with @NAME, are read"},
			&cli.StringFlag{Name: "programs", Usage: "write the programs that the file names, for hook and health checks, into `DIRECTORY`"},
		}}
}

func importFile(c *cli.Context) error {
	if c.NArg() != 1 {
		return cli.Exit("import needs one file, such as /etc/keepalived/keepalived.conf", exitUsage)
	}
	name, err := filepath.Abs(c.Args().First())
	if err != nil {
		return err
	}
	o := keepalived.Options{Root: "/", ConfigID: c.String("config-id")}
	if seeds := c.String("seeds"); seeds != "" {
		for s := range strings.SplitSeq(seeds, ",") {
			o.Seeds = append(o.Seeds, strings.TrimSpace(s))
		}
	}
	dir := c.String("programs")
	if dir != "" {
		if o.Programs, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	// An include may name any file of the host.
	out, err := keepalived.Convert(os.DirFS("/"), strings.TrimPrefix(name, "/"), o)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if dir != "" {
		if err := writePrograms(out.Programs); err != nil {
			return err
		}
	}
	for _, n := range out.Notes {
		fmt.Fprintln(c.App.ErrWriter, clean(n.String()))
	}
	_, err = fmt.Fprint(c.App.Writer, out.YAML)
	return err
}

// writePrograms writes what is not there yet, and changes nothing that is.
func writePrograms(programs []keepalived.Program) error {
	for _, p := range programs {
		if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
			return fmt.Errorf("--programs: %w", err)
		}
		f, err := os.OpenFile(p.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("--programs: %s is there already; remove it to have it written again", p.Path)
		}
		if err != nil {
			return fmt.Errorf("--programs: %w", err)
		}
		_, err = f.WriteString(p.Text)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("--programs: %w", err)
		}
	}
	return nil
}
