package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"doyen/agent/process"
)

// hostileFor is how long the agents are under hostile traffic; ten minutes
// shows what grows slowly.
var hostileFor = flag.Duration("hostile", 5*time.Second, "how long TestHostile sends hostile traffic")

// What hostile traffic may cost an agent.
const (
	hostileMemory = 10 << 20 // bytes more than before
	hostileLines  = 60       // of log a minute, and as many at once
)

// Three real processes are sent everything that a stranger on the network can
// send: no member loses the lead or is lost, health checks are answered, memory and
// logs stay small.
func TestHostile(t *testing.T) {
	for name, keys := range map[string]string{"plain": "", "encrypted": keyOf(1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile(t, keys)
		})
	}
}

func hostile(t *testing.T, keys string) {
	g := newGroup(t, 3)
	tap := newTap(t, g.nodes[0])
	args := append([]string{"--hook", ""}, patient...)
	if keys != "" {
		args = append(args, "--encrypt-key-file", g.secretFile("keys", keys))
	}
	g.start(args...)
	leader := g.nodes[0]
	g.checkLeader(leader, g.nodes...)
	g.checkHeir(g.nodes[1], g.nodes...)
	g.eventually(tap.enough)
	watch := newCalm(t, g.nodes...)
	before := memoryOf(t, g.nodes)
	began := time.Now()

	a := newAttack(t, g.nodes, tap, keys != "")
	var worst time.Duration
	most := make([]int64, len(g.nodes))
	checks, again, refused := 0, 0, 0
	for time.Since(began) < *hostileFor {
		time.Sleep(500 * time.Millisecond)
		asked := time.Now()
		// This client shares its host with the attack, and so its places: if it
		// says nothing for most of a second, it is taken for one of the silent.
		_, err := leader.client().get(t.Context(), "/is-leader", http.StatusOK)
		if err != nil {
			again++
			_, err = leader.client().get(t.Context(), "/is-leader", http.StatusOK)
		}
		if err != nil {
			refused++
			t.Logf("/is-leader on the leader under hostile traffic, asked twice: %v", err)
		}
		worst = max(worst, time.Since(asked))
		for i, bytes := range memoryOf(t, g.nodes) {
			most[i] = max(most[i], bytes-before[i])
		}
		checks++
	}
	a.stop()
	watch.check()
	minutes := 1 + time.Since(began).Minutes()
	for i, n := range g.nodes {
		lines := strings.Count(n.log(), "\n")
		t.Logf("%s: memory before %.1f MiB, at most %.1f MiB more; %d lines of log", n.name, mib(before[i]), mib(most[i]), lines)
		if most[i] > hostileMemory && len(buildFlags) == 0 {
			t.Errorf("%s: got %.1f MiB more memory, want %.1f at most", n.name, mib(most[i]), mib(hostileMemory))
		}
		if lines > int(hostileLines*minutes) {
			t.Errorf("%s: got %d lines of log in %.1f minutes, want %.0f at most", n.name, lines, minutes, hostileLines*minutes)
		}
		if strings.ContainsFunc(n.log(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0x9b || r == 0x202e }) {
			t.Errorf("%s: the log contains what acts on a terminal", n.name)
		}
	}
	t.Logf("%s; %d health checks, %d asked again, %d of these refused again, the slowest answered after %v",
		a, checks, again, refused, worst.Round(time.Millisecond))
	if refused > 1+checks/100 {
		t.Errorf("got %d of %d health checks refused twice, want one in a hundred at most", refused, checks)
	}
	for what, n := range a.sent {
		if n.Load() == 0 {
			t.Errorf("nothing was sent of: %s", what)
		}
	}
	// The finding about rubbish from this very host may stay for a minute.
	g.checkLeader(leader, g.nodes...)
	for _, n := range g.nodes {
		var d diagAnswer
		if !n.get("/diag", &d) || d.Verdict.Status != "agreed" && d.Verdict.Status != "degraded" {
			t.Errorf("%s: got the verdict %+v, want the members to agree", n.name, d.Verdict)
		}
		for name, s := range d.MemberStates {
			if s.Error != "" {
				t.Errorf("%s: got no answer of %s: %s", n.name, name, s.Error)
			}
		}
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// memoryOf is the memory of each agent and its keeper in bytes, what they share
// with others counted in part (PSS).
func memoryOf(t *testing.T, nodes []*node) []int64 {
	t.Helper()
	var all []int64
	for _, n := range nodes {
		sum := int64(0)
		for _, pid := range n.pids() {
			sum += pss(pid)
		}
		if sum == 0 {
			t.Fatalf("no memory of %s is known", n.name)
		}
		all = append(all, sum)
	}
	return all
}

// pids are the agent's process and those that it has started.
func (n *node) pids() []int {
	return append(process.Children(n.cmd.Process.Pid), n.cmd.Process.Pid)
}

func pss(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
