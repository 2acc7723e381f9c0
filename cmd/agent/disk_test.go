package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// A member whose disk is full could not store a term: it says so before the
// leader dies, and not only when a term must be stored.
func TestFullDiskIsNoticedBeforeItMatters(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatal("needs root to mount a file system")
		}
		t.Skip("needs root to mount a file system")
	}
	g := newGroup(t, 3)
	for i, n := range g.nodes {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("state", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		n.args = append(n.args, "--state-dir", dir)
	}
	g.start("--voters", "seeds")
	g.checkLeader(g.nodes[0], g.nodes...)
	ready := func(n *node) (r agent.Readiness) {
		n.get("/ready", &r, http.StatusServiceUnavailable)
		return r
	}
	g.eventually(func() error {
		for _, n := range g.nodes {
			if r := ready(n); !r.Ready {
				return fmt.Errorf("%s: want it ready, got %+v", n.name, r)
			}
		}
		return nil
	})

	for _, n := range g.nodes[1:] {
		fill(t, n.args[slices.Index(n.args, "--state-dir")+1])
	}
	g.eventually(func() error {
		for _, n := range g.nodes[1:] {
			if r := ready(n); r.Ready || !strings.Contains(strings.Join(r.Reasons, "; "), "no space left on device") {
				return fmt.Errorf("%s: want it not ready for want of space, got %+v", n.name, r)
			}
			if n.state().Eligible {
				return fmt.Errorf("%s may still lead", n.name)
			}
		}
		if r := ready(g.nodes[0]); r.Ready || r.WouldLead != nil {
			return fmt.Errorf("the leader: want no member who would follow it, got %+v", r)
		}
		return nil
	})
	var d diagAnswer
	if !g.nodes[0].get("/diag", &d) || d.Verdict.Status != "degraded" ||
		!slices.ContainsFunc(d.Verdict.Findings, func(f agent.Finding) bool { return f.What == "state-unwritable" }) {
		t.Errorf("want a finding state-unwritable, got %+v", d.Verdict)
	}

	for _, n := range g.nodes[1:] {
		if err := os.Remove(filepath.Join(n.args[slices.Index(n.args, "--state-dir")+1], "filler")); err != nil {
			t.Fatal(err)
		}
	}
	g.eventually(func() error {
		for _, n := range g.nodes {
			if r := ready(n); !r.Ready {
				return fmt.Errorf("%s: want it ready again, got %+v", n.name, r)
			}
		}
		return nil
	})
}

// fill leaves no room on the file system of a directory.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Fatal(err)
	}
}
