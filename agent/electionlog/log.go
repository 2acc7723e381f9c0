package electionlog

import (
	"context"
	"log/slog"
	"time"

	"doyen/agent/history"
	"doyen/agent/words"
	"doyen/seniority"
)

// Log writes the lines of one election. One goroutine uses it.
type Log struct {
	// Further says that it is not the group's own election: a member that departs from a
	// further one may stay in the group.
	Further bool
	// Quorum says that a lease is renewed by the confirms of voters.
	Quorum bool

	to       *slog.Logger
	self     string                   // the name of this member
	goneAt   time.Duration            // since when there has been no leader, as far as known; 0: there is one, or has never been
	vanished map[string]time.Duration // when members vanished of which nothing is told yet
	rivals   map[string]time.Duration // when this member, leading, last heard of others that lead
}

// New returns the log of an election on the member self.
func New(to *slog.Logger, self string) *Log { return &Log{to: to, self: self} }

// Step is what one step of the core has led to, as far as the log tells of it.
type Step struct {
	Now    seniority.Now
	Status *seniority.Status // after the step
	Track  *history.Track    // which has followed the step
	// Retired: this member's settings name the election no longer.
	Retired bool
	// Late reports whether this member itself was too late to renew its lease.
	Late func() bool
	// Silent names the voters that have confirmed nothing for a lease.
	Silent func() []string
}

// Notes logs the notes of a step.
func (l *Log) Notes(s Step, notes []seniority.Note) {
	for i := range notes {
		if n := &notes[i]; n.Kind == seniority.LeaderChanged && n.Peer == "" {
			l.goneAt = lastSign(s, n)
		}
	}
	for i := range notes {
		l.note(s, &notes[i])
	}
}

// lastSign is when the leader whose end a note tells of was last known to lead: when it
// was heard last, if it has fallen silent, and otherwise now.
func lastSign(s Step, n *seniority.Note) time.Duration {
	if n.Reason == seniority.LeaderSilent || n.Reason == seniority.LeaderDied {
		if heard := s.Track.SilentSince(s.Status.Previous); heard != 0 {
			return heard
		}
	}
	return s.Now.Boot
}

// note logs a note as loudly as it matters to the person on call.
func (l *Log) note(s Step, n *seniority.Note) {
	term := slog.Uint64("term", n.Term)
	switch n.Kind {
	case seniority.Won:
		l.won(s, n)
	case seniority.LeaderChanged:
		l.leader(s, n)
	case seniority.Lost:
		if n.Peer == l.self {
			l.lost(s, n)
			return
		}
		l.to.Debug("gave a claim up", term, slog.String("reason", n.Reason.String()))
	case seniority.OtherLeader:
		l.rival(s.Now, n)
	case seniority.Awoke:
		l.to.Warn("this member was paused for longer than a lease and asks before it does anything")
	case seniority.Unanswered:
		l.to.Warn("too few members answer; this member has led in vain before, so it waits longer before it leads without their answers",
			term, slog.Duration("wait", words.Round(s.Status.AloneAt-s.Now.Boot)))
	case seniority.Stayed:
		l.to.Warn("this member goes on leading because no other may", term, slog.String("reason", n.Reason.String()))
	default:
		attrs := []any{term}
		if n.Peer != "" && n.Peer != l.self {
			attrs = append(attrs, slog.String("peer", n.Peer))
		}
		if n.Reason != seniority.None {
			attrs = append(attrs, slog.String("reason", n.Reason.String()))
		}
		l.to.Debug(NoteName(n.Kind), attrs...)
	}
}

// won logs that this member leads, or goes on under a higher term.
func (l *Log) won(s Step, n *seniority.Note) {
	if n.Reason == seniority.Merged {
		l.to.Info("this member goes on leading under a higher term, which members that met it can follow", "term", n.Term)
		return
	}
	l.to.Info("this member leads", l.beginning(s, n)...)
}

// leader logs the leader that this member follows, or why there is none.
func (l *Log) leader(s Step, n *seniority.Note) {
	previous := s.Status.Previous
	switch {
	case n.Peer == l.self, n.Peer == "" && previous == l.self:
		// won and lost have told.
	case s.Track.Raised():
		l.to.Debug("the leader has raised its term", "leader", n.Peer, "term", n.Term)
	case n.Peer != "":
		l.to.Info("following a leader", append([]any{"leader", n.Peer}, l.beginning(s, n)...)...)
	default:
		reason := history.EndReason(n.Reason)
		attrs := []any{"previous", previous, "reason", reason}
		if why := l.endWords(reason, false); why != "" {
			attrs = append(attrs, "why", why)
		}
		if heard := s.Track.HeardAt(previous); n.Reason == seniority.LeaderSilent && heard != 0 {
			attrs = append(attrs, "last_heard", words.Ago(s.Now.Boot-heard))
		}
		l.to.Info("there is no leader", attrs...)
	}
	if n.Peer != "" {
		l.goneAt = 0
	}
}

// beginning is what is told of a leadership that begins.
func (l *Log) beginning(s Step, n *seniority.Note) []any {
	attrs := []any{"term", n.Term, "reason", n.Reason.String()}
	if p := s.Status.Previous; p != "" && p != n.Peer {
		attrs = append(attrs, "previous", p)
	}
	// A leadership that is older than that has gone on where this member did not see it.
	if began := s.Track.Began(); l.goneAt != 0 && began >= l.goneAt {
		attrs = append(attrs, "without_leader", words.Round(began-l.goneAt))
	}
	return attrs
}

// lost logs why this member leads no more. What it did not choose is a
// warning.
func (l *Log) lost(s Step, n *seniority.Note) {
	attrs := []any{"term", n.Term, "reason", n.Reason.String()}
	late := n.Reason == seniority.LeaseLost && s.Late()
	why := l.endWords(n.Reason.String(), s.Retired)
	if late {
		why = tooLate
	}
	if why != "" {
		attrs = append(attrs, "why", why)
	}
	if s.Status.Successor != "" {
		attrs = append(attrs, "successor", s.Status.Successor)
	}
	level := slog.LevelInfo
	switch n.Reason {
	case seniority.LeaseLost:
		level = slog.LevelWarn
		if silent := s.Silent(); len(silent) > 0 && !late { // they have not been asked in time
			attrs = append(attrs, "silent", words.Some(silent))
		}
	case seniority.Asleep, seniority.KeeperFired, seniority.HookFailed, seniority.CommandFailed, seniority.Unhealthy, seniority.CarrierLost, seniority.AddressGone:
		level = slog.LevelWarn
	}
	l.to.Log(context.Background(), level, "this member leads no more", attrs...)
}

// rivalQuiet is how long nothing must have been heard of another leader before
// it is news again: while groups merge both are heard many times.
const rivalQuiet = time.Minute

// maxRivals bounds the other leaders remembered.
const maxRivals = 64

// rival logs another leader once, not at each of its messages.
func (l *Log) rival(now seniority.Now, n *seniority.Note) {
	last, known := l.rivals[n.Peer]
	if l.rivals == nil || len(l.rivals) >= maxRivals {
		l.rivals = map[string]time.Duration{}
	}
	l.rivals[n.Peer] = now.Boot
	if !known || now.Boot-last > rivalQuiet {
		l.to.Warn("another member leads as well; one of the two yields", "leader", n.Peer, "term", n.Term)
	}
}

// NoteName is the word for a kind of note, in logs and streams.
func NoteName(k seniority.NoteKind) string { return noteNames[k] }

var noteNames = map[seniority.NoteKind]string{
	seniority.Claimed: "claimed", seniority.Confirmed: "confirmed", seniority.Objected: "objected",
	seniority.Promised: "promised", seniority.RefusedClaim: "refused-claim", seniority.Ignored: "ignored",
	seniority.Won: "won", seniority.Lost: "lost", seniority.LeaderChanged: "leader-changed",
	seniority.OtherLeader: "other-leader", seniority.Numbered: "numbered", seniority.Awoke: "awoke",
	seniority.OtherYielded: "other-yielded", seniority.Stayed: "stayed", seniority.Unanswered: "unanswered",
}
