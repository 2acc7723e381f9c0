//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hookLine is what the hook noted when an event began or ended.
type hookLine struct {
	at                         time.Duration
	node, event, phase, reason string
	term                       uint64
}

// lines returns what the hooks noted in this round, and who died, by time.
//
// The hook takes the time after it has begun and before it ends: a release that
// seems to end after an acquire began has overlapped it for sure.
func (l *trio) lines() []hookLine {
	l.t.Helper()
	text := l.tail(l.notes(), l.read)
	list := slices.Clone(l.deaths)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue // a line not yet written to its end, or none at all
		}
		micro, err1 := strconv.ParseInt(f[0], 10, 64)
		term, err2 := strconv.ParseUint(f[4], 10, 64)
		if err := cmp.Or(err1, err2); err != nil {
			l.t.Fatalf("the hook noted %q: %v", line, err)
		}
		at := time.UnixMicro(micro).Sub(epoch.Round(0)) // Round strips the monotonic clock, which the hook's time lacks
		list = append(list, hookLine{at: at, node: f[1], event: f[2], phase: f[3], term: term, reason: strings.Join(f[5:], " ")})
	}
	slices.SortStableFunc(list, func(a, b hookLine) int { return cmp.Compare(a.at, b.at) })
	return list
}

// tail is what a file holds from an offset on.
func (l *trio) tail(name string, from int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, from, 64<<20))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// find returns the first line of a kind after a moment; by "" means anybody.
func find(lines []hookLine, after time.Duration, by, event, phase string) (hookLine, bool) {
	i := slices.IndexFunc(lines, func(x hookLine) bool {
		return x.at > after && (by == "" || x.node == by) && x.event == event && x.phase == phase
	})
	if i < 0 {
		return hookLine{}, false
	}
	return lines[i], true
}

// startRound settles the three and forgets what was before. Timers have phases:
// the round begins at any of them.
func (l *trio) startRound() {
	l.t.Helper()
	leader, _ := l.settled()
	time.Sleep(time.Duration(l.dice.Int64N(int64(500 * time.Millisecond))))
	size := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			l.t.Fatal(err)
		}
		return info.Size()
	}
	l.read = size(l.notes())
	for i, h := range l.net.hosts {
		l.logs[i] = size(l.logName(h))
	}
	// The leader has acquired before: that is how this round's lines begin.
	l.deaths = []hookLine{{at: now(), node: nameOf(leader), event: "acquire", phase: "begin"}}
	l.mu.Lock()
	l.yes = nil
	l.mu.Unlock()
}

// checkRound settles the three again, and looks whether at any time in the round
// two said that they lead, or one's acquire began before another's release had
// ended.
func (l *trio) checkRound() {
	l.t.Helper()
	l.settled()
	if d := overlap(held(l.said(), l.every, 0, now())); d != 0 {
		l.errorf("two say for %v that they lead", d)
	}
	lines := l.lines()
	holder := ""
	for i, x := range lines {
		switch {
		case x.event == "acquire" && x.phase == "begin":
			switch {
			case holder == "" || holder == x.node:
			case l.releaseKilled(holder) && !*quorumStrict:
				l.killed++
			default:
				l.errorf("the acquire of %s begins while %s has not ended its release", x.node, holder)
			}
			holder = x.node
		case x.node != holder:
		case x.event == "death", x.event == "release" && x.phase == "end":
			holder = ""
		case x.event == "release" && killed(lines[i+1:], x):
			// That it was killed for taking too long is in order; a host that runs
			// this strictly wants to know.
			holder = ""
			l.killed++
			if *quorumStrict {
				l.errorf("the release of %s did not run to its end", x.node)
			}
		}
	}
	if l.bad {
		l.show()
		l.wrong++
		l.bad = false
	}
	l.rounds++
}

// releaseKilled reports whether the agent of a node says that a release of this round
// was killed at its limit: on a busy machine that may be before its first line has run.
func (l *trio) releaseKilled(node string) bool {
	for i, h := range l.net.hosts {
		for line := range strings.Lines(l.tail(l.logName(h), l.logs[i])) {
			if nameOf(h) == node && strings.Contains(line, "event=release") && strings.Contains(line, "killed at its limit") {
				return true
			}
		}
	}
	return false
}

// killed reports whether a hook that began never ended: the next line of its
// node begins another.
func killed(later []hookLine, begun hookLine) bool {
	i := slices.IndexFunc(later, func(x hookLine) bool { return x.node == begun.node })
	return i >= 0 && later[i].phase != "end"
}

// errorf notes what is wrong with this round.
func (l *trio) errorf(format string, args ...any) {
	l.t.Helper()
	l.bad = true
	l.t.Errorf(format, args...)
}

// show logs what the hooks and the agents wrote in this round.
func (l *trio) show() {
	var b strings.Builder
	for _, x := range l.lines() {
		fmt.Fprintf(&b, "%v %s %s %s term %d %s\n", epoch.Add(x.at).UTC().Format("15:04:05.000000"), x.node, x.event, x.phase, x.term, x.reason)
	}
	l.t.Logf("the hooks:\n%s", &b)
	for i, h := range l.net.hosts {
		text := l.tail(l.logName(h), l.logs[i])
		const enough = 16 << 10
		l.t.Logf("%s:\n%s", h.name, text[max(0, len(text)-enough):])
	}
}

// figure notes how long something took.
func (l *trio) figure(name string, d time.Duration) {
	if l.figures[name] == nil {
		l.order = append(l.order, name)
	}
	l.figures[name] = append(l.figures[name], d)
}

// median of a figure.
func (l *trio) median(name string) time.Duration {
	list := slices.Sorted(slices.Values(l.figures[name]))
	return list[len(list)/2]
}

// print logs the figures.
func (l *trio) print() {
	l.t.Logf("%d of %d rounds in order, %d releases killed", l.rounds-l.wrong, l.rounds, l.killed)
	for _, name := range l.order {
		l.t.Log(spread(name, l.figures[name]))
	}
}

// spread is a line that says how long something took.
func spread(name string, times []time.Duration) string {
	list := slices.Sorted(slices.Values(times))
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	return fmt.Sprintf("%-44s median %8s ms, from %8s to %8s, 9 of 10 below %8s (%d times)", name, ms(list[len(list)/2]), ms(list[0]),
		ms(list[len(list)-1]), ms(list[len(list)*9/10]), len(list))
}
