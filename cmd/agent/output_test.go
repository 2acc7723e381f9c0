package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serveSome answers what the commands of these tests ask for.
func serveSome(t *testing.T) (addr string) {
	return serveFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("save"):
			fmt.Fprint(w, strings.Repeat("copy", 100<<10))
		case r.URL.Path == "/leader":
			fmt.Fprint(w, `{"leader":"a","addr":"192.0.2.1:4000","term":7,"since":"2026-01-02T03:04:05Z"}`)
		case r.URL.Path == "/members", r.URL.Path == "/history":
			fmt.Fprint(w, `[]`)
		default:
			fmt.Fprint(w, state("a", "a"))
		}
	}))
}

// What does not reach stdout is no success: a file on a full disk would be empty, or end in
// the midst.
func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	addr := serveSome(t)
	for _, line := range []string{"leader", "leader --json", "members", "history", "status", "store save -"} {
		verb, more, _ := strings.Cut(line, " ")
		checkFull(t, append([]string{verb, "--addr", addr}, strings.Fields(more)...)...)
	}
	for _, line := range []string{"help", "leader --help", "version", "keygen", "validate", "completion fish", "man"} {
		checkFull(t, strings.Fields(line)...)
	}
}

// checkFull runs the program with a stdout that is full.
func checkFull(t *testing.T, args ...string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var errs strings.Builder
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = withoutSettings(os.Environ()), full, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	const want = "agent: the output is not complete: "
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.HasPrefix(errs.String(), want) || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("agent %q: got exit %d and %q, want exit %d and %q", args, code, errs.String(), exitFailed, want)
	}
}

// A copy of the store replaces a file, whole, and nothing else; where it cannot be written
// nothing is left of it.
func TestStoreSaveReplacesOnlyAFile(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), serveSome(t)
	file, link, pipe, small := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe"), filepath.Join(dir, "small")
	save := func(to string) (lines []string, code int) {
		_, lines, code = runBinary(t, nil, "store", "save", to, "--addr", addr)
		return lines, code
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, code := save(link); code != exitOK {
		t.Errorf("to a link: got exit %d and %q", code, lines)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("want the link to stay one, got %v, %v", info, err)
	}
	if text, err := os.ReadFile(file); err != nil || len(text) != 400<<10 {
		t.Errorf("want the copy in the file of the link, got %d bytes, %v", len(text), err)
	}
	for _, to := range []string{pipe, dir} {
		if lines, code := save(to); code != exitFailed || len(lines) != 1 || lines[0] != "agent: saving: "+to+" is there and is no file; - is stdout" {
			t.Errorf("to %s: got exit %d and %q, want it refused", to, code, lines)
		}
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("want the pipe to stay one, got %v, %v", info, err)
	}
	left := 3
	if os.Geteuid() == 0 {
		left = 4
		if err := os.Mkdir(small, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
		if lines, code := save(filepath.Join(small, "copy")); code != exitFailed || len(lines) != 1 || !strings.Contains(lines[0], "no space left on device") {
			t.Errorf("to a full disk: got exit %d and %q", code, lines)
		}
		if names, err := os.ReadDir(small); err != nil || len(names) != 0 {
			t.Errorf("want nothing left on the full disk, got %v, %v", names, err)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != left {
		t.Errorf("want %d entries, got %v, %v", left, names, err)
	}
}
