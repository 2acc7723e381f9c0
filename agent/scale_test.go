package agent

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/gossip/simnet"
)

var flagScale = flag.String("scale.members", "3,30", "sizes of the groups that TestScale measures; with -v it prints a table")

// rest is for how long what members send at rest is counted.
const rest = 2 * time.Minute

// toldAfter is how much longer gossip repeats the news of a start for each member
// that has started.
const toldAfter = 300 * time.Millisecond

// figures are what a group of one size showed. Times are virtual and exact; CPU
// and memory are this process's own, with what the simulated network needs.
type figures struct {
	members                 int
	converged               time.Duration
	first, most, all        time.Duration // failover: until so many name another leader
	packets, conns, bytes   float64       // sent at rest, a member and second
	cpu                     time.Duration // at rest, a member and second
	heap, stack, goroutines uint64        // a member
}

// TestScale measures groups of several sizes in virtual time: rest must cost a
// member much the same, and a failover take as long, in all of them. In a group of three
// the leader tells all others itself, and briefly; in a larger one its messages go round
// by gossip, whole, which costs a member the same from some ten members on.
func TestScale(t *testing.T) {
	var sizes []figures
	for _, f := range strings.Split(*flagScale, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 2 {
			t.Fatalf("-scale.members: %q is not the size of a group", f)
		}
		inGroup(t, func(t *testing.T, g *group) { sizes = append(sizes, g.measure(n)) })
	}
	t.Log("\n" + table(sizes))
	small := sizes[0]
	for _, f := range sizes[1:] {
		if f.packets > 2*small.packets || f.bytes > 3.5*small.bytes {
			t.Errorf("%d members: want rest to cost each as much as in a group of %d, got %.1f packets and %.0f bytes a second after %.1f and %.0f",
				f.members, small.members, f.packets, f.bytes, small.packets, small.bytes)
		}
		if f.all > small.all*3/2 {
			t.Errorf("%d members: want a failover within 1.5 times the %v of %d, got %v", f.members, small.all, small.members, f.all)
		}
	}
}

// measure starts n members at once and kills the host of their leader.
func (g *group) measure(n int) figures {
	f := figures{members: n}
	heap, stack, goroutines := inUse()
	began := time.Now()
	g.addQuiet(n)
	leader := ""
	agree := func() bool {
		l, ok := g.members[n-1].Leader()
		leader = l.Leader
		return ok && !slices.ContainsFunc(g.members, func(m *member) bool { return !m.follows(leader) })
	}
	g.await(time.Minute, "all follow one leader", agree)
	f.converged = time.Since(began)
	for len(g.members[0].Members()) < n || !g.sameLine() {
		if time.Since(began) > 5*time.Minute {
			g.t.Fatal("not all know the line of succession after five minutes")
		}
		time.Sleep(time.Second)
	}
	// What a member has to tell of the start of n it tells 4 log n times, in
	// packets of a fixed size at a fixed pace.
	time.Sleep(time.Minute + time.Duration(n)*toldAfter)

	before, cpu := g.sent(), cpuTime()
	for range int(rest / time.Second) {
		time.Sleep(time.Second)
		if !agree() {
			g.t.Errorf("%d members: want all to follow %s at rest", n, leader)
		}
	}
	after := g.sent()
	per := func(x uint64) float64 { return float64(x) / rest.Seconds() / float64(n) }
	f.packets, f.conns, f.bytes = per(after.Packets-before.Packets), per(after.Conns-before.Conns), per(after.Bytes-before.Bytes)
	f.cpu = (cpuTime() - cpu) / time.Duration(rest.Seconds()) / time.Duration(n)
	h, s, r := inUse()
	f.heap, f.stack, f.goroutines = (h-min(h, heap))/uint64(n), (s-min(s, stack))/uint64(n), (r-goroutines)/uint64(n)
	f.first, f.most, f.all = g.failover(leader)
	return f
}

// addQuiet starts n members at once that log nothing, on a network whose packets take a
// while.
func (g *group) addQuiet(n int) {
	g.net.Latency = 500 * time.Microsecond
	for range n {
		g.add(func(c *Config, _ *fakeExecutor) { c.Logger = slog.New(slog.DiscardHandler) })
	}
}

// sameLine reports whether all members show the same line of succession.
func (g *group) sameLine() bool {
	line := g.members[0].Members()
	return !slices.ContainsFunc(g.members, func(m *member) bool { return !slices.Equal(line, m.Members()) })
}

// failover kills the host of the leader at the worst moment, when it has just
// renewed, and returns when the first, 99 % and all of the others name another.
func (g *group) failover(leader string) (first, most, all time.Duration) {
	victim := g.byName(leader)
	others := slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m == victim })
	g.await(2*time.Second, "the leader renews", func() bool { return victim.State().LeaseMS >= 999 })
	time.Sleep(5 * time.Millisecond) // the renewal has arrived
	g.crash(victim)
	died := time.Now()
	all = g.await(time.Minute, "another is followed", func() bool {
		n := 0
		for _, m := range others {
			if l, ok := m.Leader(); ok && l.Leader != leader {
				n++
			}
		}
		if n > 0 {
			first = cmp.Or(first, time.Since(died))
		}
		if 100*n >= 99*len(others) {
			most = cmp.Or(most, time.Since(died))
		}
		return n == len(others)
	})
	return first, most, all
}

// sent is what all members have sent so far.
func (g *group) sent() (sum simnet.Traffic) {
	for _, m := range g.members {
		s := m.host.Sent()
		sum.Packets, sum.Conns, sum.Bytes = sum.Packets+s.Packets, sum.Conns+s.Conns, sum.Bytes+s.Bytes
	}
	return sum
}

// inUse is the memory and the goroutines of this process.
func inUse() (heap, stack, goroutines uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse, uint64(runtime.NumGoroutine())
}

// cpuTime is what this process has used; time in a bubble is not real.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func table(sizes []figures) string {
	var b strings.Builder
	b.WriteString("| members | converged | failover: first | 99 % | all | packets/s | conns/s | bytes/s | CPU/s | heap | stacks | goroutines |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range sizes {
		fmt.Fprintf(&b, "| %d | %v | %v | %v | %v | %.1f | %.3f | %.0f | %v | %d KiB | %d KiB | %d |\n",
			f.members, f.converged, f.first, f.most, f.all, f.packets, f.conns, f.bytes,
			f.cpu.Round(time.Microsecond), f.heap>>10, f.stack>>10, f.goroutines)
	}
	return b.String()
}
