// Package packages tests the packages: their contents, and what they do on a machine with
// systemd.
package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"doyen/examples/internal/trial"
)

// build makes packages for this machine's architecture, and returns their directory.
func build(t *testing.T, version, formats string) string {
	t.Helper()
	trial.Needs(t, "make", "gzip")
	dist := t.TempDir()
	cmd := exec.Command("make", "-C", "../..", "--no-print-directory", "packages",
		"VERSION="+version, "DIST="+dist, "ARCHS="+runtime.GOARCH, "FORMATS="+formats)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make packages: %v\n%s", err, out)
	}
	return dist
}

// file returns the only file of a directory that matches a pattern.
func file(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: want one file, got %q, %v", pattern, found, err)
	}
	return found[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// contents are the files of both kinds of package. zsh looks for completions in a
// different directory on each system.
var contents = []string{
	"/usr/bin/agent", "/etc/doyen/agent.yaml",
	"/usr/lib/systemd/system/doyen.service", "/usr/lib/sysusers.d/doyen.conf",
	"/usr/share/man/man8/agent.8.gz", "/usr/share/doc/doyen/copyright",
	"/usr/share/bash-completion/completions/agent", "/usr/share/fish/vendor_completions.d/agent.fish",
	"/usr/share/doc/doyen/README.md", "/usr/share/doc/doyen/docs/keepalived.md",
	"/usr/share/doc/doyen/examples/floating-ip.conf", "/usr/share/doc/doyen/examples/hooks/leader-changed.sh",
	"/usr/share/doc/doyen/examples/bgp/host.conf", "/usr/share/doc/doyen/examples/bgp/router.conf",
}

func TestPackages(t *testing.T) {
	old, next := build(t, "1.0.0", "deb rpm"), build(t, "1.0.1", "deb")
	t.Run("rpm", func(t *testing.T) { testRPM(t, file(t, old, "*.rpm")) })
	deb := file(t, old, "*.deb")
	t.Run("deb", func(t *testing.T) { testDeb(t, deb) })
	t.Run("repository", func(t *testing.T) { testRepository(t, old, deb) })
	t.Run("service", func(t *testing.T) { testService(t, deb, file(t, next, "*.deb")) })
}

// shellcheck accepts the scripts that run as root on other machines.
func TestScripts(t *testing.T) {
	trial.Needs(t, "shellcheck")
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatalf("want three scripts, got %q, %v", scripts, err)
	}
	output(t, "shellcheck", append(scripts, "build", "release", "repository", "../internal/box/box.sh")...)
}

func testRPM(t *testing.T, rpm string) {
	trial.Needs(t, "rpm")
	// The directory of rpm's database does not matter here.
	query := func(args ...string) []string {
		return strings.Split(output(t, "rpm", append(append([]string{"--dbpath", t.TempDir(), "-qp"}, args...), rpm)...), "\n")
	}
	files := query("--list")
	for _, want := range append(contents, "/usr/share/zsh/site-functions/_agent") {
		if !slices.Contains(files, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if got := query("--configfiles")[0]; got != "/etc/doyen/agent.yaml" {
		t.Errorf("configuration: want /etc/doyen/agent.yaml, got %s", got)
	}
	if got := query("--queryformat", "%{VERSION} %{LICENSE}")[0]; got != "1.0.0 Apache-2.0" {
		t.Errorf("want version 1.0.0 and its licence, got %s", got)
	}
}

func testDeb(t *testing.T, deb string) {
	trial.Needs(t, "dpkg-deb")
	list := output(t, "dpkg-deb", "--contents", deb)
	for _, want := range append(contents, "/usr/share/zsh/vendor-completions/_agent", "/usr/share/doc/doyen/changelog.Debian.gz") {
		if !strings.Contains(list, " ."+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	root := t.TempDir()
	output(t, "dpkg-deb", "--extract", deb, root)
	licences, err := os.ReadFile(filepath.Join(root, "usr/share/doc/doyen/copyright"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Apache License", "github.com/hashicorp/memberlist", "Mozilla Public License", "The Go Authors"} {
		if !strings.Contains(string(licences), want) {
			t.Errorf("the licences do not name %s", want)
		}
	}
	if got := output(t, filepath.Join(root, "usr/bin/agent"), "version"); !strings.HasPrefix(got, "agent 1.0.0 ") {
		t.Errorf("agent version: want 1.0.0, got %s", got)
	}
	// The configuration is good as it is installed.
	output(t, filepath.Join(root, "usr/bin/agent"), "validate", "--config", filepath.Join(root, "etc/doyen/agent.yaml"))
	if got := output(t, "dpkg-deb", "--info", deb, "conffiles"); got != "/etc/doyen/agent.yaml\n" {
		t.Errorf("configuration: want /etc/doyen/agent.yaml, got %s", got)
	}
}
