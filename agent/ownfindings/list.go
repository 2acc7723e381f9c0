package ownfindings

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"doyen/agent/words"
	"doyen/gossip/findings"
)

// List is what this member itself has noticed. One goroutine uses it. The zero value is
// usable but for Publish, which needs Log.
type List struct {
	// Log is told of each finding that begins and ends, but for those with the word
	// Quiet, which has lines of its own.
	Log   *slog.Logger
	Quiet string

	own       map[string]noticed         // by their word and the member they are about
	shared    map[string]map[string]bool // by their word, the elections that have them
	published []findings.Finding
	began     map[string]begun // those that stand, by key
	lines     int              // the log's lines of beginnings in a minute
	linesTill time.Duration    // when that minute ends
	stale     bool
	due       time.Duration // boot time at which others must be published again
}

type noticed struct {
	finding findings.Finding
	until   time.Duration // boot time; 0: until it is cleared
}

// begun is a finding that stands, and since when.
type begun struct {
	finding findings.Finding
	at      time.Duration
}

// Set adds a finding, or replaces the one of the same name about the same
// member; keep 0 means until it is cleared.
func (f *List) Set(now, keep time.Duration, x findings.Finding) {
	if f.own == nil {
		f.own = map[string]noticed{}
	}
	n := noticed{finding: x}
	if keep != 0 {
		n.until = now + keep
	}
	k := key(x.Election, x.What, x.Member)
	if f.own[k] == n {
		return
	}
	f.own[k] = n
	f.stale = true
}

// Clear takes a finding away.
func (f *List) Clear(what, member string) { f.clear("", what, member) }

// clear takes a finding of an election away.
func (f *List) clear(election, what, member string) {
	k := key(election, what, member)
	if _, there := f.own[k]; there {
		delete(f.own, k)
		f.stale = true
	}
}

// Evidence returns the evidence of a finding, or "".
func (f *List) Evidence(what, member string) string {
	return f.own[key("", what, member)].finding.Evidence
}

// key is what tells findings apart.
func key(election, what, member string) string {
	if election == "" {
		return what + " " + member
	}
	return what + " " + member + " " + election
}

// Due reports whether there is something to publish: what has changed here or, once in a
// while, what others have found.
func (f *List) Due(now time.Duration) bool { return f.stale || now >= f.due }

// Publish puts together what is published from now on: this list, without what has been
// kept for long enough, and the findings of others, which are due again after a pause.
func (f *List) Publish(now, pause time.Duration, others []findings.Finding) {
	f.stale, f.due = false, now+pause
	f.published = []findings.Finding{}
	for k, n := range f.own {
		if n.until != 0 && now >= n.until {
			delete(f.own, k)
			continue
		}
		f.published = append(f.published, n.finding)
	}
	f.published = append(f.published, others...)
	slices.SortFunc(f.published, func(a, b findings.Finding) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Election, b.Election), cmp.Compare(a.Evidence, b.Evidence))
	})
	f.log(now, f.published)
}

// Published are the findings published last, by their words. The list is never changed.
func (f *List) Published() []findings.Finding { return f.published }

// maxLines is how many beginnings of findings the log has in a minute:
// strangers can cause some.
const maxLines = 20

// log logs which findings have begun and which are over. It is the only place that
// does, for all that find them.
func (f *List) log(now time.Duration, current []findings.Finding) {
	standing := make(map[string]begun, len(current))
	for _, x := range current {
		k := key(x.Election, x.What, x.Member)
		b, stands := f.began[k]
		if !stands {
			b = begun{x, now}
			f.logBegin(now, &x)
		}
		delete(f.began, k)
		standing[k] = b
	}
	for _, k := range slices.Sorted(maps.Keys(f.began)) {
		if b := f.began[k]; b.finding.What != f.Quiet {
			f.logOf(&b.finding).Info("finding is over", "what", b.finding.What, "about", b.finding.Member, "lasted", words.Round(now-b.at))
		}
	}
	f.began = standing
}

// logBegin logs one that begins.
func (f *List) logBegin(now time.Duration, x *findings.Finding) {
	if x.What == f.Quiet {
		return
	}
	if now >= f.linesTill {
		f.lines, f.linesTill = 0, now+time.Minute
	}
	switch f.lines++; {
	case f.lines <= maxLines:
		f.logOf(x).Warn("finding", "what", x.What, "about", x.Member, "evidence", x.Evidence, "advice", x.Advice)
	case f.lines == maxLines+1:
		f.Log.Warn("more findings are held back for a minute; agent diag lists them")
	}
}

// logOf is the log for lines about a finding: of an election they name it first, as all
// its lines do.
func (f *List) logOf(x *findings.Finding) *slog.Logger {
	if x.Election == "" {
		return f.Log
	}
	return f.Log.With("election", x.Election)
}
