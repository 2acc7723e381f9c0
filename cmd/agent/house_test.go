package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The rooms of the house, in the only order in which they may import: each
// those to its right. The longest prefix counts; leaves are told apart from the
// room they lie in because they must not reach back into it.
var rooms = []struct {
	prefix string
	may    []string
}{
	{"doyen/seniority", []string{"doyen/seniority"}},
	{"doyen/gossip/findings", nil},
	{"doyen/gossip/portable", nil},
	{"doyen/gossip/transport", []string{"doyen/gossip/findings"}},
	{"doyen/gossip", []string{"doyen/gossip", "doyen/seniority"}},
	{"doyen/agent/agenttest", []string{"doyen/agent", "doyen/gossip/simnet"}}, // a room of its own, for embedders
	{"doyen/agent/functions", nil},
	{"doyen/agent/logqueue", nil},
	{"doyen/agent/stream", nil},
	{"doyen/agent/words", nil},
	{"doyen/agent/history", []string{"doyen/seniority"}},
	{"doyen/agent/placing", []string{"doyen/seniority"}},
	{"doyen/agent/ownfindings", []string{"doyen/agent/words", "doyen/gossip/findings"}},
	{"doyen/agent/voters", []string{"doyen/gossip", "doyen/seniority"}},
	{"doyen/agent/electionlog", []string{"doyen/agent/history", "doyen/agent/members", "doyen/agent/words", "doyen/seniority"}},
	{"doyen/agent/members", []string{"doyen/agent/voters", "doyen/gossip", "doyen/seniority"}},
	{"doyen/agent/", []string{"doyen/agent/", "doyen/gossip/findings", "doyen/gossip/portable", "doyen/seniority"}},
	{"doyen/agent", []string{"doyen/agent/", "doyen/gossip", "doyen/seniority"}},
	{"doyen/api/diagnosis", []string{"doyen/api/diagnosis", "doyen/agent"}},
	{"doyen/api", []string{"doyen/api", "doyen/agent", "doyen/gossip", "doyen/seniority"}},
	{"doyen/cmd/", []string{"doyen/"}},
	{"doyen/examples/", []string{"doyen/agent", "doyen/api", "doyen/examples/internal/"}},
}

// Imports go one way only: cmd, api, agent, gossip, seniority.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "doyen/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		may, ok := allowed(p.ImportPath)
		if !ok {
			t.Errorf("%s is in no room of the house", p.ImportPath)
		}
		if p.ImportPath == "doyen/api/diagnosis" && slices.Contains(p.Imports, "net/http") {
			t.Errorf("%s judges answers and speaks no HTTP, and imports net/http", p.ImportPath)
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "doyen/") && !within(i, may) {
				t.Errorf("%s imports %s; it may import only what begins with one of %q", p.ImportPath, i, may)
			}
		}
	}
}

// allowed returns what a package may import, and whether it is in a room.
func allowed(path string) ([]string, bool) {
	for _, r := range rooms {
		if within(path, []string{r.prefix}) {
			return r.may, true
		}
	}
	return nil, false
}

// within reports whether a path is one of prefixes, or lies below one.
func within(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}
