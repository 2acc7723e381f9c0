package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An instance is a process of the program, with the lines that it prints.
type instance struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // closed at its end
}

func start(t *testing.T, program string, args ...string) *instance {
	t.Helper()
	i := &instance{t: t, cmd: exec.Command(program, args...), lines: make(chan string, 1000)}
	i.cmd.Stderr = t.Output()
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.cmd.Process.Kill()
		i.cmd.Wait()
	})
	go func() {
		defer close(i.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			i.lines <- s.Text()
		}
	}()
	return i
}

// await waits for a line with a beginning, and returns the rest of it.
func (i *instance) await(beginning string) string {
	i.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case line, ok := <-i.lines:
			if rest, found := strings.CutPrefix(line, beginning); found {
				return rest
			}
			if !ok {
				i.t.Fatalf("the program has ended without %q", beginning)
			}
		case <-limit:
			i.t.Fatalf("the program has not printed %q", beginning)
		}
	}
}

// TestElects: one of two instances works. When it is killed, the other works, under a
// later term. On SIGTERM that one stops its work before it ends.
func TestElects(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "embedding")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	a := start(t, program, "-port", "0")
	b := start(t, program, "-port", "0", "-seeds", a.await("listening at "))

	// The one that has been there longer leads.
	var first, second uint64
	fmt.Sscan(a.await("leading, term "), &first)
	a.await("working: 1")
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.cmd.Wait()
	fmt.Sscan(b.await("leading, term "), &second)
	if first == 0 || second <= first {
		t.Errorf("got terms %d and then %d, want them to rise", first, second)
	}

	b.cmd.Process.Signal(syscall.SIGTERM)
	b.await("leading no more, term ")
	for range b.lines {
	}
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
}
