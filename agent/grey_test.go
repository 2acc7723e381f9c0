package agent

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/simnet"
)

var flagGrey = flag.String("grey.members", "3,12", "sizes of the groups that TestGreyMembers measures; with -v it prints a table")

const (
	// look is how often the tests of this file look at all members.
	look = 100 * time.Millisecond
	// greyFor is how long members are neither dead nor well.
	greyFor = 10 * time.Minute
	// deafFor is for how long a deaf member hears nothing, and then all, in turn.
	deafFor = 20 * time.Second
	// mostAlone is how often a grey member may lead in that time, the beginning included.
	mostAlone = 6
	// lost is which part of the packets from and to a lossy member is lost.
	lost = 0.8
)

// The faults are those by which Suresh et al. (Stable and consistent membership at
// scale with Rapid, USENIX ATC 2018, section 7) compare group membership services, and a
// pair of members that cannot reach each other.
var greyFaults = []struct {
	name string
	// lose says whether a packet between members is lost at a time since the fault began;
	// from and to say which of the two are grey.
	lose func(random *rand.Rand, from, to bool, since time.Duration) bool
}{
	{"deaf", func(_ *rand.Rand, _, to bool, since time.Duration) bool {
		return to && since%(2*deafFor) < deafFor
	}},
	{"lossy", func(random *rand.Rand, from, to bool, _ time.Duration) bool {
		return (from || to) && random.Float64() < lost
	}},
	{"apart", func(_ *rand.Rand, from, to bool, _ time.Duration) bool { return from && to }},
}

// TestGreyMembers has one of a hundred members, and one at least, be neither dead nor
// well for ten minutes, or two cut off from each other. The others keep a leader that is
// well or reaches all but one, and leave one that is not well once.
func TestGreyMembers(t *testing.T) {
	var rows []string
	for _, n := range greySizes(t) {
		for i := range greyFaults {
			for _, leads := range []bool{false, true} {
				inGroup(t, func(t *testing.T, g *group) { rows = append(rows, g.grey(n, i, leads)) })
			}
		}
	}
	t.Log("\n| members | grey | changes of the leader | without a leader | a grey one led | heard by all again |\n|---|---|---|---|---|---|\n" + strings.Join(rows, "\n"))
}

// TestStartAndDeath measures how long a group needs to know all its members, beside
// memberlist with its own settings: at a start of all at once, and after ten have died
// at once, the leader among them.
func TestStartAndDeath(t *testing.T) {
	var rows []string
	for _, n := range greySizes(t) {
		row := fmt.Sprintf("| %d |", n)
		bubble(t, func(t *testing.T) { row += bareStart(t, n) })
		inGroup(t, func(t *testing.T, g *group) { row += g.startAndDeath(n) })
		rows = append(rows, row)
	}
	t.Log("\n| members | memberlist: all know all after | sizes seen | doyen: all know all after | sizes seen | ten dead: a leader after | all know after |\n|---|---|---|---|---|---|---|\n" +
		strings.Join(rows, "\n"))
}

func greySizes(t *testing.T) (sizes []int) {
	t.Helper()
	for _, f := range strings.Split(*flagGrey, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 3 {
			t.Fatalf("-grey.members: %q is not the size of a group of three or more", f)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// crowd starts n members and waits until all know each other and follow one.
func (g *group) crowd(n int) (leader *member) {
	g.addQuiet(n)
	g.settled(g.members, 5*time.Minute)
	l, _ := g.members[n-1].Leader()
	return g.byName(l.Leader)
}

func (g *group) byName(name string) *member {
	return g.members[slices.IndexFunc(g.members, func(m *member) bool { return m.Name() == name })]
}

// settled waits until these members know each other and no others, and follow one, and
// says how long that took.
func (g *group) settled(members []*member, limit time.Duration) time.Duration {
	g.t.Helper()
	began := time.Now()
	for {
		l, _ := members[0].Leader()
		if !slices.ContainsFunc(members, func(m *member) bool {
			return len(m.group.snap.Load().names) != len(members) || l.Leader == "" || !m.follows(l.Leader)
		}) {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			g.t.Fatalf("not within %v: all of %d members know each other and follow one", limit, len(members))
		}
		time.Sleep(look)
	}
}

// grey has members be grey, the leader among them or not, and judges what the others do.
func (g *group) grey(n, fault int, leads bool) string {
	leader := g.crowd(n)
	time.Sleep(time.Minute)
	grey := slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m == leader })[:max(1, n/100)]
	if greyFaults[fault].name == "apart" {
		grey = slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m == leader })[:2]
	}
	if leads {
		grey[0] = leader
	}
	well := slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return slices.Contains(grey, m) })
	before := changes(well)
	is := map[netip.AddrPort]bool{}
	for _, m := range grey {
		is[m.host.Addr()] = true
	}
	began, random := time.Now(), rand.New(rand.NewPCG(uint64(n), uint64(fault)))
	lose := greyFaults[fault].lose
	g.net.Cut(func(from, to netip.AddrPort) bool {
		since := time.Since(began)
		return lose(random, is[from], is[to], since)
	})
	led, alone := make([]bool, len(grey)), make([]int, len(grey))
	without, follows, moves := make([]time.Duration, len(well)), make([]string, len(well)), make([]int, len(well))
	for time.Since(began) < greyFor {
		time.Sleep(look)
		for i, m := range grey {
			l, _ := m.Leader()
			leads := l.Leader == m.Name()
			if leads && !led[i] {
				alone[i]++
			}
			led[i] = leads
		}
		for i, m := range well {
			switch l, _ := m.Leader(); l.Leader {
			case "":
				without[i] += look
			case cmp.Or(follows[i], leader.Name()):
			default:
				follows[i], moves[i] = l.Leader, moves[i]+1
			}
		}
	}
	last, _ := well[0].Leader()
	stays := last.Leader == leader.Name() && slices.Equal(changes(well), before)
	agreed := !slices.ContainsFunc(well, func(m *member) bool { return !m.follows(last.Leader) })
	g.net.Cut(nil)
	again := g.settled(g.members, 5*time.Minute)
	what, leaves := greyFaults[fault].name, leads && greyFaults[fault].name != "apart"
	if leads {
		what += ", the leader too"
	}
	if most := slices.Max(moves); !agreed || stays == leaves || leaves && (most != 1 || slices.Contains(grey, g.byName(last.Leader))) {
		g.t.Errorf("%d members, %d of them %s: the leader %s has changed %d times; the others follow %s (all: %v)", n, len(grey), what, leader.Name(), most, last.Leader, agreed)
	}
	// A member that takes the leader for dead leads too, but not again and again.
	if most := slices.Max(alone); most > mostAlone {
		g.t.Errorf("%d members, %d of them %s: a grey one led %d times", n, len(grey), what, most)
	}
	return fmt.Sprintf("| %d | %d %s | %d | %v | %d | %v |", n, len(grey), what, slices.Max(moves), slices.Max(without), slices.Max(alone), again.Round(look))
}

// changes is how often each member has changed its leader.
func changes(members []*member) (n []uint64) {
	for _, m := range members {
		n = append(n, m.Counters().LeaderChanges)
	}
	return n
}

// startAndDeath starts n members at once, and has ten of them die at once.
func (g *group) startAndDeath(n int) string {
	g.addQuiet(n)
	sizes := map[int]bool{}
	took, ok := allKnow(n, sizes, func(i int) int { return len(g.members[i].group.snap.Load().names) })
	if !ok {
		g.t.Fatalf("not all of %d know all after %v", n, took)
	}
	g.settled(g.members, 5*time.Minute)
	time.Sleep(time.Minute)
	leader, _ := g.members[0].Leader()
	at := slices.Index(g.members, g.byName(leader.Leader))
	g.members[0], g.members[at] = g.members[at], g.members[0]
	dead := max(1, min(10, n/4))
	left := g.members[dead:]
	for _, m := range g.members[:dead] {
		g.crash(m)
	}
	led := g.await(time.Minute, "all follow another", func() bool {
		l, _ := left[0].Leader()
		return l.Leader != "" && l.Leader != leader.Leader && !slices.ContainsFunc(left, func(m *member) bool { return !m.follows(l.Leader) })
	})
	known := led + g.settled(left, 5*time.Minute)
	return fmt.Sprintf(" %v | %d | %v | %v |", took, len(sizes), led.Round(time.Millisecond), known.Round(look))
}

// bareStart starts n nodes of memberlist with its settings for a LAN.
func bareStart(t *testing.T, n int) string {
	network := simnet.Network{Latency: 500 * time.Microsecond, Buffered: true}
	lists := make([]*memberlist.Memberlist, n)
	for i := range lists {
		c := memberlist.DefaultLANConfig()
		c.Name, c.Transport, c.Logger = fmt.Sprintf("m%d", i), network.Host(), log.New(io.Discard, "", 0)
		list, err := memberlist.Create(c)
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = list
	}
	for _, list := range lists {
		go list.Join([]string{"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"})
	}
	sizes := map[int]bool{}
	took, ok := allKnow(n, sizes, func(i int) int { return lists[i].NumMembers() })
	text := took.String()
	if !ok {
		text = "over " + text
	}
	for _, list := range lists {
		_ = list.Shutdown()
	}
	time.Sleep(time.Minute) // for what memberlist has under way
	return fmt.Sprintf(" %s | %d |", text, len(sizes))
}

// allKnow waits until each of n knows n members, for ten minutes at most, says how long
// that took, and notes how many each knew meanwhile.
func allKnow(n int, sizes map[int]bool, knows func(int) int) (took time.Duration, ok bool) {
	began := time.Now()
	for {
		all := true
		for i := range n {
			k := knows(i)
			sizes[k] = true
			all = all && k == n
		}
		if all || time.Since(began) >= 10*time.Minute {
			return time.Since(began).Round(look), all
		}
		time.Sleep(look)
	}
}
