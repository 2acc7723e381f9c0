//go:build linux

package container

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composeCommand is the command line that the compose file gives the service.
func composeCommand(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct{ Command []string }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	command := file.Services[service].Command
	if !slices.Contains(command, service) {
		t.Fatalf("want the service %s to have its own name for a seed, got %q", service, command)
	}
	return command
}

// Docker accepts the compose file.
func TestCompose(t *testing.T) {
	composeCommand(t)
	if out, err := exec.Command("docker", "compose", "version").CombinedOutput(); err != nil {
		t.Skipf("needs docker with its plugin compose: %v: %s", err, out)
	}
	if out, err := exec.Command("docker", "compose", "config", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("docker compose config: %v: %s", err, out)
	}
}
