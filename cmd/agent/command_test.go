package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// loggingCommand writes when it starts, with its term, and when it is told to end.
// It leaves two children to be found: one ignores SIGTERM in a session of its own,
// one has lost its parent and its environment.
const loggingCommand = `#!/bin/sh
dir=${0%/*}
trap 'echo "$DOYEN_NODE command end $DOYEN_TERM" >>$dir/events; exit 0' TERM
setsid sh -c "trap '' TERM; exec sleep 1000.1 $dir" 2>/dev/null &
env -i setsid sh -c "(sh -c 'exec sleep 1000.2 $dir' &) & exit" 2>/dev/null &
echo "$DOYEN_NODE command begin $DOYEN_TERM"
echo "$DOYEN_NODE command begin $DOYEN_TERM" >>$dir/events
while :; do sleep 0.05; done
`

func (g *group) commandFile(text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, "command.sh")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// TestCommandRunsWhereTheLeaderIs follows a command through a planned hand-over and
// the death of an agent: it runs on one member at a time.
func TestCommandRunsWhereTheLeaderIs(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	command := g.commandFile(loggingCommand)
	// When its agent is killed, the command has half of what is left of the lease to end.
	g.start("--voters", "seeds", "--lease", "6s", "--hook", g.hook(), "--", command)
	g.checkLeader(g.nodes[0], g.nodes...)
	g.runsOn(g.nodes[0])

	g.checkHeir(g.nodes[1], g.nodes...)
	if _, stderr, code := g.command("step-down", "--addr", g.nodes[0].name); code != 0 {
		t.Fatalf("step-down: %d, %s", code, stderr)
	}
	g.runsOn(g.nodes[1])
	g.checkLeader(g.nodes[1], g.nodes...)

	g.nodes[1].signal(syscall.SIGKILL)
	g.nodes[1].wait()
	g.nodes[1].cmd = nil
	g.eventually(func() error {
		if g.event(g.nodes[1].name+" release end leader-died") < 0 {
			return fmt.Errorf("the keeper of the dead has not released")
		}
		return nil
	})
	g.eventually(func() error {
		if g.event(g.nodes[2].name+" command begin") < 0 && g.event(g.nodes[0].name+" command begin") < g.event(g.nodes[1].name+" command begin") {
			return fmt.Errorf("no other runs the command")
		}
		return nil
	})
	// On each member: acquire, command, its end, release.
	for _, n := range g.nodes[:2] {
		var own []string
		for _, e := range g.events() {
			if fields := strings.Fields(e); fields[0] == n.name && fields[1] != "change" && fields[1] != "check" && fields[3] != "startup" {
				own = append(own, fields[1]+" "+fields[2])
			}
		}
		want := []string{"acquire begin", "acquire end", "command begin", "command end", "release begin", "release end"}
		if !slices.Equal(own[:min(len(want), len(own))], want) {
			t.Errorf("%s: want %q first, got %q", n.name, want, own)
		}
	}
}

// runsOn waits until the command runs on n, as n says.
func (g *group) runsOn(n *node) {
	g.t.Helper()
	g.eventually(func() error {
		c := n.state().Command
		if c == nil || c.PID == nil || g.event(n.name+" command begin") < 0 {
			return fmt.Errorf("%s: the command does not run: %+v", n.name, c)
		}
		return nil
	})
}

// TestCommandThatFailsMovesTheLead has a command that ends at once on the first
// member alone.
func TestCommandThatFailsMovesTheLead(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	command := g.commandFile("#!/bin/sh\n[ $DOYEN_NODE != " + g.nodes[0].name + " ] || exit 3\nwhile :; do sleep 0.05; done\n")
	g.start("--", command)
	g.checkLeader(g.nodes[1], g.nodes...)
	s := g.nodes[0].state()
	found := slices.ContainsFunc(s.Findings, func(f agent.Finding) bool { return f.What == "command-failing" && f.Degrades })
	g.eventually(func() error { // the leader's last word, which says why, may come late
		var past []agent.Leadership
		g.nodes[1].get("/history", &past)
		if !slices.ContainsFunc(past, func(l agent.Leadership) bool { return l.Leader == g.nodes[0].name && l.EndReason == "command-failed" }) {
			return fmt.Errorf("want a leadership of %s that ended as command-failed, got %+v", g.nodes[0].name, past)
		}
		return nil
	})
	if !found || s.Command == nil || s.Command.LastExit == nil || s.Command.LastExit.Exit != 3 {
		t.Errorf("want a finding and the exit status, got %+v and %+v", s.Findings, s.Command)
	}
}

func TestBadCommands(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(config, []byte("run: sleep 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string][]string{
		"followed by the command":   {"--"},
		"nowhere in PATH":           {"--", "doyen-no-such-program"},
		"is not there":              {"--", "/nonexistent/program"},
		"execut":                    {"--", plain},
		"run is not a list such as": {"--config", config},

		"--hook: " + dir + "/hook is not there":       {"--hook", dir + "/hook"},
		"--health: " + dir + "/health is not there":   {"--health", dir + "/health"},
		"--seeds: " + dir + "/seeds is not there":     {"--seeds", "exec:" + dir + "/seeds"},
		"store-restore: open " + dir + "/saved: no s": {"--store", "on", "--store-restore", dir + "/saved", "--voters", "127.0.0.1:1", "--state-dir", dir + "/state"},
	}
	if os.Geteuid() == 0 {
		theirs := filepath.Join(dir, "theirs")
		if err := os.WriteFile(theirs, []byte("#!/bin/sh\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(theirs, 0o777); err != nil {
			t.Fatal(err)
		}
		tests["can be written by others"] = []string{"--", theirs}
	}
	for want, args := range tests {
		for _, first := range [][]string{nil, {"validate"}} {
			_, stderr, code := command(t, slices.Concat(first, []string{"--bind-port", "0"}, args)...)
			last := strings.Split(strings.TrimSpace(stderr), "\n")
			if text := last[len(last)-1]; code != exitUsage || !strings.Contains(text, want) {
				t.Errorf("%q: want exit code 2 and a sentence with %q, got %d and %q", append(first, args...), want, code, stderr)
			}
		}
	}
}
