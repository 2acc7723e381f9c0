package main

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/agent"
)

var electionRounds = flag.Int("elections.rounds", 1, "how often a host of two of six elections dies; more than once: beside a group with one election, and with figures")

// pingPace is the time between two questions to each address.
const pingPace = 5 * time.Millisecond

// electionFigures are what a client sees of the addresses when hosts die, beside those of
// a group with one election whose leader's host dies at the same time. It is nil if
// nothing is measured; then its methods do nothing.
type electionFigures struct {
	t           *testing.T
	pings       *pings // of six elections
	single      *lan
	singlePings *pings
	singleDead  *host
	singleDied  time.Time
	figures     map[string][]time.Duration
}

// The rows of the table.
const (
	rowSingle   = "takeover of the only election"
	rowFirst    = "takeover of the first of two"
	rowSecond   = "takeover of the second of two"
	rowDoyen    = "takeover of the first of two, the group's leader died with them"
	rowDoyen2   = "takeover of the second of two, the group's leader died with them"
	rowStayed   = "outage of the four that stay, when the host dies"
	rowBack     = "outage of the two that are handed back"
	rowBackStay = "outage of the four that stay, when two are handed back"
)

var rows = []string{rowSingle, rowFirst, rowSecond, rowDoyen, rowDoyen2, rowStayed, rowBack, rowBackStay}

// beside starts a group with one election, and a client of each group, if there is
// more than one round. All agents, those of l too, which are started after this, are
// scheduled as the test is: it can be run with -exec 'chrt --rr 50'.
func (l *lan) beside(rounds int) *electionFigures {
	l.t.Helper()
	if rounds <= 1 {
		return nil
	}
	single := newLAN(l.t, 3)
	for _, h := range slices.Concat(l.hosts, single.hosts) {
		h.ordinary = true
	}
	for _, h := range single.hosts {
		single.startSingle(h)
	}
	var addrs []string
	for i := range furtherElections {
		addrs = append(addrs, addressOf(i))
	}
	return &electionFigures{
		t: l.t, pings: l.ping(addrs...),
		single: single, singlePings: single.ping(floating), figures: make(map[string][]time.Duration),
	}
}

func (l *lan) startSingle(h *host) {
	h.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds", "--floating-ip", floatingFlag)
}

// settled waits until all members of both groups are ready, and a moment more, so that
// the fault falls anywhere between two renewals.
func (f *electionFigures) settled(l *lan) {
	if f == nil {
		return
	}
	f.t.Helper()
	for _, l := range []*lan{l, f.single} {
		l.eventually(func() error {
			for _, h := range l.hosts {
				if err := expectMembers(h.node, len(l.hosts)); err != nil {
					return err
				}
				var r agent.Readiness
				if !h.get("/ready", &r) || !r.Ready {
					return fmt.Errorf("%s is not ready: %q", h.name, r.Reasons)
				}
			}
			return nil
		})
	}
	f.singleDead = f.single.holder()
	time.Sleep(rand.N(time.Second))
}

// pause makes the test ask the hosts rarely: each time it starts processes in their
// namespaces, which hold locks of the kernel that keepers wait for.
func (f *electionFigures) pause() {
	if f != nil {
		time.Sleep(2 * time.Second)
	}
}

// die has the host of the only election die.
func (f *electionFigures) die() {
	if f == nil {
		return
	}
	f.singleDied = time.Now()
	f.singleDead.die()
	f.singleDead.wait()
}

// died notes how long the addresses did not answer after the hosts had died.
func (f *electionFigures) died(doyen bool, at time.Time, before, after map[string]uint64) {
	if f == nil {
		return
	}
	f.t.Helper()
	f.pings.answered(f.t)
	f.singlePings.answered(f.t)
	_, end := f.singlePings.outage(floating, f.singleDied)
	f.add(rowSingle, end.Sub(f.singleDied))
	moved := differing(before, after)
	var took []time.Duration
	for i := range furtherElections {
		outage, end := f.pings.outage(addressOf(i), at)
		if slices.Contains(moved, fmt.Sprintf("e%d", i)) {
			took = append(took, end.Sub(at))
		} else {
			f.add(rowStayed, outage)
		}
	}
	slices.Sort(took)
	for i, d := range took[:min(2, len(took))] {
		if doyen {
			f.add([]string{rowDoyen, rowDoyen2}[i], d)
		} else {
			f.add([]string{rowFirst, rowSecond}[i], d)
		}
	}
}

// boot starts the host of the only election again.
func (f *electionFigures) boot() {
	if f == nil {
		return
	}
	f.t.Helper()
	f.singleDead.run("ip", "addr", "del", floating+"/24", "dev", "eth0")
	f.singleDead.isolate(false)
	f.single.startSingle(f.singleDead)
}

// handedBack notes the longest time that an address did not answer since a host was
// started.
func (f *electionFigures) handedBack(at time.Time, before, after map[string]uint64) {
	if f == nil {
		return
	}
	f.t.Helper()
	f.pings.answered(f.t)
	moved := differing(before, after)
	for i := range furtherElections {
		outage, _ := f.pings.outage(addressOf(i), at)
		if slices.Contains(moved, fmt.Sprintf("e%d", i)) {
			f.add(rowBack, outage)
		} else {
			f.add(rowBackStay, outage)
		}
	}
}

func (f *electionFigures) add(row string, d time.Duration) {
	f.figures[row] = append(f.figures[row], d)
	f.t.Logf("%s: %v", row, d)
}

// print prints a table in Markdown: median (minimum–maximum).
func (f *electionFigures) print() {
	if f == nil {
		return
	}
	var b strings.Builder
	b.WriteString("\n| ms | median (minimum–maximum) | times |\n|---|---|---|\n")
	for _, row := range rows {
		list := f.figures[row]
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }
		fmt.Fprintf(&b, "| %s | %s (%s–%s) | %d |\n", row, ms(list[len(list)/2]), ms(list[0]), ms(list[len(list)-1]), len(list))
	}
	f.t.Log(b.String())
}

// pings asks addresses from the client's host, and keeps when each answered.
type pings struct {
	addrs []string

	mu      sync.Mutex
	answers map[string][]time.Time
}

// pingVariable has the addresses that the test's binary asks, in a process of its own,
// instead of running tests.
const pingVariable = "DOYEN_TEST_PING"

func init() {
	if addrs := os.Getenv(pingVariable); addrs != "" {
		fmt.Fprintln(os.Stderr, askAll(strings.Fields(addrs)))
		os.Exit(1)
	}
}

// ping asks the addresses until the test ends. A kernel answers, no process of the host.
func (l *lan) ping(addrs ...string) *pings {
	l.t.Helper()
	own, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("chrt", "--rr", "60", "ip", "netns", "exec", l.client(), own) // ahead of the agents
	cmd.Env = append(os.Environ(), pingVariable+"="+strings.Join(addrs, " "))
	cmd.Stderr = l.t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	p := &pings{addrs: addrs, answers: make(map[string][]time.Time)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			addr, nano, _ := strings.Cut(lines.Text(), " ")
			ns, _ := strconv.ParseInt(nano, 10, 64)
			p.mu.Lock()
			p.answers[addr] = append(p.answers[addr], time.Unix(0, ns))
			p.mu.Unlock()
		}
	}()
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return p
}

// askAll asks the addresses and prints when each answers.
func askAll(addrs []string) error {
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	go func() {
		for ; ; time.Sleep(pingPace) {
			for _, a := range addrs {
				// What cannot be sent has no answer.
				_, _ = conn.WriteTo(echoRequest, &net.IPAddr{IP: net.ParseIP(a)})
			}
		}
	}()
	b := make([]byte, 256)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return err
		}
		if n > 0 && b[0] == 0 { // an echo reply
			if _, err := fmt.Println(from, time.Now().UnixNano()); err != nil {
				return err
			}
		}
	}
}

// echoRequest is one of ICMP without data; its checksum is over its first two bytes alone.
var echoRequest = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}

// outage returns the longest time without an answer of an address since a time, less the
// pace, and when it ended.
func (p *pings) outage(addr string, since time.Time) (longest time.Duration, end time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.answers[addr]
	k, _ := slices.BinarySearchFunc(list, since, time.Time.Compare)
	last := since
	for _, at := range append(slices.Clone(list[k:]), time.Now()) {
		if d := at.Sub(last) - pingPace; d > longest {
			longest, end = d, at
		}
		last = at
	}
	return longest, end
}

// answered waits until each address has just answered.
func (p *pings) answered(t *testing.T) {
	t.Helper()
	ok := poll(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range p.addrs {
			if list := p.answers[a]; len(list) == 0 || time.Since(list[len(list)-1]) > 100*time.Millisecond {
				return false
			}
		}
		return true
	})
	if !ok {
		t.Fatal("not every address answers")
	}
}
