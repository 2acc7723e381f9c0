package packages

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doyen/examples/internal/trial"
)

// testRepository makes an apt repository of the packages in dist, and makes apt fetch one
// from it. All that apt writes goes to a directory of the test.
func testRepository(t *testing.T, dist, deb string) {
	trial.Needs(t, "apt-get", "dpkg", "gpg", "gpg-agent", "gpgconf", "gzip")
	home, apt := t.TempDir(), t.TempDir()
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	repository := filepath.Join(dist, "apt")
	publish := func() (string, error) {
		out, err := exec.Command("make", "-C", "../..", "--no-print-directory", "repository", "DIST="+dist).CombinedOutput()
		return string(out), err
	}
	if out, err := publish(); err == nil || !strings.Contains(out, "gpg has no key") {
		t.Errorf("without a key: want it said, got %v: %s", err, out)
	}
	output(t, "gpg", "--batch", "--passphrase", "", "--quick-generate-key", "Packages of a test", "ed25519", "sign", "never")
	if out, err := publish(); err != nil {
		t.Fatalf("make repository: %v: %s", err, out)
	}

	for name, text := range map[string]string{
		"sources.list": "deb [signed-by=" + repository + "/doyen.gpg] file:" + repository + " stable main\n",
		"status":       "",
	} {
		if err := os.WriteFile(filepath.Join(apt, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial", "etc"} {
		if err := os.MkdirAll(filepath.Join(apt, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	get := func(args ...string) (string, error) {
		cmd := exec.Command("apt-get", append([]string{"-q",
			"-o", "Dir::Etc=" + apt + "/etc", "-o", "Dir::Etc::sourcelist=" + apt + "/sources.list", "-o", "Dir::Etc::sourceparts=-",
			"-o", "Dir::State=" + apt, "-o", "Dir::State::lists=" + apt + "/lists", "-o", "Dir::State::status=" + apt + "/status",
			"-o", "Dir::Cache=" + apt + "/cache", "-o", "APT::Sandbox::User=", "-o", "APT::Update::Error-Mode=any"}, args...)...)
		cmd.Dir = apt
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := get("update"); err != nil {
		t.Fatalf("apt-get update: %v: %s", err, out)
	}
	if out, err := get("download", "doyen=1.0.0"); err != nil {
		t.Fatalf("apt-get download: %v: %s", err, out)
	}
	want, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file(t, apt, "*.deb")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("want the package of the repository, got %d bytes, %v", len(got), err)
	}

	// apt refuses a repository that was changed after it was signed.
	release := filepath.Join(repository, "dists/stable/InRelease")
	text, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(release, bytes.Replace(text, []byte("Origin: Doyen"), []byte("Origin: Other"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := get("update"); err == nil || !strings.Contains(out, "BADSIG") {
		t.Errorf("want a bad signature refused, got %v: %s", err, out)
	}
}
