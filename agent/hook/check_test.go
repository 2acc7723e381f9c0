package hook

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckPath(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatal("only root can make files of others")
		}
		t.Skip("only root can make files of others")
	}
	d := t.TempDir()
	dir := func(name string, mode os.FileMode, uid int) string {
		return entry(t, filepath.Join(d, name), uid, mode, func(p string) error { return os.Mkdir(p, 0o755) })
	}
	file := func(name string, mode os.FileMode, uid int) string {
		return entry(t, filepath.Join(d, name), uid, mode, func(p string) error { return os.WriteFile(p, nil, 0o755) })
	}
	link := func(name, target string, uid int) string {
		p := filepath.Join(d, name)
		if err := errors.Join(os.Symlink(target, p), os.Lchown(p, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	dir("good", 0o755, 0)
	dir("open", 0o777, 0)
	dir("group", 0o775, 0)
	dir("sticky", 0o777|os.ModeSticky, 0)
	dir("theirs", 0o755, 1000)
	good := file("good/hook", 0o755, 0)
	for _, c := range []struct{ path, culprit, why string }{
		{good, "", ""},
		{d + "//good/./../good/hook", "", ""},
		{file("good/others", 0o757, 0), "good/others", "written"},
		{file("good/group", 0o775, 0), "good/group", "written"},
		{file("good/theirs", 0o755, 1000), "good/theirs", "belong"},
		{file("good/plain", 0o644, 0), "good/plain", "executable"},
		{file("open/hook", 0o755, 0), "open", "written"},
		{file("group/hook", 0o755, 0), "group", "written"},
		{file("theirs/hook", 0o755, 0), "theirs", "belong"},
		{file("sticky/hook", 0o755, 0), "", ""},
		{file("sticky/theirs", 0o755, 1000), "sticky/theirs", "belong"},
		{d + "/good", "good", "directory"},
		{good + "/more", "good/hook", "regular"},
		{link("absolute", good, 0), "", ""},
		{link("relative", "good/hook", 0), "", ""},
		{link("through", "good", 0) + "/hook", "", ""},
		{link("to-open", "open/hook", 0), "open", "written"},
		{link("dir-to-theirs", "theirs", 0) + "/hook", "theirs", "belong"},
		{link("sticky/link", good, 0), "", ""},
		{link("sticky/link-theirs", good, 1000), "sticky/link-theirs", "belong"},
		{link("good/up", "../open/../good/hook", 0), "open", "written"},
		{link("loop", "loop", 0), "loop", "symbolic links"},
	} {
		err := CheckPath(c.path)
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: want no error, got %v", c.path, err)
			}
			continue
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Culprit != filepath.Join(d, c.culprit) || !strings.Contains(refused.Why, c.why) {
			t.Errorf("%s: want %s refused (%s), got %v", c.path, c.culprit, c.why, err)
			continue
		}
		if !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(), refused.Culprit) {
			t.Errorf("%q does not name %s and %s", err, c.path, refused.Culprit)
		}
	}
	if err := CheckPath(d + "/good/missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want a missing file, got %v", err)
	}
	if err := CheckPath("hook"); err == nil {
		t.Error("a relative path was accepted")
	}
	theirs := Runner{Path: d + "/good/theirs"}
	if res := theirs.Run(t.Context(), Env{Event: Release}); !errors.As(res.Err, new(*RefusedError)) || !res.Unusable {
		t.Errorf("want the run refused, got %+v", res)
	}
}

func TestCheckUsable(t *testing.T) {
	d := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good": 0o755, "plain": 0o644} {
		if err := os.WriteFile(filepath.Join(d, name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"good": "", "plain": "execut", "missing": "no such file", "": "directory"} {
		err := CheckUsable(filepath.Join(d, name))
		if name == "" && os.Geteuid() != 0 {
			want = "regular"
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", name, want, err)
		}
	}
}

// What the check says and what a run says are the same truth: a program that is
// there is never called missing.
func TestProgramsThatCannotStart(t *testing.T) {
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := bytes.Replace(self, []byte("/lib64/ld-linux-x86-64.so.2"), []byte("/lib64/ld-absnt-x86-64.so.2"), 1)
	for _, c := range []struct {
		text, want string
		runs       bool // the kernel starts it all the same, and it fails then
	}{
		{"#!/bin/sh\n", "", true},
		{"#! /bin/sh -e\n", "", true},
		{"#!/usr/bin/env -S LANG=C sh\n", "", true},
		{string(self), "", true},
		{"", "is empty", false},
		{"exit 0\n", "no first line such as #!/bin/sh", false},
		{"\xef\xbb\xbf#!/bin/sh\n", "byte order mark", false},
		{"#!/bin/sh\r\nexit 0\r\n", "carriage return", false},
		{"#!/bin/sh -e\r\nexit 0\r\n", "carriage return", true},
		{"#!/nonexistent/python -u\n", "is there, but its interpreter /nonexistent/python is not", false},
		{"#!sh\n", "interpreter sh without its full path", false},
		{"#!/etc/passwd\n", "interpreter /etc/passwd, which may not be executed", false},
		{"#!\n", "no interpreter", false},
		{"#!/usr/bin/env no-such-python\n", "no-such-python, which is nowhere in PATH", true},
		{string(elsewhere), "dynamic linker /lib64/ld-absnt-x86-64.so.2 is not", false},
	} {
		if c.text == string(elsewhere) && c.text == string(self) {
			continue // another kind of host, or a static binary
		}
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, []byte(c.text), 0o755); err != nil {
			t.Fatal(err)
		}
		says := func(err error) bool {
			return (err == nil) == (c.want == "") && (err == nil || strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), path))
		}
		if err := CheckUsable(path); !says(err) {
			t.Errorf("%.40q: want %q, got %v", c.text, c.want, err)
		}
		res := (&Runner{Path: path}).Run(t.Context(), Env{Event: Release})
		if c.runs == res.Unusable || !c.runs && !says(res.Err) {
			t.Errorf("%.40q run: want %q, got %+v", c.text, c.want, res)
		}
		health := (&Health{Path: path, Run: "test"}).Check(t.Context(), time.Second)
		if c.runs == health.Unusable || !c.runs && !says(health.Err) {
			t.Errorf("%.40q as a health check: want %q, got %+v", c.text, c.want, health)
		}
	}
}

// entry makes a file or directory with an owner and a mode that no umask cuts.
func entry(t *testing.T, path string, uid int, mode os.FileMode, make func(string) error) string {
	t.Helper()
	if err := errors.Join(make(path), os.Chown(path, uid, uid), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}
