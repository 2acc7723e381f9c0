//go:build !linux

package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

func runExec(*cli.Context, *client) error {
	return errors.New("exec needs Linux, where a process can wait for all of its descendants")
}
