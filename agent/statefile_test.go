package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openKept(t *testing.T, path string) (*stateDir, []Leadership) {
	t.Helper()
	s, history, err := openState(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s, history
}

func TestStateSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s, history := openKept(t, path)
	if s.kept != (promises{}) || history != nil {
		t.Fatalf("a new directory: want nothing, got %+v and %v", s.kept, history)
	}
	for _, p := range []promises{{5, time.Second}, {9, time.Second}, {7, 3 * time.Second}} {
		if err := s.keepTerm(p.HighestTerm, p.LongestLease); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.keepHistory([]Leadership{{Term: 9, Leader: "a"}}); err != nil {
		t.Fatal(err)
	}
	s.close()

	s, history = openKept(t, path)
	if want := (promises{9, 3 * time.Second}); s.kept != want {
		t.Errorf("want %+v, got %+v", want, s.kept)
	}
	if len(history) != 1 || history[0].Term != 9 {
		t.Errorf("want the history of term 9, got %+v", history)
	}
}

func TestStateDirErrorsAreSentencesNamingTheFlag(t *testing.T) {
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, termFile), []byte(`{"highest_term":12`), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown := t.TempDir()
	if err := os.WriteFile(filepath.Join(unknown, termFile), []byte(`{"highest":12}`), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	openKept(t, shared)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"damaged":      {damaged, "term.json is damaged"},
		"unknown key":  {unknown, "term.json is damaged"},
		"shared":       {shared, "is in use by another agent"},
		"no directory": {file, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, err := openState(test.path)
			if err == nil {
				s.close()
				t.Fatal("want an error, got none")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "state-dir") {
				t.Errorf("want a sentence that starts with state-dir and says %q, got %q", test.want, err)
			}
		})
	}
}

func TestStateFilesAreReplacedWhole(t *testing.T) {
	path := t.TempDir()
	s, _ := openKept(t, path)
	if err := s.keepTerm(3, time.Second); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(path, "*.new")); len(left) != 0 {
		t.Errorf("unfinished files are left behind: %v", left)
	}
}

func TestNoStateDirKeepsNothing(t *testing.T) {
	s, history, err := openState("")
	if s != nil || history != nil || err != nil {
		t.Fatalf("want nothing, got %v, %v, %v", s, history, err)
	}
	if err := s.keepTerm(5, time.Second); err != nil {
		t.Error(err)
	}
}
