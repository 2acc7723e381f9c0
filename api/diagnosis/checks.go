package diagnosis

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"doyen/agent"
)

// clockTolerance is how far a member's clock may be from the others' before a
// person should know: less can be the survey itself, or a clock being slewed.
const clockTolerance = 2 * time.Second

// maxReported limits what a verdict takes over from one member.
const maxReported = 16

// absences reports members that did not answer and members that are gone.
func absences(q *inquiry) {
	for _, name := range q.silent {
		if slices.Contains(entries(&q.given.Asker), name) && q.member(name) == "" && len(q.listing(name)) == 0 {
			continue // it was never a member: voters reports it
		}
		r := q.given.Replies[name]
		what, evidence := "no-answer", r.Err
		if seen := q.listing(name); len(seen) > 0 {
			evidence += "; " + list(seen) + " " + verb(len(seen), "counts", "count") + " it among the members"
		}
		if followers := q.follow[name]; len(followers) > 0 {
			evidence += "; it is the leader that " + list(followers) + " " + verb(len(followers), "names", "name")
		}
		if q.hasDied(name) {
			q.find("died", name, "its agent ended without leaving, as its keeper says", "see why in its log, and start it again")
			continue
		}
		advice := "see whether its agent runs, and whether " + Printable(q.given.Asker.Name, MaxText) + " reaches its gossip port over TCP"
		if r.UDP {
			what = "tcp-blocked"
			advice = "its host answers by UDP: let TCP through on the same port"
		}
		q.find(what, name, evidence, advice)
	}
	for _, m := range q.given.Members {
		if _, asked := q.given.Replies[m.Name]; !m.Alive && !asked {
			q.find("lost", m.Name, "it was a member, did not leave, and is no longer reached",
				"start it again, or let it leave; if it runs, "+checkNetwork)
		}
	}
}

// hasDied reports whether the keeper of a member has told of its death.
func (q *inquiry) hasDied(name string) bool {
	return slices.ContainsFunc(q.given.Members, func(m agent.MemberInfo) bool { return m.Name == name && m.Died })
}

// listing returns the members that answered and count name among the members.
func (q *inquiry) listing(name string) []string {
	var seen []string
	for _, by := range q.answered {
		if slices.Contains(q.answerOf(by).Members, name) {
			seen = append(seen, by)
		}
	}
	return seen
}

// views reports members that only some of those that answered can see. Members
// that the same ones miss are one finding, so that one bad link is not many.
func views(q *inquiry) {
	known := map[string]bool{}
	for _, by := range q.answered {
		known[by] = true
		for _, name := range q.answerOf(by).Members {
			known[name] = true
		}
	}
	missed := map[string][]string{} // by the members that miss them, joined
	blind := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		seen := q.listing(name)
		if len(seen) == 0 || len(seen) == len(q.answered) {
			continue
		}
		by := slices.DeleteFunc(slices.Clone(q.answered), func(n string) bool { return slices.Contains(seen, n) })
		key := strings.Join(by, "\x00")
		missed[key] = append(missed[key], name)
		blind[key] = by
	}
	for _, key := range slices.Sorted(maps.Keys(missed)) {
		names, by := missed[key], blind[key]
		about := names[0]
		if len(names) > 1 && len(by) == 1 {
			about = by[0]
		}
		q.find("views-differ", about, fmt.Sprintf("%s %s no member to %s, but to others",
			list(names), verb(len(names), "is", "are"), list(by)),
			"members that have just joined or met are seen by all within a few seconds: "+askAgain+"; if it stays, "+checkNetwork)
	}
}

// transports reports members that UDP does not reach. Elections run over UDP.
func transports(q *inquiry) {
	for _, name := range q.answered {
		if name != q.given.Asker.Name && !q.given.Replies[name].UDP {
			q.find("udp-blocked", name, "it answered over TCP and not the probe by UDP",
				"let UDP through on the same port as TCP, between all members: elections need it")
		}
	}
}

// clocks reports members whose clock is off the others' by more than can be
// explained by when they answered. The reference is the median, so that with
// three or more the clock that is wrong is named; of two it is the asker's.
func clocks(q *inquiry) {
	began, ended := unix(q.given.Began), unix(q.given.Ended)
	slack := (ended - began) / 2
	offsets := map[string]float64{}
	for _, name := range q.answered {
		if name == q.given.Asker.Name {
			offsets[name] = 0
		} else if wall := q.answerOf(name).WallTime; wall > 0 {
			offsets[name] = wall - began - slack
		}
	}
	reference := 0.0
	if len(offsets) > 2 {
		reference = median(offsets)
	}
	for _, name := range slices.Sorted(maps.Keys(offsets)) {
		off := offsets[name] - reference
		if math.Abs(off) <= slack+clockTolerance.Seconds() {
			continue
		}
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		q.find("clock-differs", name, fmt.Sprintf("its clock is %.1f s %s the others' (±%.1f s)", math.Abs(off), way, slack),
			fmt.Sprintf("synchronise the host's clock (NTP, chrony); past %v it is reported. No member loses a leadership by it, but terms are proposed by the clock", clockTolerance))
	}
}

// median of the values; of an even number the lower of the middle two.
func median(values map[string]float64) float64 {
	sorted := slices.Sorted(maps.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// unix is a time as states give it.
func unix(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// hooks reports hooks whose last run failed. The exit status of change counts
// for nothing, so its failure is only good to know.
func hooks(q *inquiry) {
	for _, name := range q.answered {
		h := q.answerOf(name).Hook
		if h == nil || h.Running || h.Overtaken || h.Exit == 0 && h.Error == "" {
			continue
		}
		evidence := fmt.Sprintf("%s ended with exit status %d in term %d", Printable(h.Event, MaxText), h.Exit, h.Term)
		if h.Error != "" {
			evidence += ": " + Printable(h.Error, MaxText)
		}
		report := q.find
		if h.Event == "change" {
			report = q.note
		}
		report("hook-failed", name, evidence, "see the hook's output in that member's log, and run the hook by hand")
	}
}

// holders finds floating addresses that more than one member holds: neighbours
// follow whichever of them announced it last.
func holders(q *inquiry) {
	held := map[string][]string{}
	leads := map[string][]string{} // who leads the election of an address
	for _, name := range q.answered {
		s := q.answerOf(name)
		add := func(addresses []agent.AddressState, leader bool) {
			for _, a := range addresses {
				if a.Held && !slices.Contains(held[a.Address], name) {
					held[a.Address] = append(held[a.Address], name)
				}
				if leader {
					leads[a.Address] = append(leads[a.Address], name)
				}
			}
		}
		add(s.Addresses, s.IsLeader)
		for election, e := range s.Elections {
			if election != groupElection {
				add(e.Addresses, e.Self)
			}
		}
	}
	for _, address := range slices.Sorted(maps.Keys(held)) {
		if all := held[address]; len(all) > 1 {
			about := all[0]
			for _, name := range all {
				if !slices.Contains(leads[address], name) {
					about = name
				}
			}
			q.find("floating-ip-two-holders", about, Printable(address, MaxText)+" is held by "+list(all),
				"see the logs of these members: the one that does not lead should have given the address up")
		}
	}
}

// reported takes over what the members themselves have found. What several
// report of one member, or this verdict says already, is said once.
func reported(q *inquiry) {
	type key struct{ what, member, election string }
	at := map[key]int{}
	for i, f := range q.findings {
		at[key{f.What, f.Member, f.Election}] = i
	}
	for _, by := range q.answered {
		own := q.answerOf(by).Findings
		for _, f := range own[:min(len(own), maxReported)] {
			f = agent.Finding{
				What: Printable(f.What, MaxText), Member: Printable(f.Member, MaxText), Election: Printable(f.Election, MaxText),
				Evidence: Printable(f.Evidence, MaxText), Advice: Printable(f.Advice, MaxText), Degrades: f.Degrades,
			}
			if i, ok := at[key{f.What, f.Member, f.Election}]; ok {
				q.findings[i].Degrades = q.findings[i].Degrades || f.Degrades
				continue
			}
			at[key{f.What, f.Member, f.Election}] = len(q.findings)
			f.Evidence += " (reported by " + Printable(by, MaxText) + ")"
			q.findings = append(q.findings, f)
		}
	}
}
