// Package box gives tests of the examples machines of their own with systemd, in
// namespaces of this one.
package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"doyen/examples/internal/trial"
)

// A Box is a machine of its own, with a copy of this one's file system and its own
// systemd; see box.sh. Nothing in it changes this machine.
type Box struct {
	// PID is the number of its first process on this machine.
	PID int
	t   *testing.T
}

// New boots a box that is removed when the test ends. The name is unique in the test. The
// box has no network. The test runs in a directory beside that of this package's parent.
// Without root or a tool New skips the test, or fails it if DOYEN_TEST_REQUIRE is 1.
func New(t *testing.T, name string) *Box {
	t.Helper()
	trial.Needs(t, "unshare", "nsenter", "ip", "systemctl", "dpkg")
	if os.Getuid() != 0 {
		trial.Missing(t, "this test needs root, to boot systemd in namespaces")
	}
	script, err := filepath.Abs("../internal/box/box.sh")
	if err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("doyen-box-%d-%s", os.Getpid(), name)
	var said bytes.Buffer
	cmd := exec.Command(script, group, t.TempDir())
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // --kill-child kills the first process too
		cmd.Wait()
		removeGroups(t, group)
	})
	b := &Box{t: t}
	up := trial.Poll(trial.Patience, func() error {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if b.PID, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
			return err
		}
		_, err := b.Try("systemctl", "is-active", "box.target")
		return err
	})
	if up != nil {
		cmd.Process.Kill()
		cmd.Wait() // until then it writes to said
		trial.Missing(t, "this test needs a systemd that boots in namespaces: %s", said.String())
	}
	return b
}

// removeGroups removes the control groups of a box. The kernel takes a moment to notice
// that they are empty.
func removeGroups(t *testing.T, name string) {
	err := trial.Poll(trial.Patience, func() error {
		left, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
		if own := "/sys/fs/cgroup/" + name; exists(own) {
			left = append(left, own)
		}
		for _, root := range left {
			filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					os.Remove(path) // the inner ones this time, the outer ones the next
				}
				return nil
			})
		}
		if len(left) > 0 {
			return fmt.Errorf("these control groups are left: %q", left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// With returns the box for a part of the test.
func (b *Box) With(t *testing.T) *Box { return &Box{PID: b.PID, t: t} }

// Try runs a program in the box, and returns what it printed on both outputs.
func (b *Box) Try(args ...string) (string, error) {
	enter := []string{"-t", strconv.Itoa(b.PID), "-m", "-p", "-i", "-u", "-n", "-C", "--", "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive"}
	out, err := exec.Command("nsenter", append(enter, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Run runs a program in the box that must succeed.
func (b *Box) Run(args ...string) string {
	b.t.Helper()
	out, err := b.Try(args...)
	if err != nil {
		b.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// Write writes a file.
func (b *Box) Write(path, text string) {
	b.t.Helper()
	b.Run("sh", "-euc", `mkdir -p "${1%/*}"; printf %s "$2" >"$1"`, "sh", path, text)
}
