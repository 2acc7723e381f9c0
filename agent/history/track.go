package history

import (
	"time"

	"doyen/seniority"
)

// Track is what a member remembers of leaderships beyond what the core does. One
// goroutine uses it. The zero value is ready.
type Track struct {
	// Patience is how long the leader followed was still taken to lead when this was
	// last prolonged.
	Patience time.Duration
	// Detection is how long the leader before had not been heard when this member
	// claimed last, Confirm how long the last claim won took.
	Detection, Confirm time.Duration

	leaders   map[string]*sighting     // by name, the leaders heard
	followed  string                   // the leader of the last note that named one; "" once this member leads
	present   leadership               // the leadership led or followed now, or last
	shown     uint64                   // the id of the leadership of the last note; 0: it named no leader
	raised    bool                     // the last note told of no more than a higher term
	lapse     time.Duration            // when the leader followed is taken for gone
	claimedAt time.Duration            // when this member claimed last
	confirmed map[string]time.Duration // when others last confirmed a claim
}

// leadership is one leadership, also if its term was raised.
type leadership struct {
	id    uint64        // counts the leaderships of this run, from 1
	boot  time.Duration // when it began, by this host's boot clock,
	since time.Time     // and by its wall clock
}

// sighting is what was heard of a member that leads.
type sighting struct {
	leadership
	incarnation uint64
	term        uint64        // the newest heard
	at          time.Duration // when it was heard last (boot time)
	handsOver   bool          // it has said that it stops
}

// maxSightings bounds the leaders remembered.
const maxSightings = 64

// nextID is the number of the next leadership.
func (t *Track) nextID() uint64 {
	id := t.present.id
	for _, s := range t.leaders {
		id = max(id, s.id)
	}
	return id + 1
}

// Hear takes note of what a leader says.
func (t *Track) Hear(m *seniority.Message, now seniority.Now) {
	switch {
	case m.Kind == seniority.Claim && m.Stand == seniority.Leading:
		t.sight(m, now)
	case m.Kind == seniority.Claim && m.Stand == seniority.Leaving, m.Kind == seniority.Release && m.Will == [32]byte{}:
		if s := t.leaders[m.From]; s != nil && s.incarnation == m.Incarnation {
			s.handsOver = true
		}
	case m.Kind == seniority.Confirm:
		if t.confirmed == nil || len(t.confirmed) >= maxSightings {
			t.confirmed = map[string]time.Duration{}
		}
		t.confirmed[m.From] = now.Boot
	}
}

// sight takes note of a leader's claim. It belongs to the leadership known of
// that member if that one had the term, or still went on when the claimed one began.
// Claims say how long the leadership had lasted when they were sent, and arrive late,
// by gossip seconds late, so the earliest beginning is the most exact one.
func (t *Track) sight(m *seniority.Message, now seniority.Now) {
	began := now.Boot - m.Held
	s := t.leaders[m.From]
	if s == nil || s.incarnation != m.Incarnation || m.Term > s.term && began > s.at {
		if t.leaders == nil || len(t.leaders) >= maxSightings {
			t.leaders = map[string]*sighting{}
		}
		s = &sighting{leadership: t.begun(now, began), incarnation: m.Incarnation}
		t.leaders[m.From] = s
	}
	if began < s.boot {
		s.boot, s.since = began, wallTime(now, began)
	}
	s.term, s.at, s.handsOver = max(s.term, m.Term), now.Boot, false
	if t.present.id == s.id {
		t.present = s.leadership
	}
}

// begun is a leadership not heard of before.
func (t *Track) begun(now seniority.Now, boot time.Duration) leadership {
	return leadership{id: t.nextID(), boot: boot, since: wallTime(now, boot)}
}

// wallTime is what the wall clock showed, or will, at a boot time.
func wallTime(now seniority.Now, boot time.Duration) time.Time {
	return time.UnixMilli(now.Wall).Add(boot - now.Boot)
}

// HeardAt is when a leader was last heard, or 0.
func (t *Track) HeardAt(leader string) time.Duration {
	if s := t.leaders[leader]; s != nil {
		return s.at
	}
	return 0
}

// Follow takes note of what a step has changed, before anybody is told.
func (t *Track) Follow(now seniority.Now, st *seniority.Status, notes []seniority.Note) {
	if st.Lapse != t.lapse {
		t.lapse, t.Patience = st.Lapse, st.Lapse-now.Boot
	}
	for _, n := range notes {
		switch n.Kind {
		case seniority.Claimed:
			t.claimedAt, t.Detection = now.Boot, 0
			if s := t.leaders[t.followed]; s != nil && !s.handsOver {
				t.Detection = now.Boot - s.at
			}
		case seniority.Won:
			if n.Reason != seniority.Merged { // which only raises the term
				t.Confirm = now.Boot - t.claimedAt
			}
		case seniority.LeaderChanged:
			t.changed(now, st, n.Peer)
		}
	}
}

// changed takes note of the leader that is followed from now on.
func (t *Track) changed(now seniority.Now, st *seniority.Status, leader string) {
	before := t.shown
	defer func() {
		t.shown, t.raised = 0, false
		if leader != "" {
			t.shown, t.raised = t.present.id, t.present.id == before
		}
	}()
	switch {
	case leader == "": // the leadership before is remembered
	case st.Leading:
		t.followed = ""
		if t.present.id == 0 || t.present.boot != st.Since {
			t.present = t.begun(now, st.Since)
		}
	case t.leaders[leader] != nil:
		t.followed, t.present = leader, t.leaders[leader].leadership
	case before == 0 || leader != t.followed:
		t.followed, t.present = leader, t.begun(now, now.Boot)
	}
}

// Raised reports whether the last change of the leader was none: the leadership led or
// followed before goes on under a higher term.
func (t *Track) Raised() bool { return t.raised }

// Leadership is the number of the leadership led or followed now, which its term may
// exceed while it lasts; 0: there is no leader.
func (t *Track) Leadership() uint64 { return t.shown }

// Since is when the leadership led or followed now, or last, began.
func (t *Track) Since() time.Time { return t.present.since }

// Began is Since by the boot clock.
func (t *Track) Began() time.Duration { return t.present.boot }

// ConfirmedAt is when a member last confirmed a claim of this one; false: it never has.
func (t *Track) ConfirmedAt(member string) (time.Duration, bool) {
	at, ok := t.confirmed[member]
	return at, ok
}

// SilentSince is when a leader was last heard that has not said that it stops; 0: there
// is no such leader.
func (t *Track) SilentSince(leader string) time.Duration {
	if s := t.leaders[leader]; s != nil && !s.handsOver {
		return s.at
	}
	return 0
}

// Correct writes into h what is known better now of when the newest leadership began.
func (t *Track) Correct(h *History) { h.began(t.present.id, t.present.since) }

// Record writes into h that the leader this member follows has changed, as the note
// says: from previous, and to this member itself if self is true.
func (t *Track) Record(h *History, now seniority.Now, n *seniority.Note, previous string, self bool) {
	heard := time.Time{}
	if at := t.HeardAt(previous); at != 0 {
		heard = wallTime(now, at)
	}
	if n.Peer == "" {
		end := time.UnixMilli(now.Wall)
		if n.Reason == seniority.LeaderSilent && !heard.IsZero() {
			end = heard
		}
		h.end(end, EndReason(n.Reason))
		return
	}
	entry := Leadership{Term: n.Term, Leader: n.Peer, From: t.present.since, Reason: n.Reason.String()}
	if self {
		h.leads()
		entry.DetectionMS, entry.ConfirmMS = milliseconds(t.Detection), milliseconds(t.Confirm)
	}
	h.begin(t.present.id, entry, heard)
}

// milliseconds is a duration as JSON shows it.
func milliseconds(d time.Duration) Milliseconds {
	return Milliseconds(float64(d) / float64(time.Millisecond))
}
