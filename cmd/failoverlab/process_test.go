//go:build linux

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"doyen/cmd/internal/testrun"
)

// labAgent is the binary of all tests with agents on hosts.
var labAgent = flag.String("lab.agent", "", "the agent's binary; built if not given")

func TestMain(m *testing.M) {
	// With the race detector a test of hosts takes a third of a core. On two cores three
	// leave room for the package that runs beside this one; six are late by themselves.
	const together = "3"
	flag.Set("test.parallel", together) // a given flag overrides it
	flag.Parse()
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is the agent that the tests of this process have built.
var built struct {
	sync.Mutex
	dir string
}

// theAgent returns the path of the agent's binary.
func theAgent(t *testing.T) string {
	t.Helper()
	if *labAgent != "" {
		return *labAgent
	}
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "failoverlab")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := exec.Command("go", "build", "-o", filepath.Join(dir, "agent"), "../agent").CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			t.Fatalf("building the agent: %v\n%s", err, text)
		}
		built.dir = dir
	}
	return filepath.Join(built.dir, "agent")
}

// againInSandbox runs this test, or subtest, in a sandbox of its own, with the
// flags whose names begin with prefix. What runs there goes first: the tests are about the
// faults that they cause, not about a host without CPU.
func againInSandbox(t *testing.T, prefix string) {
	args := []string{"-test.run=^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.v", "-test.timeout=0"}
	flag.Visit(func(f *flag.Flag) {
		if strings.HasPrefix(f.Name, prefix) {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	args = append(args, "-lab.agent="+theAgent(t))
	cmd := sandboxed(args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	err := testrun.First(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("in the sandbox: %v", err)
	}
}
