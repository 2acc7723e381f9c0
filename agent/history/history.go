package history

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"doyen/seniority"
)

// size bounds the history. With one change of leader an hour it goes back ten days.
const size = 256

// Leadership is one entry of the history, newest first.
type Leadership struct {
	Term      uint64     `json:"term"`
	Leader    string     `json:"leader"`
	From      time.Time  `json:"from"`
	To        *time.Time `json:"to"`
	Reason    string     `json:"reason"`               // why it began
	EndReason string     `json:"end_reason,omitempty"` // why it ended
	// DetectionMS is from the last sign of the old leader to the start of the
	// election; 0 after a hand-over. The last sign is a renewal, which is at most a
	// third of the lease before the leader's end: when that was no member can know.
	// This and the next two are known to the winner alone.
	DetectionMS Milliseconds `json:"detection_ms"`
	ConfirmMS   Milliseconds `json:"confirm_ms"` // from the claim to the win
	HookMS      Milliseconds `json:"hook_ms"`    // how long acquire took
}

// Milliseconds is how long something took; 0, which is null in JSON: it is not known
// here, or there was nothing to wait for.
type Milliseconds float64

// MarshalJSON implements json.Marshaler.
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(float64(m))
}

// History is the list of leaderships this member has led or followed, oldest first. One
// goroutine writes it, by way of a Track; anyone may read it. The zero value is empty.
type History struct {
	mu      sync.Mutex
	entries []Leadership
	changed bool
	newest  known // the newest entry's leadership,
	before  known // and that of the entry before
}

// known is what a history knows of a leadership beyond its entry.
type known struct {
	id    uint64 // 0: it is of a former run
	first uint64 // the term under which it was first known
}

// Restore puts in what a former run has left, oldest first. It must come before
// everything else.
func (h *History) Restore(entries []Leadership) { h.entries = slices.Clone(entries) }

// begin adds a leadership that this member leads or follows from now on. One
// leadership stays one row: a follower may lose sight of a leader for a while,
// so may a restart with a history on disk, and a leader may raise its term. A
// row that still runs ends when its leader was last heard or, if that is later,
// when the new leadership began; and the new row begins no earlier, for in a
// split group both may have led at once.
func (h *History) begin(id uint64, l Leadership, heard time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = true
	if last := h.last(); last != nil && last.To == nil && !h.continues(id, &l) {
		h.close(later(heard, l.From), l.Reason)
	}
	last := h.last()
	if last != nil && h.continues(id, &l) {
		if h.newest.id != id {
			h.newest = known{id, l.Term}
		}
		last.To, last.EndReason, last.Term = nil, "", l.Term
		return
	}
	if last != nil && last.To != nil {
		l.From = later(l.From, *last.To)
	}
	if len(h.entries) == size {
		h.entries = slices.Delete(h.entries, 0, 1)
	}
	h.entries = append(h.entries, l)
	h.before, h.newest = h.newest, known{id, l.Term}
}

// leads says that this run of the member leads now, so that it goes on with no leadership
// of a former run.
func (h *History) leads() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newest.id == 0 {
		h.newest.id = over
	}
}

// over is the id of a leadership of a former run that cannot be met again.
const over = 1<<64 - 1

// sameBeginning is by how much two runs of this member may differ about when a leadership
// began: what they have heard of it was under way for different times.
const sameBeginning = time.Second

// continues reports whether l is the leadership of the newest entry, of which there is
// one. Of an entry of a former run the term may have been raised since; it is the same
// leadership if it began no later. The caller holds the lock.
func (h *History) continues(id uint64, l *Leadership) bool {
	last := h.last()
	return last.Leader == l.Leader && (h.newest.id == id || last.Term == l.Term ||
		h.newest.id == 0 && !l.From.After(last.From.Add(sameBeginning)))
}

// end closes the row that runs, if any.
func (h *History) end(at time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last(); last != nil && last.To == nil {
		h.close(at, reason)
		h.changed = true
	}
}

// close ends the newest row, and drops it if it has not lasted a millisecond:
// while groups merge a member may follow another leader for that long, and then the
// one of the entry before again. The caller holds the lock.
func (h *History) close(at time.Time, reason string) {
	last := h.last()
	if at.Sub(last.From) < time.Millisecond {
		h.entries = h.entries[:len(h.entries)-1]
		h.newest, h.before = h.before, known{}
		return
	}
	last.To, last.EndReason = &at, reason
}

// Explain replaces the reason of an end that says no more than that another
// follows: the leader's last word may come after that.
func (h *History) Explain(leader string, term uint64, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.entries[max(len(h.entries)-2, 0):] {
		e := &h.entries[len(h.entries)-1-i]
		if e.Leader == leader && e.Term == term && e.To != nil && slices.Contains(unexplained, e.EndReason) {
			e.EndReason, h.changed = reason, true
		}
	}
}

// HandingOver is the reason of an end while the leader has only said that it
// stops.
const HandingOver = "handing-over"

// unexplained are the reasons of an end that Explain replaces.
var unexplained = []string{HandingOver, seniority.Elected.String(), seniority.Succeeded.String()}

// began corrects when the leadership of the newest row began, as far as that is
// not before the end of the row before.
func (h *History) began(id uint64, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.last()
	if last == nil || h.newest.id != id || id == 0 {
		return
	}
	if n := len(h.entries); n > 1 && h.entries[n-2].To != nil {
		at = later(at, *h.entries[n-2].To)
	}
	if !at.Before(last.From) {
		return
	}
	last.From, h.changed = at, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// HookTook notes how long acquire took under term, or a lower one of the same
// leadership.
func (h *History) HookTook(term uint64, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last(); last != nil && h.newest.first <= term && term <= last.Term && last.HookMS == 0 {
		last.HookMS = milliseconds(took)
		h.changed = true
	}
}

// last returns the newest entry; the caller holds the lock.
func (h *History) last() *Leadership {
	if len(h.entries) == 0 {
		return nil
	}
	return &h.entries[len(h.entries)-1]
}

// List returns a copy, oldest first.
func (h *History) List() []Leadership {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries)
}

// TakeChanged reports whether there was a change since it last said so.
func (h *History) TakeChanged() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.changed
	h.changed = false
	return was
}

// EndReason is why a leadership ended. A leader that says that it stops does
// not say why before its release has ended; the core's reason is then still
// that of the beginning.
func EndReason(r seniority.Reason) string {
	if r == seniority.Elected || r == seniority.Succeeded || r == seniority.None {
		return HandingOver
	}
	return r.String()
}
