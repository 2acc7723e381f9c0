package agent

import (
	"slices"
	"sync"
	"time"
)

// historySize bounds the history. With one change of leader an hour it goes
// back ten days.
const historySize = 256

// history is the list of leaderships this member has seen, oldest first.
type history struct {
	mu      sync.Mutex
	entries []Leadership
	changed bool
}

// History returns the leaderships this member has seen, newest first.
func (a *Agent) History() []Leadership {
	l := a.history.list()
	slices.Reverse(l)
	return l
}

// begin adds a leadership. The one that the history believes to run ends with
// it, unless they are the same: a follower may lose sight of a leader for a
// while, and so may a restart with a history on disk.
func (h *history) begin(l Leadership) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = true
	if last := h.last(); last != nil {
		if last.Term == l.Term && last.Leader == l.Leader {
			last.To, last.EndReason = nil, ""
			return
		}
		if last.To == nil {
			last.To, last.EndReason = &l.From, l.Reason
		}
	}
	if len(h.entries) == historySize {
		h.entries = slices.Delete(h.entries, 0, 1)
	}
	h.entries = append(h.entries, l)
}

// end closes the leadership that runs, if any.
func (h *history) end(at time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last(); last != nil && last.To == nil {
		last.To, last.EndReason = &at, reason
		h.changed = true
	}
}

// hookTook notes how long acquire took under term.
func (h *history) hookTook(term uint64, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last(); last != nil && last.Term == term && last.HookMS == 0 {
		last.HookMS = milliseconds(took)
		h.changed = true
	}
}

// last returns the newest entry; the caller holds the lock.
func (h *history) last() *Leadership {
	if len(h.entries) == 0 {
		return nil
	}
	return &h.entries[len(h.entries)-1]
}

// list returns a copy, oldest first.
func (h *history) list() []Leadership {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries)
}

// takeChanged reports whether there was a change since it last said so.
func (h *history) takeChanged() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.changed
	h.changed = false
	return was
}

// milliseconds is a duration as JSON shows it.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
