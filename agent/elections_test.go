package agent

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// six are six further elections.
var six = []string{"e1", "e2", "e3", "e4", "e5", "e6"}

// withElections makes a member a candidate of them.
func withElections(names []string) func(*Config, *fakeExecutor) {
	return func(c *Config, _ *fakeExecutor) {
		c.Elections = map[string]ElectionConfig{}
		for _, name := range names {
			c.Elections[name] = ElectionConfig{}
		}
	}
}

// leaders returns who leads each election as m sees it.
func (m *member) leaders(names []string) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		if e := m.Election(name); e != nil {
			l, _ := e.Leader()
			all[name] = l.Leader
		}
	}
	return all
}

// counts counts how many elections each member leads.
func counts(leaders map[string]string) map[string]int {
	n := map[string]int{}
	for _, l := range leaders {
		n[l]++
	}
	return n
}

// agree reports whether all members see the same leaders, and whether each of the
// names given leads so many.
func agree(g *group, names []string, want map[string]int, members ...*member) bool {
	first := members[0].leaders(names)
	if !maps.Equal(counts(first), want) {
		return false
	}
	return !slices.ContainsFunc(members, func(m *member) bool { return !maps.Equal(first, m.leaders(names)) })
}

// testSpread has three members with six elections lose m2 and get it back: in
// quorum mode by a cut, since only a member with its address is that voter.
func testSpread(t *testing.T, quorum bool) {
	inGroup(t, func(t *testing.T, g *group) {
		both := func(c *Config, h *fakeExecutor) {
			withElections(six)(c, h)
			if quorum {
				c.Voters = []string{VotersSeeds}
			}
			h.takes = 200 * time.Millisecond
		}
		for range 3 {
			g.add(both)
			time.Sleep(time.Millisecond)
		}
		a, b, c := g.members[0], g.members[1], g.members[2]
		two := map[string]int{"m0": 2, "m1": 2, "m2": 2}
		took := g.await(4*time.Second, "each leads two", func() bool { return agree(g, six, two, a, b, c) })
		t.Logf("spread after %v", took)
		before := a.leaders(six)

		time.Sleep(2 * time.Minute)
		if now := a.leaders(six); !maps.Equal(now, before) {
			t.Fatalf("moved without need: %v, before %v", now, before)
		}

		if quorum {
			g.cutInTwo(2)
		} else {
			g.crash(c)
		}
		three := map[string]int{"m0": 3, "m1": 3}
		took = g.await(4*time.Second, "each of the others takes one", func() bool { return agree(g, six, three, a, b) })
		t.Logf("taken over after %v", took)
		after := a.leaders(six)
		for name, leader := range before {
			if leader != "m2" && after[name] != leader {
				t.Errorf("%s went from %s to %s, though only m2 has died", name, leader, after[name])
			}
		}
		time.Sleep(2 * time.Minute)

		moves, last := 0, after
		if quorum {
			g.heal()
		} else {
			g.add(func(c *Config, h *fakeExecutor) {
				both(c, h)
				c.Name = "m2"
			})
		}
		back := g.members[len(g.members)-1]
		joined := time.Now()
		for time.Since(joined) < 2*time.Minute {
			time.Sleep(10 * time.Millisecond)
			now := a.leaders(six)
			unled := 0
			for name := range now {
				if now[name] == "" {
					unled++
					now[name] = last[name]
				} else if now[name] != last[name] {
					moves++
					if now[name] != "m2" || time.Since(joined) < 50*time.Second {
						t.Errorf("%s moved to %s %v after m2 came back", name, now[name], time.Since(joined))
					}
				}
			}
			if unled > 1 {
				t.Errorf("%d elections are handed over at once", unled)
			}
			last = now
		}
		if moves != 2 || !agree(g, six, two, a, b, back) {
			t.Errorf("want two elections handed over, and nothing else moved, got %d moves: %v", moves, last)
		}
	})
}

func TestElectionsAreSpread(t *testing.T) { testSpread(t, false) }

func TestElectionsAreSpreadInQuorumMode(t *testing.T) { testSpread(t, true) }

// A member whose settings name no further elections votes in all of them, and its
// vote is needed in quorum mode.
func TestMembersVoteInElectionsTheyDoNotName(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		for i := range 3 {
			g.add(func(c *Config, h *fakeExecutor) {
				c.Voters = []string{VotersSeeds}
				if i == 0 {
					withElections([]string{"web"})(c, h)
				}
			})
			time.Sleep(time.Millisecond)
		}
		names := []string{"web"}
		one := map[string]int{"m0": 1}
		g.await(6*time.Second, "m0 leads web", func() bool { return agree(g, names, one, g.members...) })
		for _, m := range g.members {
			web := m.Election("web")
			for _, info := range web.Members() {
				want := "witness"
				if info.Name == "m0" {
					want = "candidate"
				}
				if info.Role != want || info.Name == web.State().Name && web.State().Role != want {
					t.Errorf("%s has %s as %s of web, and itself as %s, want %s", web.State().Name, info.Name, info.Role, web.State().Role, want)
				}
			}
		}
		g.crash(g.members[1])
		time.Sleep(5 * time.Second)
		if !agree(g, names, one, g.members[0], g.members[2]) {
			t.Error("with a majority of the voters m0 goes on leading")
		}
		g.crash(g.members[2])
		g.await(2*time.Second, "m0 leads no more without a majority", func() bool { return !g.members[0].Election("web").IsLeader() })
	})
}

// A member that only votes in an election goes by the rule of its candidates, and by the
// next one when they have another.
func TestVotersGoByTheRuleOfTheCandidates(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		named := func(rule string) func(*Config, *fakeExecutor) {
			return func(c *Config, _ *fakeExecutor) {
				c.Name, c.Elections = "m0", map[string]ElectionConfig{"web": {Rule: rule}}
			}
		}
		candidate, voter := g.add(named("seniority")), g.add(nil)
		goesBy := func(rule string) func() bool {
			return func() bool {
				e := voter.Election("web")
				return e != nil && voter.leaders([]string{"web"})["web"] == "m0" && e.State().Rule == rule
			}
		}
		g.await(10*time.Second, "m1 votes by the rule seniority", goesBy("seniority"))
		candidate.leave()
		<-candidate.ended
		g.add(named("bully"))
		g.await(10*time.Second, "m1 votes by the rule bully", goesBy("bully"))
	})
}

func TestElectionSettings(t *testing.T) {
	c := Config{Hook: "/bin/top", Rule: "bully", ID: 7, Elections: map[string]ElectionConfig{
		"web": {}, "mail": {Hook: Off, Rule: "seniority", ID: new(uint64(9)), FloatingIPs: []string{"10.9.9.9/24@eth0"}},
	}}
	s, err := c.validate()
	if err != nil {
		t.Fatal(err)
	}
	if w := s.elections["web"]; w.Hook != "/bin/top" || w.rule.Name() != "bully" || w.ID != 7 || len(w.floating) != 0 {
		t.Errorf("web does not take the top level's settings: %+v", w.Config)
	}
	if m := s.elections["mail"]; m.Hook != "" || m.rule.Name() != "seniority" || m.ID != 9 || len(m.floating) != 1 {
		t.Errorf("mail does not have its own settings: %+v", m.Config)
	}
	for name, bad := range map[string]Config{
		"name":  {Elections: map[string]ElectionConfig{"Web": {}}},
		"group": {Elections: map[string]ElectionConfig{"group": {}}},
		"rule":  {Elections: map[string]ElectionConfig{"web": {Rule: "best"}}},
		"twice": {FloatingIPs: []string{"10.9.9.9/24@eth0"}, Elections: map[string]ElectionConfig{"web": {FloatingIPs: []string{"10.9.9.9/24@eth1"}}}},
		"place": {Placement: "anywhere"},
	} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	many := Config{Elections: map[string]ElectionConfig{}}
	for i := range MaxElections + 1 {
		many.Elections[fmt.Sprintf("e%d", i)] = ElectionConfig{}
	}
	if many.Validate() == nil {
		t.Errorf("%d elections are taken", len(many.Elections))
	}
}

// What members send does not grow with the number of elections once each leads some:
// renewals of all that a member leads share datagrams, and so do their confirms.
func TestPacketsOfManyElections(t *testing.T) {
	few := 0.0
	for _, n := range []int{1, 32, 128} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("e", i))
		}
		inGroup(t, func(t *testing.T, g *group) {
			for range 3 {
				g.add(func(c *Config, h *fakeExecutor) {
					withElections(names)(c, h)
					c.Voters = []string{VotersSeeds}
				})
			}
			g.await(time.Minute, "every election is led", func() bool {
				return !slices.Contains(slices.Collect(maps.Values(g.members[0].leaders(names))), "") && g.members[0].follows("m0")
			})
			const rest = 30 * time.Second
			time.Sleep(rest)
			before := g.sent()
			time.Sleep(rest)
			after := g.sent()
			packets := float64(after.Packets-before.Packets) / rest.Seconds() / 3
			t.Logf("%d elections: a member sends %.1f packets and %.0f bytes a second", n, packets, float64(after.Bytes-before.Bytes)/rest.Seconds()/3)
			if n == 32 {
				few = packets
			}
			if n > 32 && packets > 1.1*few {
				t.Errorf("%d elections: want at most 1.1 times the %.1f packets a second of 32, got %.1f", n, few, packets)
			}
		})
	}
}

// A member that leaves waits for the release of each election as long as that election's
// hook may take, also where its own hook-timeout is longer than the group's.
func TestAMemberThatLeavesWaitsForTheLongestHookTimeout(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		for range 2 {
			g.add(func(c *Config, h *fakeExecutor) {
				c.HookTimeout = time.Second
				c.Elections = map[string]ElectionConfig{"web": {HookTimeout: time.Minute, Prefer: []string{"m0"}}}
				if c.Name == "m0" {
					h.takes = 20 * time.Second
				}
			})
		}
		a, b := g.members[0], g.members[1]
		g.await(10*time.Second, "m0 leads web", a.Election("web").IsLeader)
		began := time.Now()
		a.leave()
		g.await(time.Minute, "m1 leads web", b.Election("web").IsLeader)
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("m1 leads web after %v, want that m0's release, which takes 20 s, has ended before", took)
		}
	})
}
