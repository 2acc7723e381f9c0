package agent

import (
	"slices"
	"testing"
	"time"

	"doyen/agent/keeper"
	"doyen/seniority"
)

// A reload that gains, changes and loses an election disturbs no other one.
func TestReload(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		change := func(c *Config, h *fakeExecutor) {
			c.Voters = []string{VotersSeeds}
			withElections([]string{"web", "mail", "data"})(c, h)
			h.takes = 100 * time.Millisecond
		}
		var configs []Config
		for range 3 {
			g.add(func(c *Config, h *fakeExecutor) {
				change(c, h)
				configs = append(configs, *c)
			})
			time.Sleep(time.Millisecond)
		}
		names := []string{"web", "mail", "data"}
		one := map[string]int{"m0": 1, "m1": 1, "m2": 1}
		g.await(5*time.Second, "each leads one", func() bool { return agree(g, names, one, g.members...) })
		was := g.members[0].Elections()
		for _, m := range g.members {
			m.executor.reports <- keeper.Report{Election: "web", Event: "acquire", Exit: 1}
			g.await(time.Second, "a finding about the hook", func() bool { return len(m.findingsOf(hookFailed)) == 1 })
		}
		for i, m := range g.members {
			c := configs[i]
			c.Elections = map[string]ElectionConfig{"web": {Hook: "/bin/true"}, "data": {Rule: "bully"}, "cron": {}}
			later, err := m.Reload(t.Context(), c)
			if want := []string{"rule of the election data"}; err != nil || !slices.Equal(later, want) {
				t.Fatalf("reload at %s: got %q, %v, want %q", m.Name(), later, err, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
		g.await(5*time.Second, "cron is led", func() bool {
			return !slices.ContainsFunc(g.members, func(m *member) bool { return m.leaders([]string{"cron"})["cron"] == "" })
		})
		time.Sleep(10 * time.Second)
		for _, m := range g.members {
			now := m.Elections()
			for _, name := range []string{GroupElection, "web", "data"} {
				if now[name].Leader == nil || now[name].Term != was[name].Term || *now[name].Leader != *was[name].Leader {
					t.Errorf("%s at %s is disturbed: %+v, was %+v", name, m.Name(), now[name], was[name])
				}
			}
			if mail, known := now["mail"]; known || m.Election("mail") != nil {
				t.Errorf("mail, which no member names, goes on at %s: %+v", m.Name(), mail)
			}
			for _, f := range m.State().Findings {
				if f.What == hookFailed {
					t.Errorf("a finding of %s about a hook that has been replaced: %+v", m.Name(), f)
				}
				if f.Election == "mail" {
					t.Errorf("a finding of %s about an election that has ended: %+v", m.Name(), f)
				}
			}
			var kept []string
			for _, e := range m.executor.configured {
				kept = append(kept, e.Name)
			}
			if slices.Sort(kept); !slices.Equal(kept, []string{"cron", "data", "group", "web"}) {
				t.Errorf("the keeper of %s acts for %v", m.Name(), kept)
			}
		}
		if _, err := g.members[0].Reload(t.Context(), Config{Elections: map[string]ElectionConfig{"Bad": {}}}); err == nil {
			t.Error("a bad configuration is taken")
		}
		// One that has ended is held again, under a higher term.
		for i, m := range g.members {
			if _, err := m.Reload(t.Context(), configs[i]); err != nil {
				t.Fatal(err)
			}
		}
		g.await(5*time.Second, "mail is led again", func() bool { return g.members[0].leaders([]string{"mail"})["mail"] != "" })
		if now := g.members[0].Elections()["mail"]; now.Term <= was["mail"].Term {
			t.Errorf("mail is led under term %d, and was under %d before it ended", now.Term, was["mail"].Term)
		}
	})
}

// reload has a member go by a configuration with these elections.
func (m *member) reload(c Config, elections map[string]ElectionConfig) {
	m.t.Helper()
	c.Elections = elections
	if later, err := m.Reload(m.t.Context(), c); err != nil || len(later) > 0 {
		m.t.Fatalf("reload at %s: %q, %v", m.Name(), later, err)
	}
}

// knows reports whether each of these members knows an election.
func knows(election string, want bool, members ...*member) bool {
	return !slices.ContainsFunc(members, func(m *member) bool { return (m.Election(election) != nil) != want })
}

// An election stays for as long as a member names it, and while the only one that did
// is away without having left: that it has no leader must be seen.
func TestElectionIsForgotten(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		var configs []Config
		for i := range 3 {
			g.add(func(c *Config, h *fakeExecutor) {
				configs = append(configs, *c)
				if i < 2 {
					withElections([]string{"web"})(c, h)
				}
			})
			time.Sleep(time.Millisecond)
		}
		a, b, c := g.members[0], g.members[1], g.members[2]
		g.await(10*time.Second, "all know web", func() bool {
			return agree(g, []string{"web"}, map[string]int{"m0": 1}, a, b, c) || agree(g, []string{"web"}, map[string]int{"m1": 1}, a, b, c)
		})
		a.executor.reports <- keeper.Report{Election: "web", Event: "acquire", Exit: 1}
		g.await(time.Second, "a finding about web", func() bool { return len(a.findingsOf(hookFailed)) == 1 })
		a.reload(configs[0], nil)
		time.Sleep(time.Minute)
		if got := a.findingsOf(hookFailed); len(got) != 0 {
			t.Errorf("m0 is no candidate of web any more, and has the finding %+v", got)
		}
		if !knows("web", true, a, b, c) || b.leaders([]string{"web"})["web"] != "m1" {
			t.Error("web has ended although m1 names it")
		}
		g.crash(b)
		time.Sleep(20 * time.Minute)
		if !knows("web", true, a, c) {
			t.Error("web has ended with the host of the only member that names it")
		}
		b.leave()
		<-b.ended
		again := g.add(func(c *Config, h *fakeExecutor) { c.Name = "m1"; withElections([]string{"web"})(c, h) })
		g.await(30*time.Second, "web is led again", func() bool { return a.leaders([]string{"web"})["web"] == "m1" })
		again.leave()
		<-again.ended
		took := g.await(30*time.Second, "web has ended", func() bool { return knows("web", false, a, c) })
		if took < seniority.LongestLease()-time.Second { // m1 has said good-bye before its end
			t.Errorf("web has ended after %v, while a promise of %v may last", took, seniority.LongestLease())
		}
	})
}

// Settings that count only from the next start on are named, and a configuration that
// is bad anywhere, there too, changes nothing.
func TestReloadNamesWhatCountsLater(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		var c Config
		a := g.add(func(own *Config, _ *fakeExecutor) { c = *own })
		port, wait, preempt := 4321, time.Minute, true
		next := c
		next.Name, next.BindAddr, next.BindPort, next.AdvertiseAddr = "other", "127.0.0.1", &port, "10.0.0.9:1"
		next.Seeds, next.Cluster, next.Voters, next.LoneWait = []string{"10.0.0.1:4000"}, "other", []string{VotersSeeds}, &wait
		next.Profile, next.ProbeInterval = "wan", time.Minute
		next.Timing = seniority.Timing{Lease: 10 * time.Second, Renewal: time.Second, Confirm: time.Second, Stagger: time.Second, Settle: time.Minute, ReleaseBudget: 2 * time.Second}
		next.Keeper, next.Watchdog, next.HTTP, next.EncryptKeyFile, next.StateDir = On, "/dev/watchdog", "off", "keys", "state"
		next.Store, next.StoreRestore = On, "copy"
		next.Rule, next.ID, next.Role, next.Preempt, next.PreemptDelay = "bully", 7, "witness", &preempt, time.Second
		later, err := a.Reload(t.Context(), next)
		want := []string{
			"name", "bind-addr", "bind-port", "advertise-addr", "seeds", "cluster", "voters", "lone-wait", "profile",
			"lease", "renewal", "confirm", "stagger", "settle", "release-budget", "probe-interval", "keeper", "watchdog", "http",
			"encrypt-key-file", "state-dir", "store", "store-restore", "id", "rule", "role", "preempt", "preempt-delay",
		}
		if err != nil || !slices.Equal(later, want) {
			t.Errorf("got %q, %v, want %q", later, err, want)
		}
		for _, bad := range []func(*Config){
			func(c *Config) { c.Profile = "slow" },
			func(c *Config) { c.Elections = map[string]ElectionConfig{"Bad": {}} },
			func(c *Config) { c.Run = []string{"/there/is/none"} },
		} {
			next := c
			next.Elections = map[string]ElectionConfig{"web": {}}
			if bad(&next); next.Elections["web"].Hook == "" {
				_, err = a.Reload(t.Context(), next)
			}
			if err == nil || a.Election("web") != nil {
				t.Errorf("of a bad configuration (%v) the election web is taken", err)
			}
		}
		if later, err := a.Reload(t.Context(), c); err != nil || len(later) > 0 {
			t.Errorf("with what it was started with: got %q, %v", later, err)
		}
	})
}

// What ranks a member in an election that it stands for while it runs counts at
// once: there nothing has been made of it yet.
func TestStandingWithAnID(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		var configs []Config
		for range 3 {
			g.add(func(c *Config, h *fakeExecutor) { c.Placement = "rule"; configs = append(configs, *c) })
			time.Sleep(time.Millisecond)
		}
		high, low, no := uint64(9), uint64(3), false
		of := func(id *uint64, role string) map[string]ElectionConfig {
			return map[string]ElectionConfig{"web": {Rule: "bully", ID: id, Role: role, Preempt: &no}}
		}
		g.await(5*time.Second, "m0 leads", func() bool { return g.members[2].follows("m0") })
		g.members[0].reload(configs[0], of(&high, ""))
		g.await(10*time.Second, "m0 leads web", func() bool { return agree(g, []string{"web"}, map[string]int{"m0": 1}, g.members...) })
		g.members[1].reload(configs[1], of(&low, "witness"))
		g.members[2].reload(configs[2], of(&high, ""))
		time.Sleep(5 * time.Second)
		ids := map[string]uint64{}
		for _, m := range g.members[0].Election("web").Members() {
			ids[m.Name+" "+m.Role] = m.ID
		}
		for _, m := range g.members[1].Election("web").Members() {
			if ids[m.Name+" "+m.Role] != m.ID || m.ID == 0 {
				t.Errorf("m1 sees %+v, m0 sees %v", m, ids)
			}
		}
		if _, err := g.members[0].Election("web").StepDown(t.Context()); err != nil {
			t.Fatalf("%v: m0 sees %+v, m2 of itself %+v", err, g.members[0].Election("web").Members(), g.members[2].Election("web").State())
		}
		g.await(5*time.Second, "m2 leads web, for m1 is a witness", func() bool { return agree(g, []string{"web"}, map[string]int{"m2": 1}, g.members...) })
	})
}
