//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestShortForm runs the program itself, once through the faults that matter
// most, with agents and with keepalived.
func TestShortForm(t *testing.T) {
	program, agent, dir := theLab(t, "takes two minutes and needs keepalived")
	besideOthers(t)
	const subjects = "doyen-fast,doyen-fast-quorum,keepalived"
	const scenarios = "stop,kill-agent,kill-all,freeze-all,host-death,link-cut,leader-isolated"
	out := filepath.Join(dir, "report.json")
	runLab(t, program, dir, "-agent", agent, "-subjects", subjects, "-scenarios", scenarios, "-runs", "1", "-json", out, "-logs", dir)
	checkReport(t, out, len(strings.Split(subjects, ",")), len(strings.Split(scenarios, ",")))
	if t.Failed() {
		showLogs(t, dir)
	}
}

// TestAnnouncementInBackground stops leaders whose hook announces the address by a
// program that acquire leaves running. If that were killed, clients would go on sending to
// the former holder for seconds. The median of 20 runs is in docs/failover.md.
func TestAnnouncementInBackground(t *testing.T) {
	program, agent, dir := theLab(t, "takes half a minute")
	out := filepath.Join(dir, "report.json")
	t.Setenv("LATE", "1") // else it may be quicker than the end of acquire
	runLab(t, program, dir, "-agent", agent, "-subjects", "doyen-lan-quorum-hook", "-hook", "testdata/background.sh",
		"-scenarios", "stop", "-runs", "3", "-json", out, "-logs", dir)
	var outages []float64
	for _, x := range readReport(t, out).Subjects[0].Results {
		if x.Error != "" {
			t.Errorf("%s: %s", x.Scenario, x.Error)
		}
		outages = append(outages, x.Figures["outage"])
	}
	slices.Sort(outages)
	if len(outages) != 3 || outages[1] > 2000 {
		t.Errorf("want a median outage of less than 2 s in three runs, got %v ms", outages)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`the hook left processes running, which were killed" event=change .*sleep \(\d+\)`)
	if !slices.ContainsFunc(logs, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && named.Match(text)
	}) {
		t.Errorf("want a log that names what change left running, in %q", logs)
	}
	if t.Failed() {
		showLogs(t, dir)
	}
}

// theLab builds the program and the agent into a directory of the test's own.
func theLab(t *testing.T, why string) (program, agent, dir string) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") != "1" {
		t.Skip(why + ": DOYEN_TEST_REQUIRE=1 runs it")
	}
	needRoot(t)
	dir = t.TempDir()
	program, agent = filepath.Join(dir, "failoverlab"), theAgent(t)
	if text, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the lab: %v\n%s", err, text)
	}
	return program, agent, dir
}

// runLab runs the program, whose logs go to dir.
func runLab(t *testing.T, program, dir string, args ...string) {
	t.Helper()
	text, err := exec.Command(program, args...).CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		showLogs(t, dir)
		t.Fatalf("running the lab: %v", err)
	}
}

// checkReport looks at what must hold however slow the machine is.
func checkReport(t *testing.T, name string, subjects, scenarios int) {
	t.Helper()
	r := readReport(t, name)
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

func readReport(t *testing.T, name string) (r report) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
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
