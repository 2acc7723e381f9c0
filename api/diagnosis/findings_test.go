package diagnosis

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/findings.md describes every finding that the source can make, and no other.
func TestEveryFindingIsDescribed(t *testing.T) {
	page, err := os.ReadFile("../../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 1 {
			for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cells[1], -1) {
				described[m[1]] = true
			}
		}
	}
	made := findingsOf(t, ".", "../../agent", "../../gossip")
	if len(made) < 50 {
		t.Errorf("only %d findings were found in the source: %q", len(made), slices.Sorted(maps.Keys(made)))
	}
	for _, what := range slices.Sorted(maps.Keys(made)) {
		if !described[what] {
			t.Errorf("docs/findings.md does not describe %s", what)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(described)) {
		if !made[what] {
			t.Errorf("docs/findings.md describes %s, which nothing finds", what)
		}
	}
}

// findingsOf collects the words of the findings made under some directories: What of a
// Finding, and what the functions of package diagnosis are given that make one; each a
// literal, a constant, or a variable that is set to such. The constants of the packages
// floatingip and findings are such words themselves.
func findingsOf(t *testing.T, dirs ...string) map[string]bool {
	t.Helper()
	set := token.NewFileSet()
	packages := map[string][]*ast.File{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	made, word := map[string]bool{}, regexp.MustCompile("^[a-z]+(-[a-z]+)*$")
	for _, files := range packages {
		values := stringsNamed(files)
		add := func(e ast.Expr) {
			var words []string
			switch e := e.(type) {
			case *ast.BasicLit:
				words = []string{unquoted(e)}
			case *ast.Ident:
				words = values[e.Name]
			case *ast.IndexExpr: // of a map from reasons to words
				if m, ok := e.X.(*ast.Ident); ok {
					words = values[m.Name]
				}
			}
			for _, w := range words {
				if word.MatchString(w) { // a variable may also be set to a sentence
					made[w] = true
				}
			}
		}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CompositeLit:
					if typeName(n.Type) == "Finding" {
						for _, field := range n.Elts {
							if kv, ok := field.(*ast.KeyValueExpr); ok && typeName(kv.Key) == "What" {
								add(kv.Value)
							}
						}
					}
				case *ast.CallExpr:
					switch name := typeName(n.Fun); {
					case f.Name.Name != "diagnosis" || len(n.Args) < 2:
					case name == "findIn" || name == "noteIn":
						add(n.Args[1])
					case name == "find" || name == "note" || name == "same" || name == "report":
						add(n.Args[0])
					}
				case *ast.GenDecl:
					if p := f.Name.Name; n.Tok == token.CONST && (p == "findings" || p == "floatingip") {
						for _, spec := range n.Specs {
							for _, v := range spec.(*ast.ValueSpec).Values {
								if lit, ok := v.(*ast.BasicLit); ok && (p == "findings" || strings.HasPrefix(unquoted(lit), "floating-ip-")) {
									add(lit)
								}
							}
						}
					}
				}
				return true
			})
		}
	}
	return made
}

// stringsNamed are the texts that constants and variables of a package are set to.
func stringsNamed(files []*ast.File) map[string][]string {
	values := map[string][]string{}
	set := func(names, exprs []ast.Expr) {
		for i, name := range names {
			if id, ok := name.(*ast.Ident); ok && i < len(exprs) {
				ast.Inspect(exprs[i], func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.CallExpr, *ast.FuncLit:
						return false
					case *ast.BasicLit:
						values[id.Name] = append(values[id.Name], unquoted(n))
					}
					return true
				})
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				set(n.Lhs, n.Rhs)
			case *ast.ValueSpec:
				names := make([]ast.Expr, len(n.Names))
				for i, id := range n.Names {
					names[i] = id
				}
				set(names, n.Values)
			}
			return true
		})
	}
	return values
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func unquoted(lit *ast.BasicLit) string {
	s, err := strconv.Unquote(lit.Value)
	if err != nil || lit.Kind != token.STRING {
		return ""
	}
	return s
}
