package diagnosis

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
type group struct{ *Evidence }

func newGroup() group {
	g := group{&Evidence{Replies: map[string]Reply{}, Began: surveyed, Ended: surveyed.Add(10 * time.Millisecond)}}
	for i, name := range []string{"a", "b", "c"} {
		g.Replies[name] = Reply{State: new(healthy(name)), UDP: true}
		g.Members = append(g.Members, agent.MemberInfo{Name: name, Addr: name + ":4000", Rank: i + 1, Alive: true, Voter: name})
	}
	g.Asker = healthy("a")
	return g
}

// of changes the states of members; the asker's own is kept the same.
func (g group) of(names string, change func(*agent.State)) group {
	for _, name := range strings.Fields(names) {
		change(g.Replies[name].State)
	}
	g.Asker = *g.Replies["a"].State
	return g
}

// silent makes members give no answer.
func (g group) silent(names string) group {
	for _, name := range strings.Fields(names) {
		g.Replies[name] = Reply{Err: "no answer within 2s"}
	}
	return g
}

// healthy is the state of one of a, b and c while a leads term 7.
func healthy(name string) agent.State {
	s := agent.State{
		Name: name, Addr: name + ":4000", Members: []string{"a", "b", "c"}, Leader: new("a"), Term: 7,
		Role: "candidate", Rule: "seniority", Mode: "available", Version: "1.0", Phase: "following",
		Eligible: true, WallTime: unix(surveyed), Findings: []agent.Finding{}, Addresses: []agent.AddressState{},
	}
	if name == "a" {
		s.IsLeader, s.Phase = true, "holding"
	}
	return s
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

// further adds a further election with the candidates b and c; "": it has no leader.
func further(election, leader string, term uint64) func(*agent.State) {
	return func(s *agent.State) {
		if s.Elections == nil {
			s.Elections = map[string]agent.ElectionInfo{"group": {Leader: new("none of its concern"), Self: true}}
		}
		e := agent.ElectionInfo{Term: term, Self: s.Name == leader, Candidates: []string{"b", "c"}}
		if leader != "" {
			e.Leader = new(leader)
		}
		s.Elections[election] = e
	}
}

func quorum(s *agent.State) { s.Mode, s.Voters = "quorum", []string{"a", "b", "c"} }

// voting tells which entry of voters each member is.
func (g group) voting(entries map[string]string) group {
	for i := range g.Members {
		g.Members[i].Voter = entries[g.Members[i].Name]
	}
	return g
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name   string
		group  group
		status string
		leader string   // "" for null
		finds  []string // "what member", "what member election": every finding that needs a hand
		notes  []string // "what member": every other
		says   []string // parts of some finding's evidence or advice
	}{{
		name: "healthy in available mode", group: newGroup(),
		status: Agreed, leader: "a", notes: []string{"split-possible "}, says: []string{"in available mode each side of a cut network elects a leader"},
	}, {
		name: "healthy in quorum mode", group: newGroup().of("a b c", quorum),
		status: Agreed, leader: "a",
	}, {
		name:   "two leaders, each with its own followers",
		group:  newGroup().of("b c", follows("b", 8)).of("b c", func(s *agent.State) { s.Members = []string{"b", "c"} }),
		status: TwoLeaders,
		finds:  []string{"two-leaders a", "two-leaders b", "views-differ a"},
		notes:  []string{"split-possible "},
		says:   []string{"a says that it leads, in term 7; no other member that answered names it; its members are a, b and c", "in term 8; c names it; its members are b and c"},
	}, {
		name:   "two leaders that do not hear each other, and share their members",
		group:  newGroup().of("b c", follows("b", 8)),
		status: TwoLeaders, finds: []string{"two-leaders a", "two-leaders b"}, notes: []string{"split-possible "},
		says: []string{"it knows b by way of others, and the two do not hear each other", "it knows a by way of others",
			"open between a and b in both directions, TCP and UDP: two leaders that hear each other settle"},
	}, {
		name:   "two leaders in quorum mode",
		group:  newGroup().of("b", follows("b", 8)).of("a b c", quorum),
		status: TwoLeaders, finds: []string{"two-leaders a", "two-leaders b"}, says: []string{"stop one of them"},
	}, {
		name:   "two leaders while one is being elected",
		group:  newGroup().of("b", follows("b", 8)).of("c", func(s *agent.State) { s.Electing = true }),
		status: TwoLeaders, finds: []string{"two-leaders a", "two-leaders b"}, notes: []string{"split-possible "},
		says: []string{"may be from before and after it: ask again"},
	}, {
		name:   "one follows another",
		group:  newGroup().of("c", follows("x", 5)),
		status: Disagreed, leader: "a", finds: []string{"disagreement c"}, notes: []string{"split-possible "},
		says: []string{"a and b name a; c names x, in term 5", "open between c and a in both directions"},
	}, {
		name:   "one follows another, and does not see a follower",
		group:  newGroup().of("c", follows("x", 5)).of("b", func(s *agent.State) { s.Members = []string{"a", "b"} }),
		status: Disagreed, leader: "a", finds: []string{"disagreement c", "views-differ c"}, notes: []string{"split-possible "},
		says: []string{"open between c and b in both directions"},
	}, {
		name:   "a leader that reaches no other",
		group:  newGroup().silent("b c"),
		status: Degraded, leader: "a", finds: []string{"no-answer b", "no-answer c", "split-possible a"},
		says: []string{"a leads alone; b and c are out of reach and may have a leader of their own"},
	}, {
		name: "a member that died",
		group: func() group {
			g := newGroup().silent("c")
			g.Members[2].Alive, g.Members[2].Died = false, true
			return g
		}(),
		status: Degraded, leader: "a", finds: []string{"died c"}, notes: []string{"split-possible "},
	}, {
		name: "a hook that was overtaken",
		group: newGroup().of("a", func(s *agent.State) {
			s.Hook = &agent.HookRun{Event: "acquire", Exit: -1, Error: "killed", Overtaken: true}
		}),
		status: Agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name:   "one follows no leader",
		group:  newGroup().of("c", follower("waiting")),
		status: Disagreed, leader: "a", finds: []string{"disagreement c"}, notes: []string{"split-possible "},
		says: []string{"c names no leader (it waits for its turn in an election)"},
	}, {
		name:   "the leader does not know that it leads",
		group:  newGroup().of("a", follower("following")),
		status: Disagreed, finds: []string{"disagreement a"}, notes: []string{"split-possible "},
		says: []string{"b and c name a, which itself says that it does not lead"},
	}, {
		name:   "the leader hands over and others have not heard",
		group:  newGroup().of("a", follower("yielding")),
		status: NoLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"a is handing over"},
	}, {
		name:   "the successor leads and the last leader still yields",
		group:  newGroup().of("b c", follows("b", 8)).of("a", follower("yielding")),
		status: Disagreed, leader: "b", finds: []string{"disagreement a"}, notes: []string{"split-possible "}, says: []string{"a is still handing over"},
	}, {
		name:   "an election is under way",
		group:  newGroup().of("a b c", follower("waiting")).of("a b c", func(s *agent.State) { s.Electing = true }).of("b", func(s *agent.State) { s.Phase = "claiming" }),
		status: NoLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"an election is under way; b stands"},
	}, {
		name:   "an election that no member has claimed yet",
		group:  newGroup().of("a b c", follower("waiting")).of("a b c", func(s *agent.State) { s.Electing = true }).of("c", func(s *agent.State) { s.Role = "witness" }),
		status: NoLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"an election is under way; a and b stand"},
	}, {
		name:   "no leader and no election",
		group:  newGroup().of("a b c", follower("waiting")),
		status: NoLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"no election is under way", "POST /election"},
	}, {
		name:   "no member may lead",
		group:  newGroup().of("a b c", follower("following")).of("a", func(s *agent.State) { s.Role = "witness" }).of("b c", func(s *agent.State) { s.Eligible = false }),
		status: NoLeader, finds: []string{"no-leader "}, notes: []string{"split-possible "}, says: []string{"a has the role witness, b stands aside, c stands aside"},
	}, {
		name:   "no majority of the voters",
		group:  newGroup().of("a b c", quorum).of("a", follower("waiting")).silent("b c"),
		status: NoLeader, finds: []string{"no-answer b", "no-answer c", "no-leader "},
		says: []string{"1 of 3 voters answered (a) and 2 must confirm a leader", "start b and c"},
	}, {
		name:   "a member does not answer",
		group:  newGroup().silent("c"),
		status: Degraded, leader: "a", finds: []string{"no-answer c", "split-possible a"},
		says: []string{"no answer within 2s; a and b count it among the members", "a leads; c is out of reach and may have a leader of their own"},
	}, {
		name:   "the leader does not answer and is still named",
		group:  newGroup().of("a b c", follows("b", 8)).silent("b"),
		status: Degraded, leader: "b", finds: []string{"no-answer b", "split-possible b"}, says: []string{"it is the leader that a and c name"},
	}, {
		name:   "the leader is known by hearsay",
		group:  newGroup().of("a b c", follows("x", 8)),
		status: Degraded, leader: "x", finds: []string{"leader-unseen x"}, notes: []string{"split-possible "},
	}, {
		name: "a member was lost",
		group: func() group {
			g := newGroup()
			g.Members = append(g.Members, agent.MemberInfo{Name: "d"})
			return g
		}(),
		status: Degraded, leader: "a", finds: []string{"lost d", "split-possible a"},
	}, {
		name:   "TCP blocked",
		group:  func() group { g := newGroup(); g.Replies["b"] = Reply{Err: "refused", UDP: true}; return g }(),
		status: Degraded, leader: "a", finds: []string{"split-possible a", "tcp-blocked b"},
	}, {
		name:   "UDP blocked",
		group:  func() group { g := newGroup(); g.Replies["b"] = Reply{State: g.Replies["b"].State}; return g }(),
		status: Degraded, leader: "a", finds: []string{"udp-blocked b"}, notes: []string{"split-possible "},
	}, {
		name:   "only some see a member",
		group:  newGroup().of("b", func(s *agent.State) { s.Members = []string{"a", "b"} }),
		status: Degraded, leader: "a", finds: []string{"views-differ c"}, notes: []string{"split-possible "},
		says: []string{"c is no member to b, but to others"},
	}, {
		name:   "one sees no other",
		group:  newGroup().of("c", func(s *agent.State) { s.Members = []string{"c"} }),
		status: Degraded, leader: "a", finds: []string{"views-differ c"}, notes: []string{"split-possible "},
		says: []string{"a and b are no member to c, but to others"},
	}, {
		name:   "a member that could not be asked is seen by some",
		group:  newGroup().of("b", func(s *agent.State) { s.Members = append(s.Members, "d") }),
		status: Degraded, leader: "a", finds: []string{"views-differ d"}, notes: []string{"split-possible "},
	}, {
		name:   "a clock ahead",
		group:  newGroup().of("b", func(s *agent.State) { s.WallTime += 31_536_000 }),
		status: Degraded, leader: "a", finds: []string{"clock-differs b"}, notes: []string{"split-possible "}, says: []string{"31536000.0 s ahead of the others'"},
	}, {
		name:   "the asker's clock behind",
		group:  newGroup().of("b c", func(s *agent.State) { s.WallTime += 10 }),
		status: Degraded, leader: "a", finds: []string{"clock-differs a"}, notes: []string{"split-possible "}, says: []string{"10.0 s behind the others'"},
	}, {
		name:   "clocks within tolerance",
		group:  newGroup().of("b", func(s *agent.State) { s.WallTime += 1.9 }).of("c", func(s *agent.State) { s.WallTime -= 0.05 }),
		status: Agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name: "clocks that a slow survey cannot tell apart",
		group: func() group {
			g := newGroup().of("b", func(s *agent.State) { s.WallTime += 5 })
			g.Ended = g.Began.Add(5 * time.Second)
			return g
		}(),
		status: Agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name:   "a hook that failed",
		group:  newGroup().of("a", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "acquire", Exit: 3, Term: 7, Error: "no\x1bway"} }),
		status: Degraded, leader: "a", finds: []string{"hook-failed a"}, notes: []string{"split-possible "}, says: []string{"acquire ended with exit status 3 in term 7: no\uFFFDway"},
	}, {
		name: "hooks that only ran",
		group: newGroup().of("a", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "check"} }).
			of("b", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "change", Exit: 1} }).
			of("c", func(s *agent.State) { s.Hook = &agent.HookRun{Event: "release", Exit: -1, Running: true} }),
		status: Agreed, leader: "a", notes: []string{"hook-failed b", "split-possible "},
	}, {
		name: "an address that two members hold",
		group: newGroup().of("a b", func(s *agent.State) {
			s.Addresses = []agent.AddressState{{Address: "10.0.0.9/24", Interface: "eth0", Held: true}, {Address: "10.0.0.8/24", Held: s.Name == "a"}}
		}).of("c", func(s *agent.State) { s.Addresses = []agent.AddressState{{Address: "10.0.0.9/24", Interface: "eth0"}} }),
		status: Degraded, leader: "a", finds: []string{"floating-ip-two-holders b"}, notes: []string{"split-possible "},
		says: []string{"10.0.0.9/24 is held by a and b"},
	}, {
		name: "what members found themselves",
		group: newGroup().of("a b", func(s *agent.State) {
			s.Findings = []agent.Finding{{What: "seed-unreached", Member: "x:4000", Evidence: "refused", Degrades: true}}
		}).of("c", func(s *agent.State) { s.Findings = []agent.Finding{{What: "name-clash\n", Member: "c"}} }),
		status: Degraded, leader: "a", finds: []string{"seed-unreached x:4000"}, notes: []string{"name-clash\uFFFD c", "split-possible "},
		says: []string{"refused (reported by a)"},
	}, {
		name: "what members found in several elections",
		group: newGroup().of("a", func(s *agent.State) {
			s.Findings = []agent.Finding{{What: "hook-failed", Member: "a", Degrades: true}, {What: "hook-failed", Member: "a", Election: "web", Degrades: true}}
		}),
		status: Degraded, leader: "a", finds: []string{"hook-failed a", "hook-failed a web"}, notes: []string{"split-possible "},
	}, {
		name:   "further elections, all led",
		group:  newGroup().of("a b c", further("web", "b", 3)).of("a b c", further("mail", "c", 4)),
		status: Agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name:   "a further election that a member does not know",
		group:  newGroup().of("a b", further("web", "b", 3)),
		status: Agreed, leader: "a", notes: []string{"split-possible "},
	}, {
		name:   "a further election that two lead",
		group:  newGroup().of("a b", further("web", "b", 3)).of("c", further("web", "c", 4)),
		status: Degraded, leader: "a", finds: []string{"election-two-leaders b web"}, notes: []string{"split-possible "},
		says: []string{"b says that it leads, in term 3; c says that it leads, in term 4", "open between b and c"},
	}, {
		name:   "a further election that two are named for",
		group:  newGroup().of("a b", further("web", "b", 3)).of("c", further("web", "x", 3)),
		status: Degraded, leader: "a", finds: []string{"election-disagreed c web"}, notes: []string{"split-possible "},
		says: []string{"a and b name b; c names x", "open between c and b"},
	}, {
		name:   "a further election that one knows no leader of",
		group:  newGroup().of("a b", further("web", "b", 3)).of("c", further("web", "", 3)),
		status: Degraded, leader: "a", finds: []string{"election-disagreed c web"}, notes: []string{"split-possible "},
		says: []string{"a and b name b; c names no leader"},
	}, {
		name:   "a further election without a leader",
		group:  newGroup().of("a b c", further("web", "", 3)),
		status: Degraded, leader: "a", finds: []string{"election-no-leader  web"}, notes: []string{"split-possible "},
		says: []string{"none of a, b and c names a leader; b and c may lead it", "GET /events?election=web"},
	}, {
		name: "a further election without candidates",
		group: newGroup().of("a b c", further("web", "", 3)).of("a b c", func(s *agent.State) {
			e := s.Elections["web"]
			e.Candidates = nil
			s.Elections["web"] = e
		}),
		status: Agreed, leader: "a", notes: []string{"election-no-leader  web", "split-possible "},
	}, {
		name: "an address of a further election that two members hold",
		group: newGroup().of("a b c", further("web", "b", 3)).of("a b", func(s *agent.State) {
			e := s.Elections["web"]
			e.Addresses = []agent.AddressState{{Address: "10.0.0.9/24", Held: true}}
			s.Elections["web"] = e
		}),
		status: Degraded, leader: "a", finds: []string{"floating-ip-two-holders a"}, notes: []string{"split-possible "},
		says: []string{"10.0.0.9/24 is held by a and b"},
	}, {
		name:   "different rules",
		group:  newGroup().of("b", func(s *agent.State) { s.Rule = "bully" }),
		status: Degraded, leader: "a", finds: []string{"rule-differs b"}, notes: []string{"split-possible "}, says: []string{"seniority: a and c; bully: b"},
	}, {
		name:   "different modes",
		group:  newGroup().of("c", quorum),
		status: Degraded, leader: "a", finds: []string{"mode-differs c"}, notes: []string{"split-possible "},
	}, {
		name:   "different voters",
		group:  newGroup().of("a b c", quorum).of("b", func(s *agent.State) { s.Voters = []string{"a", "b", "c", "d"} }),
		status: Degraded, leader: "a", finds: []string{"voters-differ b"}, says: []string{"a,b,c: a and c; a,b,c,d: b"},
	}, {
		name: "a voter that is no member",
		group: newGroup().of("a b c", func(s *agent.State) {
			s.Mode, s.Voters = "quorum", []string{"a:4000", "b:4000", "c", "d:4000"}
		}).voting(map[string]string{"a": "a:4000", "b": "b:4000", "c": "c"}),
		status: Degraded, leader: "a", finds: []string{"voter-missing d:4000"}, notes: []string{"voters-wasted "}, says: []string{"3 of 4 voters answered, 3 must confirm",
			"with 4 voters a majority is 3, so there is a leader until 2 of them are out of reach; with 5 voters, until 3 are"},
	}, {
		name: "voters written as something else than the members' names",
		group: newGroup().of("a b c", func(s *agent.State) {
			s.Mode, s.Voters = "quorum", []string{"10.0.0.1", "db-2", "c.example"}
		}).voting(map[string]string{"a": "10.0.0.1", "b": "db-2", "c": "c.example"}),
		status: Agreed, leader: "a",
	}, {
		name: "a voter that is known to one member alone",
		group: newGroup().of("a b c", func(s *agent.State) {
			s.Mode, s.Voters, s.VoterEntries = "quorum", []string{"a", "b", "c"}, []string{"10.0.0.1", "db-2", "c.example"}
		}).of("b", func(s *agent.State) { s.Voters = []string{"a", "b", "c.example"} }).voting(map[string]string{"a": "10.0.0.1", "b": "db-2", "c": "c.example"}),
		status: Agreed, leader: "a",
	}, {
		name: "a voter lost, and one never there",
		group: func() group {
			g := newGroup().of("a b c", func(s *agent.State) {
				s.Mode, s.Voters = "quorum", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}
			}).voting(map[string]string{"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}).silent("c")
			g.Replies["10.0.0.4"] = Reply{Err: "this voter is not in the group"}
			return g
		}(),
		status: Degraded, leader: "a", finds: []string{"no-answer c", "voter-missing 10.0.0.4"}, notes: []string{"voters-wasted "},
		says: []string{"2 of 4 voters answered, 3 must confirm"},
	}, {
		name:   "no member could succeed",
		group:  newGroup().of("b", func(s *agent.State) { s.Eligible = false }).of("c", func(s *agent.State) { s.Role = "witness" }),
		status: Degraded, leader: "a", finds: []string{"no-successor a"}, notes: []string{"split-possible "},
	}, {
		name: "a member stands aside for maintenance",
		group: newGroup().of("b", func(s *agent.State) {
			s.Eligible, s.Findings = false, []agent.Finding{{What: "maintenance", Member: "b"}}
		}),
		status: Agreed, leader: "a", notes: []string{"maintenance b", "split-possible "},
	}, {
		name:   "a rolling upgrade",
		group:  newGroup().of("b", func(s *agent.State) { s.Version = "2.0" }),
		status: Agreed, leader: "a", notes: []string{"split-possible ", "versions-differ b"},
	}, {
		name:   "alone by design",
		group:  alone(follows("a", 7)),
		status: Agreed, leader: "a",
	}, {
		name:   "alone and waiting",
		group:  alone(follower("waiting")),
		status: NoLeader, finds: []string{"no-leader "}, says: []string{"--lone-wait"},
	}, {
		name: "no member answers at all", group: group{&Evidence{}},
		status: NoLeader, finds: []string{"no-leader "}, says: []string{"no member answered"},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(tt.group.Evidence)
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
	delete(g.Replies, "b")
	delete(g.Replies, "c")
	g.Members = g.Members[:1]
	return g.of("a", func(s *agent.State) { s.Members = []string{"a"} }).of("a", change)
}

// split sorts findings into those that need a hand, in the order of their
// words, and the others, and joins everything they say.
func split(found []agent.Finding) (finds, notes []string, all string) {
	for _, f := range found {
		line := f.What + " " + f.Member
		if f.Election != "" {
			line += " " + f.Election
		}
		if f.Degrades {
			finds = append(finds, line)
		} else {
			notes = append(notes, line)
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
		g.Replies[fmt.Sprint("x", i)] = Reply{Err: "no answer"}
	}
	v := Judge(g.Evidence)
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
	_, notes, _ := split(Judge(g.Evidence).Findings)
	if want := 2*maxReported + 1; len(notes) != want { // and split-possible
		t.Errorf("want %d notes, got %d: %q", want, len(notes), notes)
	}
}

// TestJudgeIsDeterministic compares verdicts of the same evidence.
func TestJudgeIsDeterministic(t *testing.T) {
	g := newGroup().of("b", follows("b", 8)).of("c", follows("x", 9)).of("b", func(s *agent.State) { s.Rule = "bully" })
	want := fmt.Sprint(Judge(g.Evidence))
	for range 20 {
		if got := fmt.Sprint(Judge(g.Evidence)); got != want {
			t.Fatalf("want the same verdict each time:\n%s\n%s", want, got)
		}
	}
}

// The verdict on a further election has its leader, its status and its findings, and
// those that are of no election.
func TestJudgeElection(t *testing.T) {
	other := further("mail", "", 3)
	for _, test := range []struct {
		name           string
		group          group
		status, leader string
		finds          string // of the election
	}{
		{"led", newGroup().of("a b c", further("web", "b", 9)).of("a b c", other), Agreed, "b", ""},
		{"not led", newGroup().of("a b c", further("web", "", 9)), NoLeader, "", "election-no-leader"},
		{"disagreed", newGroup().of("a b", further("web", "b", 9)).of("c", further("web", "", 9)), Disagreed, "b", "election-disagreed"},
		{"led twice", newGroup().of("a b", further("web", "b", 9)).of("c", further("web", "c", 9)), TwoLeaders, "", "election-two-leaders"},
		{"a member is away", newGroup().of("a b c", further("web", "b", 9)).silent("c"), Degraded, "b", ""},
	} {
		v := JudgeElection(test.group.Evidence, "web")
		leader, finds := "", ""
		if v.Leader != nil {
			leader = *v.Leader
		}
		for _, f := range v.Findings {
			switch f.Election {
			case "web":
				finds += f.What
			case "mail":
				t.Errorf("%s: a finding of another election: %+v", test.name, f)
			}
		}
		if v.Status != test.status || leader != test.leader || finds != test.finds {
			t.Errorf("%s: got %s, %q, %q, want %s, %q, %q", test.name, v.Status, leader, finds, test.status, test.leader, test.finds)
		}
	}
}
