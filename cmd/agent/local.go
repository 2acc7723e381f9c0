package main

import (
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// keySize is the length of a gossip key in bytes: AES-256.
const keySize = 32

//go:embed completion.bash
var completionBash string

//go:embed completion.zsh
var completionZsh string

// localCommands are the commands that need no running agent.
func localCommands() []*cli.Command {
	const category = "without an agent"
	return []*cli.Command{
		{Name: "demo", Usage: "run three agents on this machine, kill the leader and watch", Category: category,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "keep", Usage: "stay up afterwards even if this is no terminal"},
			}, Action: demo},
		importCommand(category),
		{Name: "keygen", Usage: "print a new key for --encrypt-key-file", Category: category, Action: keygen},
		{Name: "version", Usage: "print the version", Category: category,
			Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print it as JSON"}}, Action: version},
		{Name: "completion", Usage: "print the completion script of a shell", Category: category,
			ArgsUsage: "bash|zsh|fish", Action: completion},
		// For packages, which install what it prints.
		{Name: "man", Usage: "print the manual page", Hidden: true, Action: man},
	}
}

func keygen(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	var key [keySize]byte
	rand.Read(key[:]) // never fails: it ends the program instead
	_, err := fmt.Fprintln(c.App.Writer, base64.StdEncoding.EncodeToString(key[:]))
	return err
}

func version(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.Bool("json") {
		return json.NewEncoder(c.App.Writer).Encode(map[string]string{
			"version": agent.Version, "go": runtime.Version(), "platform": platform})
	}
	_, err := fmt.Fprintf(c.App.Writer, "agent %s (%s, %s)\n", agent.Version, runtime.Version(), platform)
	return err
}

// completion prints a script that asks the program itself what may follow, so
// that no script goes stale; fish's is generated from the flags.
func completion(c *cli.Context) error {
	scripts := map[string]func() (string, error){
		"bash": func() (string, error) { return completionBash, nil },
		"zsh":  func() (string, error) { return completionZsh, nil },
		"fish": func() (string, error) {
			flags, err := c.App.ToFishCompletion()
			return flags + "\n" + fishValues(), err
		},
	}
	script, ok := scripts[c.Args().First()]
	if !ok || c.NArg() != 1 {
		return cli.Exit("completion needs one shell: bash, zsh or fish", exitUsage)
	}
	s, err := script()
	if err != nil {
		return fmt.Errorf("the completion script: %w", err)
	}
	_, err = fmt.Fprintln(c.App.Writer, strings.TrimRight(s, "\n"))
	return err
}
