package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wins is how many leaderships a member has won, by its log.
func (n *node) wins() int { return strings.Count(n.log(), `msg="this member leads" `) }

// TestMemberWithoutAKeeperWinsNothing kills the keeper of the member that the rule
// prefers next, lets the release of the one that replaces it take its time, and
// kills the leader: no deadline can be armed, so the third leads undisturbed.
func TestMemberWithoutAKeeperWinsNothing(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	third, next, leader := g.nodes[0], g.nodes[1], g.nodes[2]
	slow := filepath.Join(g.dir, "slow")
	also := "#!/bin/sh\n[ $1 = release ] && [ $DOYEN_NODE = " + next.name + " ] && while [ -e " + slow + " ]; do sleep 0.05; done\nexit 0\n"
	if err := os.WriteFile(filepath.Join(g.dir, "also"), []byte(also), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, n := range g.nodes {
		n.args = append(n.args, "--rule", "bully", "--id", strconv.Itoa(i+1), "--hook", g.hook(), "--hook-timeout", "20s")
	}
	g.start("--lease", "5s") // no busy machine lets it end
	g.checkLeader(leader, g.nodes...)
	if err := os.WriteFile(slow, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wins := next.wins()
	syscall.Kill(*next.state().KeeperPID, syscall.SIGKILL)
	g.eventually(func() error {
		if next.state().Eligible {
			return fmt.Errorf("want %s to be no candidate without a keeper", next.name)
		}
		return nil
	})
	leader.signal(syscall.SIGKILL)
	g.checkLeader(third, third, next)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if !third.state().IsLeader {
			t.Fatalf("want %s to lead undisturbed while %s has no keeper that is ready", third.name, next.name)
		}
	}
	if got := next.wins(); got != wins {
		t.Errorf("want no leadership won without a keeper, got %d", got-wins)
	}
	if err := os.Remove(slow); err != nil {
		t.Fatal(err)
	}
	g.checkLeader(next, third, next)
}
