package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needs skips a test for want of a tool; see missing.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "this test needs %s: %v", tool, err)
		}
	}
}

// missing skips a test, or fails it where everything must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// patience is how long something in the box may take that takes a second on a
// quiet machine.
const patience = 60 * time.Second

// A box is a machine of its own, with this one's file system and its own systemd;
// see testdata/box.sh. Nothing that is done in it touches this machine.
type box struct {
	t    *testing.T
	init string // the number of its first process, seen from here
	from string // where the part of the journal begins that counts
}

// newBox boots a box that goes when the test ends. Without root, or what it takes,
// the test is skipped, or fails if DOYEN_TEST_REQUIRE says so.
func newBox(t *testing.T) *box {
	t.Helper()
	needs(t, "unshare", "nsenter", "ip", "systemctl", "dpkg")
	if os.Getuid() != 0 {
		missing(t, "this test needs root, to boot systemd in namespaces")
	}
	script, err := filepath.Abs("testdata/box.sh")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("doyen-box-%d", os.Getpid())
	var said bytes.Buffer
	cmd := exec.Command(script, name, t.TempDir())
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // and with it, by --kill-child, the first process
		cmd.Wait()
		removeGroups(t, name)
	})
	b := &box{t: t}
	up := poll(func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		b.init = strings.TrimSpace(string(children))
		_, err := b.try("systemctl", "is-active", "box.target")
		return b.init != "" && err == nil
	})
	if !up {
		missing(t, "this test needs a systemd that boots in namespaces: %s", said.String())
	}
	b.forget()
	return b
}

// removeGroups removes the control groups of a box; the kernel takes a moment to
// notice that nothing is in them any more.
func removeGroups(t *testing.T, name string) {
	var left []string
	gone := poll(func() bool {
		left, _ = filepath.Glob("/sys/fs/cgroup/*/" + name)
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
		return len(left) == 0
	})
	if !gone {
		t.Errorf("these control groups are left: %q", left)
	}
}

// try runs a program in the box.
func (b *box) try(args ...string) (string, error) {
	enter := []string{"-t", b.init, "-m", "-p", "-i", "-u", "-n", "-C", "--", "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive"}
	out, err := exec.Command("nsenter", append(enter, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run runs a program in the box that must succeed.
func (b *box) run(args ...string) string {
	b.t.Helper()
	out, err := b.try(args...)
	if err != nil {
		b.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// write writes a file.
func (b *box) write(path, text string) {
	b.t.Helper()
	b.run("sh", "-euc", `mkdir -p "${1%/*}"; printf %s "$2" >"$1"`, "sh", path, text)
}

// property is what systemd says of the service.
func (b *box) property(name string) string {
	b.t.Helper()
	return b.run("systemctl", "show", "--property", name, "--value", "doyen.service")
}

// eventually waits for check to return "", and fails the test with what it
// returns instead.
func (b *box) eventually(check func() string) {
	b.t.Helper()
	why := ""
	if !poll(func() bool { why = check(); return why == "" }) {
		b.t.Fatalf("%s\n%s", why, b.journal())
	}
}

// until waits for a line of the service's journal.
func (b *box) until(line string) {
	b.t.Helper()
	b.eventually(func() string {
		if strings.Contains(b.journal(), line) {
			return ""
		}
		return "the journal has no line with " + line
	})
}

// forget leaves what has been logged so far out of the journal.
func (b *box) forget() {
	b.t.Helper()
	b.from = b.run("date", "+@%s.%6N")
}

// journal is what the service, and systemd about it, have logged since.
func (b *box) journal() string {
	b.t.Helper()
	return b.run("journalctl", "--unit", "doyen.service", "--output", "cat", "--no-pager", "--since", b.from)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func poll(holds func() bool) bool {
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
