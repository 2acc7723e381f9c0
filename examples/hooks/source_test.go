package hooks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doyen/examples/internal/trial"
)

func TestShellCheck(t *testing.T) {
	t.Parallel()
	trial.Needs(t, "shellcheck")
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no hooks are found: %v", err)
	}
	if out, err := exec.Command("shellcheck", append([]string{"--shell=sh"}, scripts...)...).CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestSamePart checks that the common part of the cloud hooks is the same in all. Each
// hook is one file, so that it can be copied to a machine by itself.
func TestSamePart(t *testing.T) {
	t.Parallel()
	part := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(content), "\n# ---- The same in every hook for a cloud")
		same, _, ok2 := strings.Cut(rest, "\n# -------")
		if !ok || !ok2 {
			t.Fatalf("%s has no common part", path)
		}
		return same
	}
	want := part(digitalOcean.hook)
	for _, p := range []provider{hetzner, aws, cloudflare, route53} {
		if part(p.hook) != want {
			t.Errorf("the common parts of %s and %s differ", p.hook, digitalOcean.hook)
		}
	}
}
