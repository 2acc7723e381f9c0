package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What import makes of each configuration is read by the agent, and every note is
// on stderr too.
func TestImportedFilesAreAccepted(t *testing.T) {
	sources, err := filepath.Glob("keepalived/testdata/*.conf")
	if err != nil || len(sources) < 30 {
		t.Fatalf("want at least 30 configurations, got %d, %v", len(sources), err)
	}
	file := filepath.Join(t.TempDir(), "doyen.yaml")
	for _, source := range sources {
		text, notes, code := command(t, "import", "--config-id", "west", source)
		if code != exitOK {
			t.Errorf("%s: got exit %d, %s", source, code, notes)
			continue
		}
		_, commented, _ := strings.Cut(text, "\n# Not carried over:\n")
		if uncommented := strings.ReplaceAll("\n"+commented, "\n# ", "\n")[1:]; uncommented != notes {
			t.Errorf("%s: want the same on stderr as in the file, got\n%s\nand\n%s", source, notes, commented)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		several := strings.Contains(text, "\nelections:\n")
		_, values := newFlags()
		values["config"].Set(file)
		o, err := load(values, func(string) string { return "" })
		if err != nil {
			t.Errorf("%s: %v in\n%s", source, err, text)
		}
		if len(o.FloatingIPs) == 0 && !several || several && len(o.Elections) < 2 {
			t.Errorf("%s: no floating address, or too few elections, in\n%s", source, text)
		}
	}
}

// The page shows what import makes of its example.
func TestImportAsThePageShows(t *testing.T) {
	page, err := os.ReadFile("../../docs/keepalived.md")
	if err != nil {
		t.Fatal(err)
	}
	if text, _, _ := command(t, "import", "../../docs/keepalived.conf"); !strings.Contains(string(page), "\n"+text+"```\n") {
		t.Errorf("want this in docs/keepalived.md, got another example there:\n%s", text)
	}
}

// The programs are written once, for the user to change.
func TestImportWritesPrograms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "programs")
	again := func() (string, string, int) {
		return command(t, "import", "--seeds", "192.0.2.1,192.0.2.2,192.0.2.3", "--programs", dir, "keepalived/testdata/postgres-notify.conf")
	}
	text, notes, code := again()
	if code != exitOK || !strings.Contains(text, "\nseeds: [192.0.2.1, 192.0.2.2, 192.0.2.3]\n") || strings.Contains(text, "lone-wait") {
		t.Errorf("got exit %d, %s and\n%s", code, notes, text)
	}
	for _, name := range []string{"hook-pg", "health-pg"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o100 == 0 || !strings.Contains(text, ": "+path+"\n") {
			t.Errorf("%s: want a program that the file names, got %v, %v", path, info, err)
		}
	}
	if _, notes, code := again(); code != exitFailed || !strings.Contains(notes, "is there already") {
		t.Errorf("want programs that are there to stay, got exit %d, %s", code, notes)
	}
}
