package model

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var flagLong = flag.Bool("model.long", false, "search with more restarts and finer time as well: minutes, 2 GB")

// The configurations of lease.pml, as macros.
var (
	// Two candidates may take one term, and no voter forgets.
	terms = []string{"K=3"}
	// Any node restarts, and its clock may go back meanwhile.
	restart = []string{"K=3", "RESTARTS=1"}
	// Three voters become four, all of them one by one, while the fourth is a
	// candidate already.
	fourth = []string{"K=2", "N=4", "BASE=3", "STAGES=1", "OTHER=3", "RESTARTS=3"}
	// One voter becomes two, and the third comes with the list after that while
	// the first has its old list still. Majorities of lists that differ by one
	// entry meet by themselves; what keeps {n0} and {n1, n2} from both being one
	// here is that the lists of those that confirm are asked too.
	hasty = []string{"K=3", "N=3", "BASE=1", "STAGES=1", "OTHER=2", "RESTARTS=1"}
	// The same from three to five, where it takes two restarts to let the fifth
	// lead at all.
	hastyFifth = []string{"K=2", "N=5", "BASE=3", "STAGES=1", "OTHER=4", "RESTARTS=2"}
)

// What lease.pml asserts.
const (
	twoHolders = "two holders at one instant"
	sharedTerm = "two holders of one term"
)

func TestNothingIsViolated(t *testing.T) {
	needTools(t)
	type search struct {
		name   string
		macros []string
		memory int // MB
	}
	searches := []search{
		{"terms", terms, 1024},
		{"restart", restart, 1024},
		{"fourth voter", fourth, 1024},
		{"hasty third voter", hasty, 1024},
	}
	if *flagLong {
		searches = append(searches,
			search{"two restarts", with(restart, "RESTARTS=2"), 2048},
			search{"terms in finer time", with(terms, "LEASE=3"), 2048},
			search{"hasty fifth voter", hastyFifth, 2048})
	}
	for _, s := range searches {
		t.Run(s.name, func(t *testing.T) {
			r := verify(t, s.macros, s.memory)
			if r.violated != "" {
				t.Fatalf("%s\n%s", r.violated, r.steps)
			}
			if !r.complete {
				t.Fatalf("the search was not complete:\n%s", r.output)
			}
			t.Logf("%s states in %v", r.states, r.took.Round(100*time.Millisecond))
		})
	}
}

// TestBrokenProtocolsAreViolated breaks the protocol in every way that the
// model knows: a model that cannot fail proves nothing.
func TestBrokenProtocolsAreViolated(t *testing.T) {
	needTools(t)
	for _, b := range []struct {
		macro    string
		base     []string
		violates string
	}{
		{"NO_ABSTENTION", restart, twoHolders},
		{"NO_INCARNATION", restart, twoHolders},
		{"NO_STICKY", terms, twoHolders},
		{"NO_MARGIN", terms, twoHolders},
		{"NO_OWN_PROMISE", restart, twoHolders},
		{"COUNT_FROM_RECEIPT", terms, twoHolders},
		{"LATE_CONFIRMS", terms, twoHolders},
		{"REUSE_SPENT_TERM", terms, twoHolders},
		{"EARLY_RELEASE", terms, twoHolders},
		{"SHARED_TERM", terms, sharedTerm},
		{"SINGLE_MAJORITY", hasty, twoHolders},
	} {
		t.Run(b.macro, func(t *testing.T) {
			r := verify(t, with(b.base, b.macro), 1024)
			if r.violated != b.violates {
				t.Fatalf("found %q, want %q\n%s", r.violated, b.violates, r.output)
			}
			t.Logf("after %s states: %s", r.states, r.violated)
		})
	}
}

// with returns macros and one more, which takes the place of one of its name.
func with(macros []string, more string) []string {
	name, _, _ := strings.Cut(more, "=")
	var all []string
	for _, m := range macros {
		if !strings.HasPrefix(m, name+"=") {
			all = append(all, m)
		}
	}
	return append(all, more)
}

// needTools skips the test without Spin or a C compiler, or fails it where they
// are required.
func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
			t.Fatalf("needs %s", tool)
		}
		t.Skipf("needs %s", tool)
	}
}

// result is what a search came to.
type result struct {
	violated string // what Spin found, "" for nothing
	steps    string // that lead there
	complete bool   // every state has been seen
	states   string
	took     time.Duration
	output   string
}

var (
	errorsFound  = regexp.MustCompile(`errors: (\d+)\n`)
	statesStored = regexp.MustCompile(`(\d+) states, stored`)
	firstError   = regexp.MustCompile(`(?m)^pan:1: (.*)$`)
)

// violation names the error in what Spin wrote.
func violation(output string) string {
	m := firstError.FindStringSubmatch(output)
	switch {
	case m == nil:
		return "an error without a name"
	case strings.Contains(m[1], "holds["):
		return twoHolders
	case strings.Contains(m[1], "won["):
		return sharedTerm
	}
	return m[1]
}

// incomplete are the words by which a search says that it has left states out.
var incomplete = []string{"max search depth too small", "Search not completed", "out of memory", "reached -DMEMLIM", "truncated"}

// verify has Spin search the model with the macros set, with memory MB at most.
func verify(t *testing.T, macros []string, memory int) result {
	t.Helper()
	source, err := filepath.Abs("lease.pml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	generate := []string{"-a"}
	for _, m := range macros {
		generate = append(generate, "-D"+m)
	}
	run(t, dir, "spin", append(generate, source)...)
	// The model is one process, so there is no order of processes to reduce.
	run(t, dir, "gcc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", fmt.Sprintf("-DMEMLIM=%d", memory), "-o", "pan", "pan.c")

	began := time.Now()
	r := result{output: run(t, dir, "./pan", "-m1000000", "-w24")}
	r.took = time.Since(began)
	found := errorsFound.FindStringSubmatch(r.output)
	stored := statesStored.FindStringSubmatch(r.output)
	if found == nil || stored == nil {
		t.Fatalf("Spin said nothing of errors and states:\n%s", r.output)
	}
	r.states = stored[1]
	r.complete = found[1] == "0"
	for _, words := range incomplete {
		r.complete = r.complete && !strings.Contains(r.output, words)
	}
	if found[1] != "0" {
		r.violated = violation(r.output)
		steps := run(t, dir, "spin", append(generate[1:], "-t", "-k", filepath.Base(source)+".trail", source)...)
		r.steps, _, _ = strings.Cut(steps, "#processes")
	}
	return r
}

// run returns what a command wrote. Spin's verifiers end with an exit status of
// their own when they have found something, so it is not looked at for them.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && (name != "./pan" || ctx.Err() != nil) {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}
