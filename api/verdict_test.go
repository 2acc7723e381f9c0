package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// surveyed is when the members of the tests answered.
var surveyed = time.Unix(1_700_000_000, 0)

// group builds the evidence of a survey, from the healthy group a, b, c that a
// leads and asks.
type group struct{ *evidence }

func newGroup() group {
	g := group{&evidence{replies: map[string]reply{}, began: surveyed, ended: surveyed.Add(10 * time.Millisecond)}}
	for i, name := range []string{"a", "b", "c"} {
		g.replies[name] = reply{state: new(healthy(name)), udp: true}
		g.members = append(g.members, agent.MemberInfo{Name: name, Addr: name + ":4000", Rank: i + 1, Alive: true})
	}
	g.state = healthy("a")
	return g
}

// of changes the states of members; the asker's own is kept the same.
func (g group) of(names string, change func(*agent.State)) group {
	for _, name := range strings.Fields(names) {
		change(g.replies[name].state)
	}
	g.state = *g.replies["a"].state
	return g
}

// silent makes members give no answer.
func (g group) silent(names string) group {
	for _, name := range strings.Fields(names) {
		g.replies[name] = reply{err: "no answer within 2s"}
	}
	return g
}

func follows(leader string, term uint64) func(*agent.State) {
	return func(s *agent.State) {
		s.Leader, s.Term, s.IsLeader = new(leader), term, s.Name == leader
		s.Phase = "following"
		if s.IsLeader {
			s.Phase = "holding"
		}
	}
}

func follower(phase string) func(*agent.State) {
	return func(s *agent.State) { s.Leader, s.IsLeader, s.Phase = nil, false, phase }
}

func quorum(s *agent.State) { s.Mode, s.Voters = "quorum", []string{"a", "b", "c"} }

func TestJudge(t *testing.T) {
	tests := []struct {
		name   string
		group  group
		status string
		leader string   // "" for null
		finds  []string // "what member": every finding that needs a hand
		notes  []string // "what member": every other
		says   []string // parts of some finding's evidence or advice
	}{{
		name: "healthy in available mode", group: newGroup(),
		status: agreed, leader: "a", notes: []string{"split-possible "}, says: []string{"--voters", "a, b and c"},
	}, {
		name: "healthy in quorum mode", group: newGroup().of("a b c", quorum),
		status: agreed, leader: "a",
	}, {
		name:   "two leaders, each with its own followers",
		group:  newGroup().of("b c", follows("b", 8)).of("b c", func(s *agent.State) { s.Members = []string{"b", "c"} }),
		status: twoLeaders,
		finds:  []string{"two-leaders a", "two-leaders b", "views-differ a"},
		notes:  []string{"split-possible "},
		says:   []string{"a says that it leads, in term 7; nobody else that answered names it; its members are a, b and c", "in term 8; c names it; its members are b and c"},
	}, {
		name:   "two leaders in quorum mode",
		group:  newGroup().of("b", follows("b", 8)).of("a b c", quorum),
		status: twoLeaders, finds: []string{"two-leaders a", "two-leaders b"}, says: []string{"stop one of them"},
	}, {
		name:   "two leaders while one is being elected",
		group:  newGroup().of("b", follows("b", 8)).of("c", func(s *agent.State) { s.Electing = true }),
		status: twoLeaders, finds: []string{"two-leaders a", "two-leaders b"}, notes: []string{"split-possible "},
		says: []string{"may be from before and after it: ask again"},
	}, {
		name:   "one follows another",
		group:  newGroup().of("c", follows("x", 5)),
		status: disagreed, leader: "a", finds: []string{"disagreement c"}, notes: []string{"split-possible "},
		says: []string{"a and b name a; c names x, in term 5"},
	}, {
		name:   "one follows nobody",
		group:  newGroup().of("c", follower("waiting")),
		status: disagreed, leader: "a", finds: []string{"disagreement c"}, notes: []string{"split-possible "},
		says: []string{"c names nobody (it waits for its turn in an election)"},
	}, {
		name:   "the leader does not know that it leads",
		group:  newGroup().of("a", follower("following")),
		status: disagreed, finds: []string{"disagreement a"}, notes: []string{"split-possible "},
		says: []string{"b and c name a, which itself says that it does not lead"},
	}, {
		name:   "the leader hands over and others have not heard",
		group:  newGroup().of("a", follower("yielding")),
		status: noLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"a is handing over"},
	}, {
		name:   "the successor leads and the last leader still yields",
		group:  newGroup().of("b c", follows("b", 8)).of("a", follower("yielding")),
		status: disagreed, leader: "b", finds: []string{"disagreement a"}, notes: []string{"split-possible "}, says: []string{"a is still handing over"},
	}, {
		name:   "an election is under way",
		group:  newGroup().of("a b c", follower("waiting")).of("a b c", func(s *agent.State) { s.Electing = true }).of("b", func(s *agent.State) { s.Phase = "claiming" }),
		status: noLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"an election is under way; b stands"},
	}, {
		name:   "an election that nobody has claimed yet",
		group:  newGroup().of("a b c", follower("waiting")).of("a b c", func(s *agent.State) { s.Electing = true }).of("c", func(s *agent.State) { s.Role = "witness" }),
		status: noLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"an election is under way; a and b stand"},
	}, {
		name:   "no leader and no election",
		group:  newGroup().of("a b c", follower("waiting")),
		status: noLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"no election is under way", "POST /election"},
	}, {
		name:   "nobody may lead",
		group:  newGroup().of("a b c", follower("following")).of("a", func(s *agent.State) { s.Role = "witness" }).of("b c", func(s *agent.State) { s.Eligible = false }),
		status: noLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"a has the role witness, b stands aside, c stands aside"},
	}, {
		name:   "no majority of the voters",
		group:  newGroup().of("a b c", quorum).of("a", follower("waiting")).silent("b c"),
		status: noLeader, finds: []string{"no-answer b", "no-answer c", "no-leader "},
		says: []string{"1 of 3 voters answered (a) and 2 must confirm a leader", "start b and c"},
	}, {
		name:   "a member does not answer",
		group:  newGroup().silent("c"),
		status: degraded, leader: "a", finds: []string{"no-answer c"}, notes: []string{"split-possible c"},
		says: []string{"no answer within 2s; a and b count it among the members", "c is not reached from here"},
	}, {
		name:   "the leader does not answer and is still named",
		group:  newGroup().of("a b c", follows("b", 8)).silent("b"),
		status: degraded, leader: "b", finds: []string{"no-answer b"}, notes: []string{"split-possible b"}, says: []string{"it is the leader that a and c name"},
	}, {
		name:   "the leader is known by hearsay",
		group:  newGroup().of("a b c", follows("x", 8)),
		status: degraded, leader: "x", finds: []string{"leader-unseen x"}, notes: []string{"split-possible "},
	}, {
		name: "a member was lost",
		group: func() group {
			g := newGroup()
			g.members = append(g.members, agent.MemberInfo{Name: "d"})
			return g
		}(),
		status: degraded, leader: "a", finds: []string{"lost d"}, notes: []string{"split-possible d"},
	}, {
		name:   "TCP blocked",
		group:  func() group { g := newGroup(); g.replies["b"] = reply{err: "refused", udp: true}; return g }(),
		status: degraded, leader: "a", finds: []string{"tcp-blocked b"}, notes: []string{"split-possible b"},
	}, {
		name:   "UDP blocked",
		group:  func() group { g := newGroup(); g.replies["b"] = reply{state: g.replies["b"].state}; return g }(),
		status: degraded, leader: "a", finds: []string{"udp-blocked b"}, notes: []string{"split-possible "},
	}, {
		name:   "only some see a member",
		group:  newGroup().of("b", func(s *agent.State) { s.Members = []string{"a", "b"} }),
		status: degraded, leader: "a", finds: []string{"views-differ c"}, notes: []string{"split-possible "},
		says: []string{"c is no member to b, but to others"},
	}, {
		name:   "one sees nobody",
		group:  newGroup().of("c", func(s *agent.State) { s.Members = []string{"c"} }),
		status: degraded, leader: "a", finds: []string{"views-differ c"}, notes: []string{"split-possible "},
		says: []string{"a and b are no member to c, but to others"},
	}, {
		name:   "a member that could not be asked is seen by some",
		group:  newGroup().of("b", func(s *agent.State) { s.Members = append(s.Members, "d") }),
		status: degraded, leader: "a", finds: []string{"views-differ d"}, notes: []string{"split-possible "},
	}, {
		name:   "a clock ahead",
		group:  newGroup().of("b", func(s *agent.State) { s.WallTime += 31_536_000 }),
		status: degraded, leader: "a", finds: []string{"clock-differs b"}, notes: []string{"split-possible "}, says: []string{"31536000.0 s ahead of the others'"},
	}, {
		name:   "the asker's clock behind",
		group:  newGroup().of("b c", func(s *agent.State) { s.WallTime += 10 }),
		status: degraded, leader: "a", finds: []string{"clock-differs a"}, notes: []string{"split-possible "}, says: []string{"10.0 s behind the others'"},
	}, {
		name:   "clocks within tolerance",
		group:  newGroup().of("b", func(s *agent.State) { s.WallTime += 1.9 }).of("c", func(s *agent.State) { s.WallTime -= 0.05 }),
		status: agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name: "clocks that a slow survey cannot tell apart",
		group: func() group {
			g := newGroup().of("b", func(s *agent.State) { s.WallTime += 5 })
			g.ended = g.began.Add(5 * time.Second)
			return g
		}(),
		status: agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name:   "a hook that failed",
		group:  newGroup().of("a", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "acquire", Exit: 3, Term: 7, Error: "no\x1bway"} }),
		status: degraded, leader: "a", finds: []string{"hook-failed a"}, notes: []string{"split-possible "}, says: []string{"acquire ended with exit status 3 in term 7: no\uFFFDway"},
	}, {
		name: "hooks that only ran",
		group: newGroup().of("a", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "check"} }).
			of("b", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "change", Exit: 1} }).
			of("c", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "release", Exit: -1, Running: true} }),
		status: agreed, leader: "a", notes: []string{"hook-failed b", "split-possible "},
	}, {
		name: "what members found themselves",
		group: newGroup().of("a b", func(s *agent.State) {
			s.Findings = []agent.Finding{{What: "seed-unreached", Member: "x:4000", Evidence: "refused", Degrades: true}}
		}).of("c", func(s *agent.State) { s.Findings = []agent.Finding{{What: "name-clash\n", Member: "c"}} }),
		status: degraded, leader: "a", finds: []string{"seed-unreached x:4000"}, notes: []string{"name-clash\uFFFD c", "split-possible "},
		says: []string{"refused (reported by a)"},
	}, {
		name:   "different rules",
		group:  newGroup().of("b", func(s *agent.State) { s.Rule = "bully" }),
		status: degraded, leader: "a", finds: []string{"rule-differs b"}, notes: []string{"split-possible "}, says: []string{"seniority: a and c; bully: b"},
	}, {
		name:   "different modes",
		group:  newGroup().of("c", quorum),
		status: degraded, leader: "a", finds: []string{"mode-differs c"}, notes: []string{"split-possible "},
	}, {
		name:   "different voters",
		group:  newGroup().of("a b c", quorum).of("b", func(s *agent.State) { s.Voters = []string{"a", "b", "c", "d"} }),
		status: degraded, leader: "a", finds: []string{"voters-differ b"}, says: []string{"a,b,c: a and c; a,b,c,d: b"},
	}, {
		name: "a voter that is no member",
		group: newGroup().of("a b c", func(s *agent.State) {
			s.Mode, s.Voters = "quorum", []string{"a:4000", "b:4000", "c", "d:4000"}
		}),
		status: degraded, leader: "a", finds: []string{"voter-missing d:4000"}, says: []string{"3 of 4 voters answered, 3 must confirm"},
	}, {
		name:   "nobody could succeed",
		group:  newGroup().of("b", func(s *agent.State) { s.Eligible = false }).of("c", func(s *agent.State) { s.Role = "witness" }),
		status: degraded, leader: "a", finds: []string{"no-successor a"}, notes: []string{"split-possible "},
	}, {
		name: "a member stands aside for maintenance",
		group: newGroup().of("b", func(s *agent.State) {
			s.Eligible, s.Findings = false, []agent.Finding{{What: "maintenance", Member: "b"}}
		}),
		status: agreed, leader: "a", notes: []string{"maintenance b", "split-possible "},
	}, {
		name:   "a rolling upgrade",
		group:  newGroup().of("b", func(s *agent.State) { s.Version = "2.0" }),
		status: agreed, leader: "a", notes: []string{"split-possible ", "versions-differ b"},
	}, {
		name:   "alone by design",
		group:  alone(follows("a", 7)),
		status: agreed, leader: "a",
	}, {
		name:   "alone and waiting",
		group:  alone(follower("waiting")),
		status: noLeader, finds: []string{"no-leader "}, says: []string{"--lone-wait"},
	}, {
		name: "nobody answers at all", group: group{&evidence{}},
		status: noLeader, finds: []string{"no-leader "}, says: []string{"no member answered"},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(tt.group.evidence)
			if v.Status != tt.status {
				t.Errorf("status: want %s, got %s", tt.status, v.Status)
			}
			if got := deref(v.Leader); got != tt.leader {
				t.Errorf("leader: want %q, got %q", tt.leader, got)
			}
			finds, notes, all := split(v.Findings)
			if !slices.Equal(tt.finds, finds) {
				t.Errorf("findings: want %q, got %q", tt.finds, finds)
			}
			if !slices.Equal(tt.notes, notes) {
				t.Errorf("notes: want %q, got %q", tt.notes, notes)
			}
			for _, part := range tt.says {
				if !strings.Contains(all, part) {
					t.Errorf("no finding says %q:\n%s", part, all)
				}
			}
		})
	}
}

// alone is the group of a single member.
func alone(change func(*agent.State)) group {
	g := newGroup()
	delete(g.replies, "b")
	delete(g.replies, "c")
	g.members = g.members[:1]
	return g.of("a", func(s *agent.State) { s.Members = []string{"a"} }).of("a", change)
}

// split sorts findings into those that need a hand, in the order of their
// words, and the others, and joins everything they say.
func split(found []agent.Finding) (finds, notes []string, all string) {
	for _, f := range found {
		if f.Degrades {
			finds = append(finds, f.What+" "+f.Member)
		} else {
			notes = append(notes, f.What+" "+f.Member)
		}
		all += fmt.Sprintf("%s %s: %s. %s.\n", f.What, f.Member, f.Evidence, f.Advice)
	}
	slices.Sort(finds)
	slices.Sort(notes)
	return finds, notes, all
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// TestJudgePutsWhatNeedsAHandFirst checks order and limits.
func TestJudgePutsWhatNeedsAHandFirst(t *testing.T) {
	g := newGroup().of("a", func(s *agent.State) {
		for i := range 2 * maxFindings {
			s.Findings = append(s.Findings, agent.Finding{What: fmt.Sprint("note-", i)})
		}
	})
	for i := range 2 * maxFindings {
		g.replies[fmt.Sprint("x", i)] = reply{err: "no answer"}
	}
	v := judge(g.evidence)
	if len(v.Findings) != maxFindings {
		t.Errorf("want %d findings, got %d", maxFindings, len(v.Findings))
	}
	if !slices.IsSortedFunc(v.Findings, func(a, b agent.Finding) int { return btoi(b.Degrades) - btoi(a.Degrades) }) {
		t.Error("a finding that needs no hand comes before one that does")
	}
}

// TestJudgeLimitsEachMember sees that one member cannot crowd out the rest.
func TestJudgeLimitsEachMember(t *testing.T) {
	g := newGroup().of("a b", func(s *agent.State) {
		for i := range maxFindings {
			s.Findings = append(s.Findings, agent.Finding{What: fmt.Sprint(s.Name, i)})
		}
	})
	_, notes, _ := split(judge(g.evidence).Findings)
	if want := 2*maxReported + 1; len(notes) != want { // and split-possible
		t.Errorf("want %d notes, got %d: %q", want, len(notes), notes)
	}
}

// TestJudgeIsDeterministic compares verdicts of the same evidence.
func TestJudgeIsDeterministic(t *testing.T) {
	g := newGroup().of("b", follows("b", 8)).of("c", follows("x", 9)).of("b", func(s *agent.State) { s.Rule = "bully" })
	want := fmt.Sprint(judge(g.evidence))
	for range 20 {
		if got := fmt.Sprint(judge(g.evidence)); got != want {
			t.Fatalf("want the same verdict each time:\n%s\n%s", want, got)
		}
	}
}

func TestList(t *testing.T) {
	names := strings.Fields("a b c d e f g h i j")
	for n, want := range map[int]string{0: "nobody", 1: "a", 2: "a and b", 8: "a, b, c, d, e, f, g and h", 9: "a, b, c, d, e, f, g, h and 1 other", 10: "a, b, c, d, e, f, g, h and 2 others"} {
		if got := list(names[:n]); got != want {
			t.Errorf("list of %d: want %q, got %q", n, want, got)
		}
	}
}
