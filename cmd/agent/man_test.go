package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The manual page tells of everything there is, and is good troff.
func TestManualPage(t *testing.T) {
	page, stderr, code := command(t, "man")
	if code != exitOK || stderr != "" {
		t.Fatalf("agent man: got %d, %s", code, stderr)
	}
	if strings.Contains(page, "@VERSION@") || strings.Contains(page, "@COMMANDS@") || strings.Contains(page, "@OPTIONS@") {
		t.Error("something has not been filled in")
	}
	for _, s := range settings {
		if !s.argv && !strings.Contains(page, "\n\\fB"+roff("--"+s.name)) {
			t.Errorf("the page does not know --%s", s.name)
		}
	}
	app, _ := newApp(nil, nil)
	for _, c := range app.Commands {
		if told := strings.Contains(page, ".TP\n\\fB"+roff(c.Name)+"\\fR"); told == (c.Hidden || c.Name == "help") {
			t.Errorf("the command %s: got told %v, want %v", c.Name, told, !told)
		}
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skipf("this test needs mandoc: %v", err)
	}
	file := filepath.Join(t.TempDir(), "agent.8")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mandoc", "-Tlint", "-Wwarning", file).CombinedOutput(); err != nil {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}
