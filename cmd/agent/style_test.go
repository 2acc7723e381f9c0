package main

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The limits of a file and of a function, in lines, outside tests: both are read
// from top to bottom.
const (
	mostLines    = 500
	mostFunction = 70
)

// longFunctions may be longer: a switch over the kinds of fault, which says the
// same in any number of functions.
var longFunctions = map[string]int{"seniority/sim/faults.go strike": 95}

// banned are words that hide who does what, or that say in a riddle what a plain
// word says.
var banned = regexp.MustCompile(`(?i)\b(whoever|nobody|whom|everybody|whatever|so long as|what it has)\b`)

// impure are the packages that the core may not import: it does no I/O, reads no
// clock and draws no random number.
var impure = regexp.MustCompile(`^(os|net|net/http|io|log|log/slog|math/rand.*|crypto/rand|sync.*|context|runtime.*|syscall|golang\.org/x/.*|github\.com/.*)$`)

// tracked lists the files of the repository, by their path from its root.
func tracked(t *testing.T) (root string, files []string) {
	t.Helper()
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skipf("this is no checkout: %v", err)
	}
	root = strings.TrimSpace(string(top))
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, f)); err == nil {
			files = append(files, f)
		}
	}
	return root, files
}

// No line that anybody reads has a banned word: comments, texts, documents.
func TestWords(t *testing.T) {
	root, files := tracked(t)
	for _, f := range files {
		switch filepath.Ext(f) {
		case ".go", ".md", ".js", ".html", ".sh", ".txt", ".json", ".roff", ".yml", ".yaml", ".conf", ".service":
		default:
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			if w := banned.FindString(lines.Text()); w != "" && f != "cmd/agent/style_test.go" {
				t.Errorf("%s:%d: %q: say who, or what", f, n, w)
			}
		}
	}
}

// Files and functions outside tests are short enough to be read from top to bottom,
// and the core is pure.
func TestStyle(t *testing.T) {
	root, files := tracked(t)
	for _, f := range files {
		if filepath.Ext(f) != ".go" || strings.HasSuffix(f, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root, f), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if n := set.File(parsed.Pos()).LineCount(); n > mostLines {
			t.Errorf("%s has %d lines, the most is %d", f, n, mostLines)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			if most := max(mostFunction, longFunctions[f+" "+fn.Name.Name]); lines > most {
				t.Errorf("%s: %s has %d lines, the most is %d", f, fn.Name.Name, lines, most)
			}
		}
		if filepath.Dir(f) == "seniority" {
			checkPure(t, f, set, parsed)
		}
	}
}

// checkPure reports what makes a file of the core do more than compute.
func checkPure(t *testing.T, f string, set *token.FileSet, parsed *ast.File) {
	for _, i := range parsed.Imports {
		if path, _ := strconv.Unquote(i.Path.Value); impure.MatchString(path) {
			t.Errorf("%s imports %s: the core is pure", f, path)
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%v: the core starts a goroutine", set.Position(n.Pos()))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Since" || n.Sel.Name == "After") {
				t.Errorf("%v: the core reads a clock", set.Position(n.Pos()))
			}
		}
		return true
	})
}
