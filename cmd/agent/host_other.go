//go:build !linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// needsLinux says why no agent runs here: the keeper, the floating address and the
// clock are Linux's. The commands that ask an agent work everywhere.
func needsLinux() error {
	return cli.Exit(fmt.Sprintf("an agent needs Linux; on %s this program only asks agents elsewhere (--addr), and validates settings", runtime.GOOS), exitFailed)
}

func monotonic() (time.Duration, error) { return 0, errors.ErrUnsupported }

// runFirst is never called: a container is Linux's.
func runFirst([]string, io.Writer) int { return exitFailed }

func dieTogether() *syscall.SysProcAttr { return nil }

func isTerminal(*os.File) bool { return false }
