// Package ansible tests the playbook and its role: without hosts, and on three machines.
package ansible

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doyen/examples/internal/trial"

	"go.yaml.in/yaml/v3"
)

// Ansible accepts the playbook, the role and the inventory.
func TestSyntax(t *testing.T) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skipf("this test needs ansible-core: %v", err)
	}
	cmd := exec.Command("ansible-playbook", "-i", "inventory.ini", "--syntax-check", "site.yml")
	cmd.Env = append(os.Environ(), "ANSIBLE_LOCAL_TEMP="+t.TempDir(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ansible-playbook: %v: %s", err, out)
	}
}

// Every command that the role runs exists in the program, with its flags.
func TestCommands(t *testing.T) {
	agent := trial.Build(t)
	files, err := filepath.Glob("roles/doyen/tasks/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, file := range append(files, "site.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tasks []map[string]any
		if err := yaml.Unmarshal(text, &tasks); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for line := range strings.Lines(string(text)) {
			_, command, ok := strings.Cut(strings.TrimSpace(line), "command: agent ")
			if !ok {
				continue
			}
			commands++
			words := strings.Fields(command)
			help, err := exec.Command(agent, words[0], "--help").CombinedOutput()
			if err != nil || !strings.Contains(string(help), "agent "+words[0]) {
				t.Errorf("%s: agent %s: %v", file, words[0], err)
			}
			for _, w := range words[1:] {
				if strings.HasPrefix(w, "--") && !strings.Contains(string(help), w+" ") {
					t.Errorf("%s: agent %s has no flag %s", file, words[0], w)
				}
			}
		}
	}
	if commands < 4 {
		t.Errorf("only %d commands of the program were found", commands)
	}
}
