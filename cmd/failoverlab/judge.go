//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// said is an agent's answer that it leads: it did at some time between the
// question and the answer.
type said struct {
	host      int
	term      uint64
	sent, got time.Duration
}

// condition is how the hosts are from a moment on, until the next one's.
type condition struct {
	at time.Duration
	// well is from when on a host can be counted on, a start-up abstention
	// included; never if something is done to it.
	well [maxHosts]time.Duration
	// cut says which directions between two hosts lose packets.
	cut [maxHosts][maxHosts]bool
}

// never is later than any time.
const never = time.Duration(1<<63 - 1)

// lateAnswers finds the answers of an old holder after the first answer of a new
// one. A host is the old one while its interface has had the address for longer.
func lateAnswers(proofs []proof, changes []change, from, to time.Duration) (wrong []string) {
	spans := onInterfaces(changes, from, to, -1, 0)
	for newer, list := range spans {
		for _, s := range list {
			first := never
			for _, p := range proofs {
				if p.host == newer && p.sent >= s.from && p.got <= s.to {
					first = min(first, p.got)
				}
			}
			for older, list := range spans {
				for _, o := range list {
					if older == newer || o.from >= s.from || o.to <= first {
						continue
					}
					inside := func(p proof) bool { return p.host == older && p.sent > first && p.got <= o.to }
					if i := slices.IndexFunc(proofs, inside); i >= 0 {
						wrong = append(wrong, fmt.Sprintf("h%d, which had the address from %v on, answers at %v, and h%d, with the address from %v on, had answered at %v",
							older+1, o.from, proofs[i].got, newer+1, s.from, first))
					}
				}
			}
		}
	}
	return wrong
}

// wrongTerms finds answers by which a term has two leaders, or an older term is
// led after a newer one.
func wrongTerms(list []said) (wrong []string) {
	leader := make(map[uint64]said)
	for _, s := range list {
		if o, ok := leader[s.term]; ok && o.host != s.host {
			wrong = append(wrong, fmt.Sprintf("term %d is led by h%d at %v and by h%d at %v", s.term, o.host+1, o.got, s.host+1, s.got))
		}
		leader[s.term] = s
	}
	bySent := slices.SortedFunc(slices.Values(list), func(a, b said) int { return cmp.Compare(a.sent, b.sent) })
	byGot := slices.SortedFunc(slices.Values(list), func(a, b said) int { return cmp.Compare(a.got, b.got) })
	var newest said
	for _, s := range bySent {
		for len(byGot) > 0 && byGot[0].got < s.sent {
			if byGot[0].term > newest.term {
				newest = byGot[0]
			}
			byGot = byGot[1:]
		}
		if s.term < newest.term {
			wrong = append(wrong, fmt.Sprintf("h%d leads term %d at %v, and h%d led term %d at %v", s.host+1, s.term, s.got, newest.host+1, newest.term, newest.got))
		}
	}
	return wrong
}

// silence is a time without an answer from any host while a majority was whole.
type silence struct {
	span
	hosts []string // the majority
}

// longestSilence looks at every majority for as long as all its hosts are well
// and nothing is lost between any two, also where others are struck. Times for
// which the watcher did not ask are left out.
func longestSilence(answers []proof, list []condition, hosts int, blind []span, to time.Duration) (longest silence) {
	var replies []reply
	for _, p := range answers {
		replies = append(replies, reply{p.got, p.host})
	}
	slices.SortFunc(replies, func(a, b reply) int { return cmp.Compare(a.at, b.at) })
	for members := range 1 << hosts {
		if bits.OnesCount(uint(members)) != hosts/2+1 {
			continue
		}
		for _, whole := range wholeTimes(members, list, to) {
			for _, s := range pauses(replies, whole, blind) {
				if s.to-s.from > longest.to-longest.from {
					longest = silence{s, hostNames(members)}
				}
			}
		}
	}
	return longest
}

func hostNames(members int) (names []string) {
	for i := range maxHosts {
		if members&(1<<i) != 0 {
			names = append(names, fmt.Sprintf("h%d", i+1))
		}
	}
	return names
}

// wholeTimes returns the times in which the hosts of a set are well, and whole
// among each other.
func wholeTimes(members int, list []condition, to time.Duration) (times []span) {
	for i, c := range list {
		s := span{c.at, to}
		if i+1 < len(list) {
			s.to = list[i+1].at
		}
		for p := range maxHosts {
			if members&(1<<p) == 0 {
				continue
			}
			s.from = max(s.from, c.well[p])
			for q := range maxHosts {
				if members&(1<<q) != 0 && c.cut[p][q] {
					s.from = never
				}
			}
		}
		if s.from >= s.to {
			continue
		}
		if last := len(times) - 1; last >= 0 && times[last].to == s.from {
			times[last].to = s.to
		} else {
			times = append(times, s)
		}
	}
	return times
}

// pauses returns the times without an answer in a span, cut at the blind ones.
func pauses(replies []reply, whole span, blind []span) (list []span) {
	last := whole.from
	end := func(at, next time.Duration) {
		if at > last {
			list = append(list, span{last, at})
		}
		last = max(last, next)
	}
	first, _ := slices.BinarySearchFunc(replies, whole.from, func(r reply, at time.Duration) int { return cmp.Compare(r.at, at) })
	for _, r := range replies[first:] {
		for len(blind) > 0 && blind[0].from < r.at {
			if b := blind[0]; b.to > whole.from && b.from < whole.to {
				end(min(b.from, whole.to), b.to)
			}
			blind = blind[1:]
		}
		if r.at > whole.to {
			break
		}
		end(r.at, r.at)
	}
	for _, b := range blind {
		if b.to > whole.from && b.from < whole.to {
			end(b.from, b.to)
		}
	}
	end(whole.to, whole.to)
	return list
}
