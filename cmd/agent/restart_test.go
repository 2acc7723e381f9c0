package main

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
	"doyen/cmd/internal/testrun"
)

// A follower that restarts, in good order or after a kill, takes nothing from the leader
// although it keeps its terms on disk: the term stays, and so does a command under agent
// exec, whose DOYEN_TERM that is.
func TestRestartOfAFollowerDisturbsNothing(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	for i, n := range g.nodes {
		n.args = append(n.args, "--state-dir", filepath.Join(g.dir, fmt.Sprint("state", i)))
	}
	g.start("--voters", "seeds", "--lease", "3s")
	leader := g.nodes[0]
	g.checkLeader(leader, g.nodes...)
	term := leader.state().Term
	job := exec.Command(g.exe, "exec", "--addr", leader.name, "--", "sleep", "1000")
	job.Stderr = t.Output()
	if err := testrun.First(job.Start); err != nil { // as the agents are started
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- job.Wait() }()
	t.Cleanup(func() { job.Process.Kill() })
	for _, n := range g.nodes[1:] {
		for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			n.signal(how)
			n.wait()
			n.start("--voters", "seeds", "--lease", "3s")
			g.eventually(func() error { // it votes again
				if r := n.readiness(); !r.Ready {
					return fmt.Errorf("%s after %v: want it ready, got %v", n.name, how, r.Reasons)
				}
				return nil
			})
		}
	}
	if s := leader.state(); !s.IsLeader || s.Term != term {
		t.Errorf("want %s leading under term %d, got %v under %d", leader.name, term, s.IsLeader, s.Term)
	}
	select {
	case err := <-ended:
		t.Errorf("the command under agent exec has ended: %v", err)
	default:
	}
}

// readiness is what the agent says of its own.
func (n *node) readiness() (r agent.Readiness) {
	n.get("/ready", &r, http.StatusServiceUnavailable)
	return r
}

// A member whose --voters were forgotten does not lead beside a group of quorum mode; and
// one that leads ends that when the others become one.
func TestMemberWithoutVotersBesideAQuorum(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 4)
	last := g.nodes[3]
	last.start("--lone-wait", "0s")
	g.checkLeader(last, last)
	for _, n := range g.nodes[:3] {
		n.start("--voters", strings.Join(g.names()[:3], ","))
	}
	g.eventually(func() error {
		for _, n := range g.nodes[:3] {
			if n.state().IsLeader {
				return nil
			}
		}
		return errors.New("no voter leads")
	})
	stays := func() {
		t.Helper()
		if s := last.state(); s.IsLeader || s.Eligible {
			t.Errorf("want %s neither leading nor eligible, got %v and %v", last.name, s.IsLeader, s.Eligible)
		}
	}
	stays()
	if line := lineWith(last.log(), "this member leads no more"); !strings.Contains(line, "wrong-electorate") || !strings.Contains(line, "has no --voters") {
		t.Errorf("the log does not say why it leads no more: %q", line)
	}
	last.signal(syscall.SIGTERM)
	last.wait()
	wins, findings := last.wins(), strings.Count(last.log(), "mode-differs")
	last.start()
	g.eventually(func() error {
		if n := strings.Count(last.log(), "mode-differs") - findings; n < 3 {
			return fmt.Errorf("it tells of %d members of another mode, want 3", n)
		}
		return nil
	})
	stays()
	if n := last.wins() - wins; n != 0 {
		t.Errorf("it has won %d times beside the leader of the voters", n)
	}
}
