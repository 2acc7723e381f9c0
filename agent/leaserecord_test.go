package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLeaseRecordSurvivesARestart(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(t.TempDir(), "run")) // it is made
	open := func(voter string, want time.Duration) *leaseRecord {
		t.Helper()
		r := openLeaseRecord("c", voter)
		if r == nil || r.kept != want {
			t.Fatalf("record of %s: want %v, got %+v", voter, want, r)
		}
		return r
	}
	keep := func(r *leaseRecord, leases ...time.Duration) {
		t.Helper()
		for _, lease := range leases {
			if err := r.keep(lease); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := open("a", 0)
	keep(r, 0) // nothing is owed yet
	open("a", 0)
	keep(r, time.Second, 6*time.Second, time.Second)
	open("b", 0)
	open("a", 6*time.Second)
	// A run that ends before it promises anything leaves the record as it is; one
	// that promises has waited, and may have promised less.
	r = open("a", 6*time.Second)
	keep(r, time.Second)
	open("a", time.Second)
	if err := os.WriteFile(r.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	open("a", 0) // a damaged record is none
}

// No record is better than one that says too little.
func TestLeaseRecordThatCannotBeWritten(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	r := openLeaseRecord("c", "a")
	if err := r.keep(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.path+".new", 0o700); err != nil { // in the way of what is written
		t.Fatal(err)
	}
	r = openLeaseRecord("c", "a")
	if err := r.keep(6 * time.Second); err != nil {
		t.Errorf("a record that could be removed stops nothing, got %v", err)
	}
	if r = openLeaseRecord("c", "a"); r.kept != 0 {
		t.Errorf("want the record of %v gone", r.kept)
	}
	if err := os.MkdirAll(filepath.Join(r.path, "x"), 0o700); err != nil { // cannot be removed
		t.Fatal(err)
	}
	if err := r.keep(6 * time.Second); err == nil {
		t.Error("want an error for a record that can be neither written nor removed")
	}
}

// Without a runtime directory nothing is kept, and the core is told that nothing
// is known.
func TestNoRuntimeDirectory(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/dev/null/x")
	t.Setenv("XDG_RUNTIME_DIR", "")
	for _, dir := range runtimeDirs() {
		if dir != "/dev/null/x" && dir != "/run/doyen" {
			t.Errorf("want no other directory, got %s", dir)
		}
	}
	var none *leaseRecord
	if err := none.keep(time.Second); err != nil {
		t.Error(err)
	}
}
