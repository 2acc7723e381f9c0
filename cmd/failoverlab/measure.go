//go:build linux

package main

import "time"

// times are the moments and hosts of one run.
type times struct {
	fault, heal, end time.Duration
	former, final    int // who held the address before the fault, and at the end
}

// measureRun turns what the observers saw in a run into figures, in milliseconds.
func measureRun(v view, s *scenario, t times) map[string]float64 {
	f := make(map[string]float64)
	put := func(name string, d time.Duration) { f[name] = float64(d.Microseconds()) / 1000 }
	put("outage", outage(v.replies, t.fault, t.heal))
	dead := -1
	if s.gone {
		dead = t.former
	}
	put("overlap", answerOverlap(v, t.fault, t.heal))
	put("overlap-address", overlap(onInterfaces(v.changes, t.fault, t.heal, dead, t.fault)))
	if s.victim == leader {
		isFormer := func(host int) bool { return host == t.former }
		put("old-answers", max(lastAnswer(v.pings, isFormer, t.fault, t.heal), lastAnswer(v.arps, isFormer, t.fault, t.heal)))
		put("old-address", addressStayed(v.changes, t.former, t.fault, t.heal))
		if at, ok := takeover(v.pings, t.former, t.fault, t.heal); ok {
			put("takeover", at)
		}
	}
	f["failovers"] = float64(failovers(v.changes, t.fault, t.heal))
	put("tcp-outage", tcpOutage(v.tried, t.fault, t.heal))
	put("tcp-connect", slowestConnect(v.tried, t.fault, t.end))
	f["tcp-failed"] = float64(len(failedAttempts(v.tried, t.fault, t.end)))
	f["tcp-broken"] = float64(len(brokenTo(v.broken, t.former, t.fault, t.heal)))
	f["tcp-refused"] = float64(refusals(v.tried, t.fault, t.end))
	put("heal-outage", outage(v.replies, t.heal, t.end))
	put("heal-tcp-outage", tcpOutage(v.tried, t.heal, t.end))
	if served, ok := lastServed(v.replies, t.heal); ok {
		f["heal-tcp-broken"] = float64(len(brokenTo(v.broken, served, t.heal, t.end)))
	}
	put("heal-overlap", answerOverlap(v, t.heal, t.end))
	isOther := func(host int) bool { return host != t.final }
	put("heal-settle", max(lastAnswer(v.pings, isOther, t.heal, t.end), lastAnswer(v.arps, isOther, t.heal, t.end)))
	return f
}

// answerOverlap is how long two hosts answered pings, or ARP, whichever is more.
func answerOverlap(v view, from, to time.Duration) time.Duration {
	return max(overlap(held(v.pings, v.every, from, to)), overlap(held(v.arps, v.every, from, to)))
}

// lastServed is the host that last answered the client before a moment.
func lastServed(replies []reply, before time.Duration) (host int, ok bool) {
	for _, x := range replies {
		if x.at <= before {
			host, ok = x.host, true
		}
	}
	return host, ok
}
