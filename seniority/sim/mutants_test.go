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
var noAssertion = edit{"leader.go", `panic("seniority: a leader's own vote is not its own")`,
	"c.claim.renewAt = now.Boot + c.timing.Renewal\n		return"}

// mutants are all the ways. What is broken in one place only and has a second
// protection is broken in both.
var mutants = []mutant{
	{"no start-up abstention", "quorum", []edit{
		{"core.go", "c.voter.abstainTill = now.Boot + Drifted(c.voter.abstained)", "c.voter.abstained = 0"}}},
	{"no stickiness: a running promise to another does not refuse", "quorum", []edit{
		{"voter.go", "case v.running(now) && !mine:", "case !mine && false:"},
		noAssertion}},
	{"no early step-down: it leads until the promises end", "quorum", []edit{
		{"quorum.go", "return end - e.timing.ReleaseBudget, end", "return end + e.timing.ReleaseBudget/2, end + e.timing.ReleaseBudget/2"}}},
	{"the lease counts from the receipt of a confirm, not from sending", "quorum", []edit{
		{"claimant.go", "b.confirmed = max(b.confirmed, cl.sent[m.Seq%sentRing].at)", "b.confirmed = now.Boot"}}},
	{"the leader's own vote is no promise", "quorum", []edit{
		{"claimant.go", "	c.grant(now, &c.own)\n	c.claim.ballots", "	c.claim.ballots"},
		{"claimant.go", "	if r := c.judge(now, &c.own); r != None {\n		return false\n	}\n", ""}}},
	{"terms are not spent: late confirms of an abandoned claim count", "quorum", []edit{
		{"claimant.go", "case !cl.live || m.Term != cl.term && m.Term != cl.asked:", "case false:"},
		{"claimant.go", "case cl.sent[m.Seq%sentRing].seq != m.Seq || m.Lease != c.timing.Lease:", "case false:"}}},
	{"a refused claim raises the floor", "quorum", []edit{
		noAssertion,
		{"voter.go", "	if r != None {\n		c.object(now, m, r)", "	if r != None {\n		c.voter.floor = max(c.voter.floor, m.Term)\n		c.object(now, m, r)"},
		{"voter.go", "	if v.promisedTo(m.From, m.Incarnation, m.Term) {\n		return None", "	if v.promisedTo(m.From, m.Incarnation, m.Term) && m.Term >= v.floor {\n		return None"}}},
	{"no compare-and-swap between agent and keeper", "quorum", []edit{
		{"sim/host.go", "case s.Leading && wd.state == fired && wd.term == s.Term:", "case false:"}}},
	{"a promise ends before the lease does", "quorum", []edit{
		{"voter.go", "v.until = now.Boot + Drifted(m.Lease)", "v.until = now.Boot + m.Lease*9/10"}}},
	{"half the votes suffice", "quorum", []edit{
		{"quorum.go", "need := len(list)/2 + 1", "need := (len(list) + 1) / 2"}}},
	{"no double majority while the list of voters changes", "quorum", []edit{
		{"quorum.go", "!b.granted || b.term < term || same(b.voters, e.cfg.Voters)", "true"}}},
	{"a hand-over lets the successor in before release has ended", "quorum", []edit{
		{"leader.go", "	c.ask(now, Leaving)\n	c.claim.renewAt = now.Boot + c.timing.Renewal\n	return None", "	c.released(now, c.releasing)\n	return None"}}},

	{"a claimant wins without asking", "available", []edit{
		{"available.go", "	case 0:\n		return granted == total", "	case 0:\n		return true"}}},
	{"two leaders that meet both stay", "available", []edit{
		{"leader.go", "	case LeadsToo:\n		c.decide(now, m)\n", ""}}},
	{"the shorter leadership stays", "available", []edit{
		{"leader.go", "	if c.cfg.Rule.Prefer(&mine, &other) > 0 {", "	if c.cfg.Rule.Prefer(&mine, &other) < 0 {"}}},
	{"the silence of a leader is never noticed", "available", []edit{
		{"follower.go", "		until: until, direct: direct, said: *m,", "		until: until + 1000*time.Hour, direct: direct, said: *m,"}}},
	{"terms may fall", "available", []edit{
		{"voter.go", "	if r == None && m.Stand == Leading && m.Term < c.shownTerm && c.electorate.merges() {", "	if false {"},
		{"voter.go", "case m.Stand == Leading && m.Term >= c.shownTerm:", "case m.Stand == Leading:"}}},
	{"a leader never raises its term", "available", []edit{
		{"leader.go", "	if m.Reason == StaleTerm && m.Known >= c.claim.asked {", "	if false {"}}},
	{"a preferred member is never let in", "available", []edit{
		{"leader.go", "	if now.Boot >= due {\n		c.stepDown", "	if false {\n		c.stepDown"}}},
	{"a leader that stands aside goes on although another may lead", "available", []edit{
		{"leader.go", "	case c.asideUntil != 0:\n		return StoodAside", "	case false:\n		return StoodAside"}}},
	{"whoever stands aside does not lead even if nobody else is left", "quorum", []edit{
		{"view.go", "return c.self.Eligible || ", "return c.self.Eligible || false && "}}},
	{"a leader that hears nobody does not say so", "available", []edit{
		{"deaf.go", "return c.silence >= deafLeases*c.timing.Lease && c.electorate.merges()", "return false"}}},
	{"a suspect stays one for ever", "available", []edit{
		{"view.go", "	delete(c.suspects, m.From)", "	_ = m"}}},
	{"members that get no renewals hear nothing", "available", []edit{
		{"leader.go", "		if c.electorate.unreached(now) {", "		if false {"}}},
}

// TestMutants breaks the core in every way listed and expects the checkers to
// notice. It needs -sim.mutants, the time allowed for each.
func TestMutants(t *testing.T) {
	if *flagMutants == 0 {
		t.Skip("no -sim.mutants given")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			out, err := runMutant(t, m)
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

// runMutant runs the simulator over broken copies of the core's files.
func runMutant(t *testing.T, m mutant) (string, error) {
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
	run := "TestAvailableMode"
	if m.mode == "quorum" {
		run = "TestQuorumMode"
	}
	cmd := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-run", "^"+run+"$", ".", "-sim.failures=1", "-sim.for", flagMutants.String())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// firstViolation finds the line in which a checker, or the core itself, says
// what is wrong.
func firstViolation(out string) (string, bool) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, " mode, seed ") || strings.Contains(line, "panic: seed ") {
			return strings.TrimSpace(line), true
		}
	}
	return "", false
}
