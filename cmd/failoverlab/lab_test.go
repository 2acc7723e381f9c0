//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestShortForm runs the program itself, once through the faults that matter
// most, with agents and with keepalived.
func TestShortForm(t *testing.T) {
	if os.Getenv("DOYEN_TEST_REQUIRE") != "1" {
		t.Skip("takes two minutes and needs keepalived: DOYEN_TEST_REQUIRE=1 runs it")
	}
	needRoot(t)
	const subjects = "doyen-fast,doyen-fast-quorum,keepalived"
	const scenarios = "stop,kill-agent,kill-all,freeze-all,host-death,link-cut,leader-isolated"
	dir := t.TempDir()
	program, agent, out := filepath.Join(dir, "failoverlab"), filepath.Join(dir, "agent"), filepath.Join(dir, "report.json")
	for binary, pkg := range map[string]string{program: ".", agent: "../agent"} {
		if text, err := exec.Command("go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", pkg, err, text)
		}
	}
	lab := exec.Command(program, "-agent", agent, "-subjects", subjects, "-scenarios", scenarios, "-runs", "1", "-json", out, "-logs", dir)
	text, err := lab.CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		showLogs(t, dir)
		t.Fatalf("running the lab: %v", err)
	}
	checkReport(t, out, len(strings.Split(subjects, ",")), len(strings.Split(scenarios, ",")))
	if t.Failed() {
		showLogs(t, dir)
	}
}

// checkReport looks at what must hold however slow the machine is.
func checkReport(t *testing.T, name string, subjects, scenarios int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Subjects) != subjects {
		t.Fatalf("want %d subjects in the report, got %d", subjects, len(r.Subjects))
	}
	for _, s := range r.Subjects {
		if len(s.Results) != scenarios {
			t.Errorf("%s: want %d runs, got %d", s.Name, scenarios, len(s.Results))
		}
		for _, x := range s.Results {
			if x.Error != "" {
				t.Errorf("%s, %s: %s", s.Name, x.Scenario, x.Error)
			}
			if !strings.Contains(s.Name, "quorum") {
				continue
			}
			for _, figure := range []string{"overlap", "overlap-address", "heal-overlap"} {
				if x.Figures[figure] != 0 {
					t.Errorf("%s, %s: want no %s, got %v ms", s.Name, x.Scenario, figure, x.Figures[figure])
				}
			}
		}
	}
}

func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		const enough = 8 << 10
		t.Logf("the end of %s:\n%s", filepath.Base(name), text[max(0, len(text)-enough):])
	}
}
