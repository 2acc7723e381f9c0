//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a leader runs in the trials of commands: a tree of processes that do not end
// by themselves. Each writes into one file, which all hosts share. A line is one
// write to a file that is open for appending, so the file has them in the order in
// which they were written, on no clock.
const (
	treeCommand = `#!/bin/bash
dir=${0%/*}
note() { echo "${EPOCHREALTIME/[.,]/} $DOYEN_NODE $DOYEN_TERM $1 command" >>"$dir/runs"; }
note start
trap 'note stop; exit 0' TERM
set -- "$dir/leaf" "$DOYEN_NODE" "$DOYEN_TERM"
"$@" child 1 &
setsid "$@" session 1 &
(env -i setsid "$@" orphan 1 &)
if [ -e "$dir/crash-$DOYEN_NODE" ]; then
	note crash
	exit 3
fi
exec 9<> <(:)
while :; do
	note beat
	read -rt 0.05 -u 9
done
`
	// A leaf ignores what asks it to end. The first generation starts a second.
	treeLeaf = `#!/bin/bash
trap '' TERM HUP INT
if [ "$4" = 1 ]; then
	"$0" "$1" "$2" "$3" 2 &
fi
exec 9<> <(:)
while :; do
	echo "${EPOCHREALTIME/[.,]/} $1 $2 beat $3-$4" >>"${0%/*}/runs"
	read -rt 0.05 -u 9
done
`
	treeLeaves = 6
	// scanEvery is how often the table of processes is read.
	scanEvery = 15 * time.Millisecond
)

// writeTree writes the programs and returns the command line for a host.
func writeTree(t *testing.T, dir string) (command string) {
	t.Helper()
	for name, text := range map[string]string{"command": treeCommand, "leaf": treeLeaf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "command")
}

// treeProcess is a process of a tree. It is sure to have lived from first to last.
type treeProcess struct {
	pid         int
	node, what  string
	term        uint64 // 0: not known, of the command itself
	first, last time.Duration
	dead        time.Duration // when it was first found missing; 0: it was not
}

func (p *treeProcess) String() string {
	return fmt.Sprintf("%s %s (%d) of term %d", p.node, p.what, p.pid, p.term)
}

// processTable is the processes of all trees of a sandbox, as /proc shows them.
type processTable struct {
	dir  string
	mu   sync.Mutex
	live map[int]*treeProcess
	all  []*treeProcess // those that have lived in this round
}

// run reads the table until ctx ends.
func (p *processTable) run(ctx context.Context) {
	for sleep(ctx, scanEvery) == nil {
		p.scan()
	}
}

func (p *processTable) scan() {
	began := now()
	found := map[int]*treeProcess{}
	for _, pid := range processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if x := treeProcessOf(p.dir, line); x != nil {
			x.pid, x.first, x.last = pid, now(), began
			found[pid] = x
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid, old := range p.live {
		if x := found[pid]; x != nil && x.node == old.node && x.what == old.what && x.term == old.term {
			old.last = began
			found[pid] = old
		} else {
			old.dead = now()
		}
	}
	for pid, x := range found {
		if p.live[pid] != x {
			p.all = append(p.all, x)
		}
	}
	p.live = found
}

// treeProcessOf tells from its command line what a process is; nil: none of a tree.
// The agent's own command line has the command as well, behind all flags.
func treeProcessOf(dir string, line []byte) *treeProcess {
	var args []string
	for _, arg := range bytes.Split(line, []byte{0}) {
		args = append(args, string(arg))
	}
	const deepest = 3 // as in env -i setsid LEAF
	for i, arg := range args[:min(len(args), deepest+1)] {
		rest := args[i+1:]
		switch {
		case arg == filepath.Join(dir, "command") && len(rest) > 0:
			return &treeProcess{node: rest[0], what: "command"}
		case arg == filepath.Join(dir, "leaf") && len(rest) > 3:
			term, _ := strconv.ParseUint(rest[1], 10, 64)
			return &treeProcess{node: rest[0], term: term, what: rest[2] + "-" + rest[3]}
		}
	}
	return nil
}

// forget forgets those that are dead.
func (p *processTable) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, func(x *treeProcess) bool { return x.dead != 0 })
}

// processes returns copies of those that have lived in this round, on a node; "": any.
func (p *processTable) processes(node string) (list []treeProcess) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.all {
		if node == "" || x.node == node {
			list = append(list, *x)
		}
	}
	return list
}

// alive returns those that live now, on a node.
func (p *processTable) alive(node string) []treeProcess {
	return slices.DeleteFunc(p.processes(node), func(x treeProcess) bool { return x.dead != 0 })
}

// whole returns the term of the tree that lives whole on a node.
func (p *processTable) whole(node string) (term uint64, ok bool) {
	kinds := map[uint64]map[string]bool{}
	for _, x := range p.alive(node) {
		if x.term == 0 {
			continue
		}
		if kinds[x.term] == nil {
			kinds[x.term] = map[string]bool{}
		}
		kinds[x.term][x.what] = true
	}
	for term, of := range kinds {
		if len(of) == treeLeaves {
			return term, true
		}
	}
	return 0, false
}

// treeLine is a line of the file that all trees write into.
type treeLine struct {
	at         time.Duration // on the wall clock
	node, text string
	term       uint64
}

// treeLines returns the lines in the order in which they were written.
func treeLines(t *testing.T, text string) (list []treeLine) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if len(f) != 5 {
			t.Fatalf("a tree wrote %q", line)
		}
		micro, err := strconv.ParseInt(f[0], 10, 64)
		term, termErr := strconv.ParseUint(f[2], 10, 64)
		if err != nil || termErr != nil {
			t.Fatalf("a tree wrote %q", line)
		}
		list = append(list, treeLine{time.UnixMicro(micro).Sub(epoch.Round(0)), f[1], f[3] + " " + f[4], term})
	}
	return list
}

// stale returns the first line of a tree that wrote after one of a higher term had
// started: on any node, or with alike on the same node.
func stale(lines []treeLine, alike bool) (old, since treeLine, found bool) {
	newest := map[string]treeLine{}
	for _, x := range lines {
		key := ""
		if alike {
			key = x.node
		}
		if n := newest[key]; x.term < n.term {
			return x, n, true
		} else if x.term > n.term {
			newest[key] = x
		}
	}
	return treeLine{}, treeLine{}, false
}
