//go:build linux

package main

import (
	"cmp"
	"slices"
	"time"
)

// How often the observers ask.
const (
	clientEvery = 5 * time.Millisecond
	watchEvery  = 4 * time.Millisecond
)

// span is a stretch of time.
type span struct{ from, to time.Duration }

// outage is the longest time without an answer between two moments, less the
// pause between two questions.
func outage(replies []reply, from, to time.Duration) time.Duration {
	return max(longestPause(replies, from, to)-clientEvery, 0)
}

// longestPause is the longest time without an answer. Answers are in the order of
// their times.
func longestPause(replies []reply, from, to time.Duration) time.Duration {
	longest, last := time.Duration(0), from
	for _, x := range replies {
		if x.at <= from || x.at > to {
			continue
		}
		longest, last = max(longest, x.at-last), x.at
	}
	return max(longest, to-last)
}

// held turns answers into the times that each host surely held the address: from
// an answer received to the last question, of an unbroken row, that it answered.
// Questions are asked every so often.
func held(proofs []proof, every, from, to time.Duration) [maxHosts][]span {
	broken := 3 * every
	var list [maxHosts][]span
	var row [maxHosts]*struct{ first, last proof }
	finish := func(host int) {
		if r := row[host]; r != nil && r.last.sent > r.first.got {
			list[host] = append(list[host], span{r.first.got, r.last.sent})
		}
		row[host] = nil
	}
	ordered := slices.SortedFunc(slices.Values(proofs), func(a, b proof) int { return cmp.Compare(a.sent, b.sent) })
	for _, p := range ordered {
		if p.sent < from || p.got > to {
			continue
		}
		if r := row[p.host]; r != nil && p.sent-r.last.sent <= broken {
			r.last = p
			continue
		}
		finish(p.host)
		row[p.host] = &struct{ first, last proof }{p, p}
	}
	for host := range row {
		finish(host)
	}
	return list
}

// onInterfaces turns the kernels' events into the times that each host had the
// address. Those of host dead end at a moment; dead is -1 if there is none.
func onInterfaces(changes []change, from, to time.Duration, dead int, died time.Duration) [maxHosts][]span {
	var list [maxHosts][]span
	var since [maxHosts]time.Duration
	var has [maxHosts]bool
	end := func(host int, at time.Duration) {
		if host == dead {
			at = min(at, died)
		}
		if s := (span{max(since[host], from), min(at, to)}); s.to > s.from {
			list[host] = append(list[host], s)
		}
	}
	for _, c := range changes {
		if has[c.host] && !c.has {
			end(c.host, c.at)
		}
		has[c.host], since[c.host] = c.has, c.at
	}
	for host := range has {
		if has[host] {
			end(host, to)
		}
	}
	return list
}

// overlap is the time that at least two hosts held the address.
func overlap(spans [maxHosts][]span) time.Duration {
	type edge struct {
		at   time.Duration
		step int
	}
	var edges []edge
	for _, list := range spans {
		for _, s := range list {
			edges = append(edges, edge{s.from, 1}, edge{s.to, -1})
		}
	}
	// At one moment endings come first: a hand-over is no overlap.
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
	var total time.Duration
	holders := 0
	for i, e := range edges {
		if holders > 1 {
			total += e.at - edges[i-1].at
		}
		holders += e.step
	}
	return total
}

// takeover is when a host other than the former holder first answered, after
// from; not ok if none did.
func takeover(proofs []proof, former int, from, to time.Duration) (at time.Duration, ok bool) {
	for _, p := range proofs {
		if p.host != former && p.sent > from && p.got <= to && (!ok || p.got < at) {
			at, ok = p.got, true
		}
	}
	return at - from, ok
}

// lastAnswer is how long after from any host that is wanted still answered.
func lastAnswer(proofs []proof, wanted func(host int) bool, from, to time.Duration) time.Duration {
	last := from
	for _, p := range proofs {
		if wanted(p.host) && p.sent > from && p.got <= to {
			last = max(last, p.sent)
		}
	}
	return last - from
}

// addressStayed is how long after from the host's interface had the address.
func addressStayed(changes []change, host int, from, to time.Duration) time.Duration {
	for _, s := range onInterfaces(changes, from, to, -1, 0)[host] {
		if s.from == from {
			return s.to - from
		}
	}
	return 0
}

// failovers is how often a host came to have the address.
func failovers(changes []change, from, to time.Duration) int {
	n := 0
	for _, c := range changes {
		if c.has && c.at > from && c.at <= to {
			n++
		}
	}
	return n
}
