package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// writeElections writes a configuration with these elections, and returns its path.
func (g *group) writeElections(names ...string) string {
	return g.secretFile("doyen.yaml", "elections: {"+strings.Join(names, ": {}, ")+": {}}\n")
}

// elections asks a node for them.
func (n *node) elections() (all map[string]agent.ElectionInfo, err error) {
	if !n.get("/elections", &all) {
		err = fmt.Errorf("%s does not answer", n.name)
	}
	return all, err
}

// Elections are spread over real processes; a reload that gains and loses one
// disturbs no other; and those of a member that is killed go on elsewhere.
func TestElectionsOverLoopback(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	path := g.writeElections("e1", "e2", "e3", "e4", "e5", "e6")
	for _, n := range g.nodes {
		n.args = append(n.args, "--config", path, "--rebalance-delay", "1s")
	}
	g.start(patient...)
	spread := func() error {
		for _, n := range g.nodes {
			all, err := n.elections()
			if err != nil {
				return err
			}
			led := 0
			for name, e := range all {
				if e.Self && name != agent.GroupElection {
					led++
				}
			}
			if led != 2 {
				return fmt.Errorf("%s leads %d elections, want 2", n.name, led)
			}
		}
		return nil
	}
	g.eventually(spread)

	before, err := g.nodes[0].elections()
	if err != nil {
		t.Fatal(err)
	}
	g.writeElections("e1", "e2", "e3", "e4", "e5", "extra")
	for _, n := range g.nodes {
		n.reload("read the log level again")
	}
	g.eventually(func() error {
		all, err := g.nodes[0].elections()
		if _, known := all["e6"]; err == nil && (all["extra"].Leader == nil || known) {
			err = fmt.Errorf("extra is led by no member, or e6 has not ended: %+v", all)
		}
		return err
	})
	g.eventually(func() error {
		if out, errOut, code := g.command("diag", "--election", "extra", "--addr", g.nodes[1].name); code != 0 || !strings.Contains(out, "agreed: ") || !strings.Contains(out, "CANDIDATE") {
			return fmt.Errorf("agent diag --election extra: got %d, %q, %q", code, out, errOut)
		}
		return nil
	})
	if out, errOut, code := g.command("status", "--election", "extra", "--addr", g.nodes[1].name); code != 0 || !strings.Contains(out, "extra") {
		t.Errorf("agent status --election extra: got %d, %q, %q", code, out, errOut)
	}
	g.eventually(func() error { // each member forgets an election by itself
		if out, errOut, code := g.command("diag", "--election", "e6", "--addr", g.nodes[1].name); code != exitFailed || !strings.Contains(errOut, "there is no election e6; there is e1, ") {
			return fmt.Errorf("agent diag --election e6: got %d, %q, %q", code, out, errOut)
		}
		return nil
	})
	after, err := g.nodes[0].elections()
	if err != nil {
		t.Fatal(err)
	}
	if was, is := before[agent.GroupElection], after[agent.GroupElection]; was.Term != is.Term {
		t.Errorf("the reload has disturbed the group's own election: term %d, was %d", is.Term, was.Term)
	}

	last := g.nodes[2]
	last.signal(syscall.SIGKILL)
	last.wait()
	g.eventually(func() error {
		all, err := g.nodes[0].elections()
		if err != nil {
			return err
		}
		for _, name := range []string{"e1", "e2", "e3", "e4", "e5", "extra"} {
			if l := all[name].Leader; l == nil || *l == last.name {
				return fmt.Errorf("%s is not led by a member that lives: %+v", name, all[name])
			}
		}
		return nil
	})
}
