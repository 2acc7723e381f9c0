package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var flagMutants = flag.Duration("sim.mutants", 0, "break the core on purpose in every way listed, and look for a violation this long each")

// mutant is one way to break the protocol: texts of the core to replace. Each
// must stand once in its file, so that a change of the core cannot turn a
// mutant into nothing.
type mutant struct {
	name, mode string
	edits      []edit
}

type edit struct{ file, old, new string }

// noAssertion takes the core's own alarm away, so that the checkers must see
// what it would have seen.
var noAssertion = edit{"leading.go", `panic("seniority: a leader's own vote is not its own")`,
	"c.claim.renewAt = now.Boot + c.timing.Renewal\n		return"}

// mutants are all the ways. What is broken in one place only and has a second
// protection is broken in both.
var mutants = []mutant{
	{"no start-up abstention", "quorum", []edit{
		{"voter.go", "v.abstainTill = now.Boot + Drifted(v.abstained)", "v.abstained = 0"}}},
	{"a voter that knows nothing of its last run abstains for its own lease only", "quorum", []edit{
		{"voter.go", "		kept = LongestLease()", "		kept = own"}}},
	{"a voter abstains for its own lease, not for the one its last run promised", "quorum", []edit{
		{"voter.go", "v.abstained = max(own, kept)", "v.abstained = own"}}},
	{"a leader hands over to a member that does not answer, and waits for it", "quorum", []edit{
		{"handover.go", "return now.Boot-c.electorate.confirmedBy(name) <= c.timing.Lease", "return true"},
		{"follower.go", "c.handedTill = now.Boot + 2*c.timing.Confirm", "c.handedTill = 0"}}},
	{"a successor that says nothing is not passed over", "available", []edit{
		{"follower.go", "c.handedTill = now.Boot + 2*c.timing.Confirm", "c.handedTill = 0"}}},
	{"no stickiness: a running promise to another does not refuse", "quorum", []edit{
		{"voter.go", "case v.running(now) && !mine:", "case !mine && false:"},
		noAssertion}},
	{"no early step-down: it leads until the promises end", "quorum", []edit{
		{"quorum.go", "return end - e.core.timing.ReleaseBudget, end", "return end + e.core.timing.ReleaseBudget/2, end + e.core.timing.ReleaseBudget/2"}}},
	{"the lease counts from the receipt of a confirm, not from sending", "quorum", []edit{
		{"claimant.go", "b.confirmed = max(b.confirmed, sent)", "b.confirmed = now.Boot"}}},
	{"the leader's own vote is no promise", "quorum", []edit{
		{"claimant.go", "	c.grant(now, &c.own)\n	c.claim.ballots", "	c.claim.ballots"},
		{"claimant.go", "	if r := c.judge(now, &c.own); r != None {\n		return false\n	}\n", ""}}},
	{"terms are not spent: late confirms of an abandoned claim count", "quorum", []edit{
		{"claimant.go", "case !cl.live || m.Term != cl.term && m.Term != cl.asked:", "case false:"},
		{"claimant.go", "case cl.sent[m.Seq%sentRing].seq != m.Seq || m.Lease != c.timing.Lease:", "case false:"}}},
	{"a refused claim raises the floor", "quorum", []edit{
		noAssertion,
		{"voter.go", "	case r != None:\n		c.object(now, m, r)", "	case r != None:\n		c.voter.floor = max(c.voter.floor, m.Term)\n		c.object(now, m, r)"},
		{"voter.go", "	if v.promisedTo(m.From, m.Incarnation, m.Term) {\n		return None", "	if v.promisedTo(m.From, m.Incarnation, m.Term) && m.Term >= v.floor {\n		return None"}}},
	{"no compare-and-swap between agent and keeper", "quorum", []edit{
		{"sim/host.go", "case s.Leading && wd.state == fired && wd.term == s.Term:", "case false:"}}},
	{"a promise ends before the lease does", "quorum", []edit{
		{"voter.go", "now.Boot+Drifted(m.Lease)", "now.Boot+m.Lease*9/10"}}},
	{"half the votes suffice", "quorum", []edit{
		{"quorum.go", "need := len(list)/2 + 1", "need := (len(list) + 1) / 2"}}},
	{"no double majority while the list of voters changes", "quorum", []edit{
		{"quorum.go", "!b.granted || b.term < term || same(b.voters, e.core.cfg.Voters)", "true"}}},
	{"a hand-over lets the successor in before release has ended", "quorum", []edit{
		{"handover.go", "	c.ask(now, Leaving)\n	c.claim.renewAt = c.nextRenewal(now)\n}", "	c.released(now, c.releasing)\n}"}}},
	{"a voter gives its vote to a claimant whose log is behind", "quorum", []edit{
		{"voter.go", "m.Stand == Asking && c.refusesLog(now, m):", "m.Stand == Asking && false:"}}},
	{"a claimant without answers claims on and on", "graphs", []edit{
		{"claimant.go", "backoff = c.reach.lose(now, c.timing.Lease)", "backoff = 0"}}},
	{"another's release ends a claimant's wait", "graphs", []edit{
		{"claimant.go", "	c.retryAt = now.Boot + backoff", "	c.waitFrom = now.Boot + backoff"}}},
	{"the lead goes to a preferred member that reaches no majority", "graphs", []edit{
		{"handover.go", "|| known && !can,", "|| known && !can && false,"},
		{"handover.go", "	case !known && !c.reach.inVain(now, c.timing.Lease):", "	case !known && false:"}}},
	{"a member claims while its release runs, or without what a leader needs", "graphs", []edit{
		{"view.go", "	fit := c.unfit == None || c.unfit == Unhealthy && c.mustLead\n", ""},
		{"view.go", "fit && c.releasing == 0 && ", ""}}},
	{"one that stands aside never leads while others are there", "graphs", []edit{
		{"claimant.go", "ready = max(ready, c.vacant+lastResort*c.timing.Lease)", "return 0, false"}}},

	{"a claimant wins without asking", "available", []edit{
		{"available.go", "return granted == total || timeout && (", "return true || timeout && ("},
		{"available.go", "	if !timeout && len(e.core.claim.ballots) < e.core.view.voting-1 {", "	if false {"}}},
	{"a preferred member is let in while another leads that it may not win against", "scenario", []edit{
		{"merging.go", "func (c *Core) hearsOther(now Now) { c.otherTill = now.Boot + silentLeases*c.timing.Lease }", "func (c *Core) hearsOther(Now) {}"}}},
	{"two leaders that meet both stay", "available", []edit{
		{"merging.go", "	case LeadsToo:\n		c.decide(now, m)\n", ""}}},
	{"the shorter leadership stays", "available", []edit{
		{"merging.go", "!stands && c.outdoneBy(m)", "!stands && !c.outdoneBy(m)"}}},
	{"the silence of a leader is never noticed", "available", []edit{
		{"follower.go", "		until: until, direct: direct,\n", "		until: until + 1000*time.Hour, direct: direct,\n"}}},
	{"a voter that has just started does not follow a leader that asks for its vote", "scenario", []edit{
		{"voter.go", "		if !c.led.heard(m) {", "		if false {"}}},
	{"terms may fall", "scenario", []edit{
		{"voter.go", "	case r == None && m.Stand == Leading && m.Term < c.shownTerm && c.electorate.merges():", "	case false:"},
		{"voter.go", "case m.Stand == Leading && m.Term >= c.shownTerm:", "case m.Stand == Leading:"}}},
	{"a leader never raises its term", "available", []edit{
		{"merging.go", "	if m.Reason == StaleTerm && m.Known >= c.claim.asked {", "	if false {"}}},
	{"a preferred member is never let in", "available", []edit{
		{"handover.go", "	if now.Boot >= due {\n		c.handOver", "	if false {\n		c.handOver"}}},
	{"a leader that stands aside goes on although another may lead", "available", []edit{
		{"fitness.go", "	case c.asideUntil != 0:\n		return StoodAside", "	case false:\n		return StoodAside"}}},
	{"a member that stands aside does not lead even if no other is left", "quorum", []edit{
		{"view.go", "return !c.self.Eligible && !c.mustLead && slices", "return !c.self.Eligible || slices"}}},
	{"elections pile up where they are", "elections", []edit{
		{"placement.go", "		to, gap := none, 1\n", "		to, gap := none, 1000\n"}}},
	{"elections are placed anew each time", "elections", []edit{
		{"placement.go", "			if name == home {", "			if name == home && false {"}}},
	{"preferred members are passed over", "elections", []edit{
		{"placement.go", "			if slices.Contains(p.Candidates, name) {", "			if false {"}}},
	{"the elections of a dead member go to one other", "elections", []edit{
		{"placement.go", "			e.second = after.byName[i].first", "			e.second = after.byName[0*i].first"}}},
	{"a leader that hears no answer does not say so", "available", []edit{
		{"deaf.go", "return c.silence >= c.timing.deafAfter() && c.electorate.merges()", "return false"}}},
	{"a suspect stays one for ever", "available", []edit{
		{"view.go", "	delete(c.suspects, m.From)", "	_ = m"},
		{"follower.go", "			delete(c.suspects, name)", "			_ = name"}}},
	{"members without a vote are counted against the voters, some of which may be gone", "quorum", []edit{
		{"quorum.go", "e.asked has voters that are not in the view, too\n			return true", "\n			return len(e.core.view.members) > len(e.asked)+1"}}},
	{"members that get no renewals hear nothing", "available", []edit{
		{"leading.go", "		if c.electorate.unreached(now) {", "		if false {"}}},
}

// TestMutants breaks the core in every way listed and expects the checkers to
// notice. It needs -sim.mutants, the time allowed for each; without it it looks only that
// each text to break is still there, so that no mutant turns into nothing.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			overlay := m.overlay(t)
			if *flagMutants == 0 {
				return
			}
			began := time.Now()
			out, err := m.run(overlay)
			took := time.Since(began).Round(100 * time.Millisecond)
			if err == nil {
				t.Fatalf("not noticed in %v", *flagMutants)
			}
			what, ok := firstViolation(out)
			if !ok {
				t.Fatalf("the mutant failed otherwise: %v\n%s", err, out)
			}
			t.Logf("noticed after %v: %s", took, what)
		})
	}
}

// overlay writes the broken files and the list of them that the go command reads.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	replace := map[string]string{}
	for i, e := range m.edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := texts[path]; !ok {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(src)
			replace[path] = filepath.Join(dir, fmt.Sprintf("broken%d.go", i))
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			t.Fatalf("the text to break stands %d times in %s", n, e.file)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
		if err := os.WriteFile(replace[path], []byte(texts[path]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// run runs the simulator over broken copies of the core's files, or the core's scenarios
// if seeds hardly ever come to what is broken.
func (m mutant) run(overlay string) (string, error) {
	run, limits, dir := "TestAvailableMode", []string{"-sim.failures=1", "-sim.for", flagMutants.String()}, "."
	switch m.mode {
	case "scenario":
		run, limits, dir = "TestScenario", nil, ".."
	case "quorum":
		run = "TestQuorumMode"
	case "graphs":
		run = "TestStandingTopologies"
	case "elections":
		run = "TestElections"
	}
	cmd := exec.Command("go", append([]string{"test", "-vet=off", "-overlay", overlay, "-run", "^" + run + "$", dir}, limits...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// firstViolation finds the line in which a checker, a scenario, or the core itself, says
// what is wrong.
func firstViolation(out string) (string, bool) {
	for line := range strings.Lines(out) {
		for _, sign := range []string{" mode, seed ", "panic: seed ", "want at most ", "--- FAIL: TestScenario/"} {
			if strings.Contains(line, sign) {
				return strings.TrimSpace(line), true
			}
		}
	}
	return "", false
}
