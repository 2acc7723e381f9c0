package gossip

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Finding is something a person should know, and what to do about it.
type Finding struct {
	What     string // a stable word, such as "name-clash"
	Member   string // the member or the address it is about
	Evidence string
	Advice   string
	// Degrades is true when the finding needs a hand.
	Degrades bool
}

// The findings, by their word.
const (
	foundClash         = "name-clash"
	foundOtherCluster  = "other-cluster"
	foundForeign       = "foreign-program"
	foundUndecryptable = "undecryptable"
	foundUDP           = "udp-blocked"
	foundSeed          = "seed-unreached"
	foundRule          = "rule-differs"
	foundMode          = "mode-differs"
)

// advice is what to do about each finding, and whether that is needed for the
// group to work.
var advice = map[string]struct {
	text     string
	degrades bool
}{
	foundClash:         {"give each member its own --name; the one that came later takes no part until then", true},
	foundOtherCluster:  {"give it this member's --cluster if it belongs here, or take this address out of its --seeds", false},
	foundForeign:       {"another program that speaks memberlist, or none at all, sends to this port: take this address out of its configuration", false},
	foundUndecryptable: {"give both sides a common key in --encrypt-key-file", true},
	foundUDP:           {"let UDP through on the same port as TCP: elections need it", true},
	foundSeed:          {"check the address in --seeds, and that both TCP and UDP get through to its port", true},
	foundRule:          {"give every member the same --rule", true},
	foundMode:          {"give every member the same --voters", true},
}

const (
	// findingTTL is how long a finding stays after its last sign.
	findingTTL = time.Minute
	// maxFindings bounds what strangers can make this member keep.
	maxFindings = 64
)

// ledger counts what was refused and keeps the evidence. Anything may write to
// it at any time, memberlist's callbacks included.
type ledger struct {
	mu       sync.Mutex
	counts   map[string]uint64
	told     map[string]uint64 // the counts when summary last told of them
	findings map[findingKey]*seen
}

type findingKey struct{ what, member string }

type seen struct {
	evidence string
	at       time.Time
}

// count counts one thing refused, by its reason.
func (l *ledger) count(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[string]uint64{}
	}
	l.counts[reason]++
}

// find notes a finding, or that it is still so.
func (l *ledger) find(what, member, evidence string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.findings == nil {
		l.findings = map[findingKey]*seen{}
	}
	key := findingKey{what, member}
	if _, ok := l.findings[key]; !ok && len(l.findings) >= maxFindings {
		l.forgetOldest()
	}
	l.findings[key] = &seen{evidence: evidence, at: time.Now()}
}

// undecryptable notes something that no key here opens. Ports of callers change
// with every connection, so only the host is kept.
func (l *ledger) undecryptable(from string) {
	l.count("undecryptable")
	l.find(foundUndecryptable, hostOf(from), "what comes from "+hostOf(from)+" is encrypted with a key unknown here, or only one side encrypts")
}

// forgetOldest makes room; the newest findings are those that still matter.
func (l *ledger) forgetOldest() {
	var oldest findingKey
	at := time.Time{}
	for k, s := range l.findings {
		if at.IsZero() || s.at.Before(at) {
			oldest, at = k, s.at
		}
	}
	delete(l.findings, oldest)
}

// current returns the findings of the last minute, in a stable order.
func (l *ledger) current() []Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Finding
	for k, s := range l.findings {
		if time.Since(s.at) > findingTTL {
			delete(l.findings, k)
			continue
		}
		all = append(all, newFinding(k.what, k.member, s.evidence))
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return strings.Compare(a.What+a.Member, b.What+b.Member)
	})
	return all
}

func newFinding(what, member, evidence string) Finding {
	a := advice[what]
	return Finding{What: what, Member: member, Evidence: evidence, Advice: a.text, Degrades: a.degrades}
}

// totals returns a copy of the counters.
func (l *ledger) totals() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

const (
	// summaryEvery is how often the log may tell what was refused, and
	// summaryLeast how much it must be: a scan or two need no line.
	summaryEvery = time.Minute
	summaryLeast = 100
)

// summary returns how much was refused, by reason, since it last returned
// anything; nothing if that is little.
func (l *ledger) summary() []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []any
	sum := uint64(0)
	for _, reason := range slices.Sorted(maps.Keys(l.counts)) {
		if n := l.counts[reason] - l.told[reason]; n > 0 {
			all = append(all, slog.Uint64(reason, n))
			sum += n
		}
	}
	if sum < summaryLeast {
		return nil
	}
	l.told = maps.Clone(l.counts)
	return all
}

// summarise logs what was refused, in a line a minute at most.
func (g *Gossip) summarise() {
	defer g.wg.Done()
	every := time.NewTicker(summaryEvery)
	defer every.Stop()
	for {
		select {
		case <-g.life.Done():
			return
		case <-every.C:
			if refused := g.ledger.summary(); refused != nil {
				g.cfg.Log.Warn("much was refused on the port", refused...)
			}
		}
	}
}
