package findings

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// TTL is how long a finding stays after its last sign.
	TTL = time.Minute
	// most bounds how many findings strangers can make this member keep.
	most = 64
)

// Record counts what was refused and keeps the evidence. Anything may write to it
// at any time, memberlist's callbacks included: it has a lock of its own, under
// which it calls nothing. The zero value is ready.
type Record struct {
	mu     sync.Mutex
	counts map[string]uint64
	told   map[string]uint64 // the counts when Summary last told of them
	seen   map[key]*seen
}

type key struct{ what, member string }

type seen struct {
	evidence string
	at       time.Time
}

// Count counts one thing refused, by its reason.
func (r *Record) Count(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]uint64{}
	}
	r.counts[reason]++
}

// Find notes a finding, or that it is still so.
func (r *Record) Find(what, member, evidence string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[key]*seen{}
	}
	k := key{what, member}
	if _, ok := r.seen[k]; !ok && len(r.seen) >= most {
		r.forgetOldest()
	}
	r.seen[k] = &seen{evidence: evidence, at: time.Now()}
}

// Forget drops all findings of a word: what they rest on has changed.
func (r *Record) Forget(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.seen {
		if k.what == what {
			delete(r.seen, k)
		}
	}
}

// End drops the finding about one member: it is seen to be so no longer.
func (r *Record) End(what, member string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key{what, member})
}

// Undecryptable notes something that no key here opens. Ports of callers change
// with every connection, so only the host is kept.
func (r *Record) Undecryptable(host string) {
	r.Count("undecryptable")
	r.Find(Undecryptable, host, "what comes from "+host+" is encrypted with a key unknown here, or only one side encrypts")
}

// forgetOldest makes room; the newest findings are those that still matter.
func (r *Record) forgetOldest() {
	var oldest key
	at := time.Time{}
	for k, s := range r.seen {
		if at.IsZero() || s.at.Before(at) {
			oldest, at = k, s.at
		}
	}
	delete(r.seen, oldest)
}

// Current returns the findings of the last minute, in a stable order.
func (r *Record) Current() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Finding
	for k, s := range r.seen {
		if time.Since(s.at) > TTL {
			delete(r.seen, k)
			continue
		}
		all = append(all, New(k.what, k.member, s.evidence))
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return strings.Compare(a.What+a.Member, b.What+b.Member)
	})
	return all
}

// Totals returns a copy of the counters.
func (r *Record) Totals() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// SummaryLeast is how much must have been refused for a summary: a scan or two need
// no line in the log.
const SummaryLeast = 100

// unsent begins the reasons for which this member could not send: a member that is
// not there, such as a voter, is sent to all the time, and that refuses nothing.
const unsent = "send-"

// Summary returns how much was refused, by reason, since it last returned
// anything; nothing if that is little.
func (r *Record) Summary() []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []any
	sum := uint64(0)
	for _, reason := range slices.Sorted(maps.Keys(r.counts)) {
		if n := r.counts[reason] - r.told[reason]; n > 0 && !strings.HasPrefix(reason, unsent) {
			all = append(all, slog.Uint64(reason, n))
			sum += n
		}
	}
	if sum < SummaryLeast {
		return nil
	}
	r.told = maps.Clone(r.counts)
	return all
}
