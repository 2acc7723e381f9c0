package agent

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"doyen/seniority"
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
	if !reflect.DeepEqual(s.kept, promises{}) || history != nil {
		t.Fatalf("a new directory: want nothing, got %+v and %v", s.kept, history)
	}
	for _, p := range []promises{{HighestTerm: 5, LongestLease: time.Second}, {HighestTerm: 9, LongestLease: time.Second}, {HighestTerm: 7, LongestLease: 3 * time.Second}} {
		if err := s.keepTerm(GroupElection, promise{term: p.HighestTerm}, p.LongestLease); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.keepHistory([]Leadership{{Term: 9, Leader: "a"}}); err != nil {
		t.Fatal(err)
	}
	s.close()

	s, history = openKept(t, path)
	if want := (promises{Format: stateFormat, HighestTerm: 9, LongestLease: 3 * time.Second}); !reflect.DeepEqual(s.kept, want) {
		t.Errorf("want %+v, got %+v", want, s.kept)
	}
	if len(history) != 1 || history[0].Term != 9 {
		t.Errorf("want the history of term 9, got %+v", history)
	}
}

// The claimant of an election's highest term is kept with it, and with no other.
func TestHoldersOfTermsSurviveARestart(t *testing.T) {
	path := t.TempDir()
	s, _ := openKept(t, path)
	a, b := seniority.Holder{Name: "a", Incarnation: 1<<63 + 1}, seniority.Holder{Name: "b", Incarnation: 2}
	for _, terms := range []map[string]promise{
		{GroupElection: {5, a}, "web": {6, b}, "mail": {7, a}},
		{GroupElection: {4, b}, "web": {8, seniority.Holder{}}},
	} {
		if err := s.keepTerms(terms, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	s, _ = openKept(t, path)
	for election, want := range map[string]promise{GroupElection: {5, a}, "web": {8, seniority.Holder{}}, "mail": {7, a}, "none": {}} {
		if got := s.highestOf(election); got != want {
			t.Errorf("%s: want %+v, got %+v", election, want, got)
		}
	}
}

func TestStateDirErrorsAreSentencesNamingTheFlag(t *testing.T) {
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, termName), []byte(`{"highest_term":12`), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown := t.TempDir()
	if err := os.WriteFile(filepath.Join(unknown, termName), []byte(`{"highest":12}`), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	openKept(t, shared)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, termName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, termName), []byte(`{"format":2,"highest_term":12}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"newer":        {newer, "term.json is of format 2, and this version knows formats up to 1: run the newer version"},
		"damaged":      {damaged, "term.json is damaged (unexpected end of JSON input): put a copy of it back, or"},
		"no term":      {unknown, "term.json is damaged (it has no highest_term)"},
		"empty":        {empty, "term.json is damaged (it is empty)"},
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

// Going back to an older version must start: it finds fields it does not know.
func TestFieldsOfANewerVersionArePassedOver(t *testing.T) {
	path := t.TempDir()
	for name, text := range map[string]string{
		termName:        `{"highest_term":12,"longest_lease_ns":1000000000,"new":{"a":1}}`,
		historyFile:     `[{"term":11,"leader":"a","new":1}]`,
		maintenanceFile: `{"for_ns":60000000000,"new":1}`,
	} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, history := openKept(t, path)
	if want := (promises{HighestTerm: 12, LongestLease: time.Second}); !reflect.DeepEqual(s.kept, want) || len(history) != 1 || s.planned.For != time.Minute || len(s.notes()) != 0 {
		t.Errorf("want %+v, one leadership and a minute, got %+v, %v, %+v and %q", want, s.kept, history, s.planned, s.notes())
	}
}

// The history and a maintenance promise nothing to others: damaged, they are
// put aside with a note, and the next start has nothing to note.
func TestDamagedFilesThatPromiseNothingArePutAside(t *testing.T) {
	for _, text := range []string{"", "\n", "{", `[{"term":"x"}]`, `{"until":1}`, "\x00\x00"} {
		path := t.TempDir()
		for _, name := range []string{historyFile, maintenanceFile} {
			if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, history := openKept(t, path)
		if len(history) != 0 || !s.planned.equal(keptAside{}) {
			t.Errorf("%q: want nothing, got %v and %+v", text, history, s.planned)
		}
		notes := strings.Join(s.notes(), "\n")
		for _, name := range []string{historyFile, maintenanceFile} {
			aside, err := os.ReadFile(filepath.Join(path, name+".damaged"))
			if err != nil || string(aside) != text || !strings.Contains(notes, name+" cannot be read (") {
				t.Errorf("%s of %q: want it put aside with a note, got %q (%v) and %q", name, text, aside, err, notes)
			}
		}
		s.close()
		if s, _ = openKept(t, path); len(s.notes()) != 0 {
			t.Errorf("the next start notes %q", s.notes())
		}
	}
}

func TestStateFilesAreReplacedWhole(t *testing.T) {
	path := t.TempDir()
	s, _ := openKept(t, path)
	if err := s.keepTerm(GroupElection, promise{term: 3}, time.Second); err != nil {
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
	if err := s.keepTerm(GroupElection, promise{term: 5}, time.Second); err != nil {
		t.Error(err)
	}
}
