package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent/floatingip"
	"doyen/gossip"
	"doyen/seniority"
)

// of are the findings of a member of one kind.
func (m *member) findingsOf(what string) (list []Finding) {
	for _, f := range m.State().Findings {
		if f.What == what {
			list = append(list, f)
		}
	}
	return list
}

// severalElections are some elections of a group in quorum mode.
func severalElections(c *Config, h *fakeExecutor) {
	c.Voters = []string{VotersSeeds}
	c.Placement = "together"
	var names []string
	for i := range 6 {
		names = append(names, fmt.Sprint("e", i))
	}
	withElections(names)(c, h)
}

// What has one cause for all elections of a member is one finding of it, which is over
// when it is over for all.
func TestFindingsOfAMemberStandOnce(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		jumps := make([]atomic.Int64, 3) // by how much the clocks have jumped, as after a pause
		for i := range 3 {
			g.add(func(c *Config, h *fakeExecutor) {
				severalElections(c, h)
				c.seams.now = func() seniority.Now {
					n := g.now()
					n.Boot += time.Duration(jumps[i].Load())
					return n
				}
			})
			time.Sleep(time.Millisecond)
		}
		led := func(m *member) (n int) {
			for _, e := range m.Elections() {
				if e.Self {
					n++
				}
			}
			return n
		}
		a := g.members[0]
		g.await(15*time.Second, "m0 leads all", func() bool { return led(a) == 7 })

		g.cutInTwo(1)
		g.await(5*time.Second, "m0 leads none", func() bool { return led(a) == 0 })
		if f := a.findingsOf(noMajority); len(f) != 1 || !strings.HasSuffix(f[0].Evidence, "and m1, m2 did not") || !strings.HasSuffix(f[0].Advice, "over UDP: m1, m2.") {
			t.Errorf("want the voters that m0 does not reach, got %+v", f)
		}
		time.Sleep(10 * time.Second)
		if f := a.findingsOf(noMajority); len(f) != 1 || f[0].Election != "" {
			t.Errorf("of seven elections without a majority: got %+v, want one finding", f)
		}
		g.heal()
		g.await(20*time.Second, "it is over", func() bool { return len(a.findingsOf(noMajority)) == 0 })

		at := slices.IndexFunc(g.members, func(m *member) bool { return led(m) > 1 })
		if at < 0 {
			t.Fatal("no member leads several")
		}
		jumps[at].Add(int64(10 * time.Second))
		m := g.members[at]
		g.await(5*time.Second, "it says why it leads no more", func() bool { return len(m.findingsOf(loopLate)) > 0 })
		time.Sleep(5 * time.Second)
		if f := m.findingsOf(loopLate); len(f) != 1 || f[0].Election != "" {
			t.Errorf("of several leases that ran out in one pause: got %+v, want one finding", f)
		}
	})
}

// A voter whose last confirm was of the last renewal that counted is silent when the lease
// runs out; one that has confirmed a later one is not.
func TestSilentVoters(t *testing.T) {
	list := []string{"a", "b", "c", "d"}
	var order []seniority.Member
	for _, name := range list[:3] {
		order = append(order, seniority.Member{Name: name, Voter: name})
	}
	e := &election{self: order[0], cfg: &settings{timing: seniority.Timing{Lease: 1000, ReleaseBudget: 300, Renewal: 333}}}
	e.members.Update(0, order, &gossip.View{}, list)
	e.track.Hear(&seniority.Message{Kind: seniority.Confirm, From: "b"}, seniority.Now{Boot: 5020})
	e.track.Hear(&seniority.Message{Kind: seniority.Confirm, From: "c"}, seniority.Now{Boot: 5353})
	if got, want := e.silentVoters(seniority.Now{Boot: 5700}), []string{"b", "d"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

// Without a voter to name, the advice is about what lies between them.
func TestAdviceNamesTheSilent(t *testing.T) {
	for want, silent := range map[string][]string{"reaches them over UDP: a, b.": {"a", "b"}, "loses or delays UDP packets.": nil} {
		if got := reachAdvice(silent); !strings.HasSuffix(got, want) {
			t.Errorf("%v: want %q at the end, got %q", silent, want, got)
		}
	}
}

// An interface that is set down on the host has no cable to look at.
func TestLinkAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"ip link set dev INTERFACE up": fmt.Errorf("eth0 %w, so it %w", floatingip.ErrSetDown, floatingip.ErrNoCarrier),
		"the cable and the switch":     fmt.Errorf("eth0 %w", floatingip.ErrNoCarrier),
		"an interface of this host":    fmt.Errorf("eth0 %w", floatingip.ErrNoInterface),
		"arp_ignore":                   fmt.Errorf("eth0 %w", floatingip.ErrNoARP),
	} {
		if got := linkAdvice(err); !strings.Contains(got, want) {
			t.Errorf("%v: want %q, got %q", err, want, got)
		}
	}
}

// A member put aside in a further election is no candidate there across a restart, and
// is one everywhere else.
func TestMaintenanceOfAnElectionSurvivesARestart(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		dir := t.TempDir()
		one := func(c *Config, h *fakeExecutor) {
			c.Name, c.StateDir = "m", dir
			withElections([]string{"web", "mail"})(c, h)
		}
		g.add(withElections([]string{"web", "mail"}))
		first := g.add(one)
		g.await(15*time.Second, "web is led", func() bool { return first.leaders([]string{"web"})["web"] != "" })
		if _, err := first.Election("web").StandAside(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		first.leave()
		<-first.ended
		second := g.add(one)
		aside := func(name string) bool { return second.Election(name).State().MaintenanceUntil != nil }
		g.await(15*time.Second, "it stands aside in web", func() bool { return aside("web") })
		if aside("mail") || aside(GroupElection) {
			t.Error("it stands aside elsewhere, too")
		}
		if left := time.Until(*second.Election("web").State().MaintenanceUntil); left < 50*time.Minute || left > time.Hour {
			t.Errorf("for another %v, want nearly an hour", left)
		}
		if _, err := second.Election("web").Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		second.leave()
		<-second.ended
		third := g.add(one)
		g.await(15*time.Second, "web is led", func() bool { return third.leaders([]string{"web"})["web"] != "" })
		if third.Election("web").State().MaintenanceUntil != nil {
			t.Error("it stands aside although it was resumed")
		}
	})
}

// A member that is no entry of the voters has no vote in any election, and says so once.
func TestAMemberWithoutAVoteSaysSoOnce(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		voters := func(c *Config, _ *fakeExecutor) { c.Voters = []string{"m0", "m1", "m2"} }
		g.three(voters)
		d := g.add(func(c *Config, f *fakeExecutor) {
			voters(c, f)
			c.Elections = map[string]ElectionConfig{"mail": {}, "web": {}}
		})
		g.await(10*time.Second, "it votes in its elections", func() bool { return d.Election("web") != nil && len(d.findingsOf(notAVoter)) > 0 })
		if f := d.findingsOf(notAVoter); len(f) != 1 || f[0].Election != "" {
			t.Errorf("want one finding for the member, got %+v", f)
		}
	})
}
