package agent

import (
	"log/slog"
	"time"

	"doyen/seniority"
)

// phaseNames and noteNames are the words of JSON, logs and streams.
var (
	phaseNames = map[seniority.Phase]string{
		seniority.Following: "following", seniority.Waiting: "waiting", seniority.Claiming: "claiming",
		seniority.Holding: "holding", seniority.Yielding: "yielding",
	}
	noteNames = map[seniority.NoteKind]string{
		seniority.Claimed: "claimed", seniority.Confirmed: "confirmed", seniority.Objected: "objected",
		seniority.Promised: "promised", seniority.RefusedClaim: "refused-claim", seniority.Ignored: "ignored",
		seniority.Won: "won", seniority.Lost: "lost", seniority.LeaderChanged: "leader-changed",
		seniority.OtherLeader: "other-leader", seniority.Numbered: "numbered", seniority.Awoke: "awoke",
		seniority.Stayed: "stayed",
	}
)

// told is what the loop remembers of leaderships beyond what the core does: it
// is for people, and decides nothing.
type told struct {
	name  string        // the leader last heard
	at    time.Duration // when (boot time)
	held  time.Duration // how long it had led by then, by its own clock
	since time.Time     // when the present leadership began

	lapse    time.Duration // when the leader followed is taken for gone
	patience time.Duration // how long that was away when it was put there

	claimedAt time.Duration // when this node claimed last
	detection time.Duration // how long the leader before had not been heard then
	confirm   time.Duration // how long the last claim won took
}

// hear takes note of a leader's claim.
func (t *told) hear(m *seniority.Message, now time.Duration) {
	if m.Kind == seniority.Claim && m.Stand == seniority.Leading {
		t.name, t.at, t.held = m.From, now, m.Held
	}
}

// heardAt is when the leader was last heard, or 0.
func (t *told) heardAt(leader string) time.Duration {
	if leader != t.name {
		return 0
	}
	return t.at
}

// follow takes note of what a step has changed, before anybody is told.
func (t *told) follow(now seniority.Now, st *seniority.Status, notes []seniority.Note) {
	if st.Lapse != t.lapse {
		t.lapse, t.patience = st.Lapse, st.Lapse-now.Boot
	}
	wall := time.UnixMilli(now.Wall)
	for _, n := range notes {
		switch n.Kind {
		case seniority.Claimed:
			t.claimedAt, t.detection = now.Boot, 0
			if t.name != "" {
				t.detection = now.Boot - t.at
			}
		case seniority.Won:
			t.confirm = now.Boot - t.claimedAt
		case seniority.LeaderChanged:
			t.since = wall
			switch {
			case st.Leading:
				t.since = wall.Add(st.Since - now.Boot)
				t.name = ""
			case n.Peer == t.name:
				t.since = wall.Add(t.at - now.Boot - t.held)
			}
		}
	}
}

// record tells logs, streams, history and counters of what has happened.
func (l *loop) record(now seniority.Now, notes []seniority.Note) {
	for _, n := range notes {
		l.tallyNote(&n)
		l.findTerms(now.Boot, &n)
		l.logNote(&n)
		switch n.Kind {
		case seniority.LeaderChanged:
			l.recordLeader(now, &n)
		case seniority.Ignored:
		default:
			l.emit("election", ElectionEvent{What: noteNames[n.Kind], Peer: n.Peer, Term: n.Term, Reason: reasonText(n.Reason)})
		}
	}
}

// recordLeader writes the history of the leader this member follows.
func (l *loop) recordLeader(now seniority.Now, n *seniority.Note) {
	e := LeaderEvent{Term: n.Term, Reason: reasonText(n.Reason), Self: n.Peer == l.self.Name}
	if prev := l.last.Previous; prev != "" {
		e.Previous = &prev
	}
	if n.Peer == "" {
		l.history.end(time.UnixMilli(now.Wall), n.Reason.String())
		l.emit("leader", e)
		return
	}
	e.Leader = &n.Peer
	entry := Leadership{Term: n.Term, Leader: n.Peer, From: l.told.since, Reason: n.Reason.String()}
	if e.Self {
		entry.DetectionMS, entry.ConfirmMS = milliseconds(l.told.detection), milliseconds(l.told.confirm)
	}
	l.history.begin(entry)
	l.emit("leader", e)
}

// tallyNote adds a note to the running totals.
func (l *loop) tallyNote(n *seniority.Note) {
	l.tally.add(func(c *Counters) {
		switch n.Kind {
		case seniority.Claimed:
			c.Elections++
		case seniority.Won:
			c.Wins++
			c.Failover = FailoverSeconds{Detection: l.told.detection.Seconds(), Confirm: l.told.confirm.Seconds()}
		case seniority.Lost:
			if n.Peer == l.self.Name {
				c.Losses[n.Reason.String()]++
			}
		case seniority.LeaderChanged:
			c.LeaderChanges++
		case seniority.Ignored, seniority.RefusedClaim:
			c.Dropped[n.Reason.String()]++
		}
	})
}

// logNote logs a note as loudly as it matters to whoever is on call.
func (l *loop) logNote(n *seniority.Note) {
	attrs := make([]any, 0, 3)
	attrs = append(attrs, slog.Uint64("term", n.Term))
	if n.Peer != "" && n.Peer != l.self.Name {
		attrs = append(attrs, slog.String("peer", n.Peer))
	}
	if n.Reason != seniority.None {
		attrs = append(attrs, slog.String("reason", n.Reason.String()))
	}
	switch n.Kind {
	case seniority.Won:
		l.log.Info("this member leads", attrs...)
	case seniority.LeaderChanged:
		switch n.Peer {
		case "":
			l.log.Info("there is no leader", attrs...)
		case l.self.Name:
		default:
			l.log.Info("following a leader", attrs...)
		}
	case seniority.Lost:
		if n.Peer == l.self.Name {
			l.log.Info("this member leads no more", attrs...)
			return
		}
		l.log.Debug("gave a claim up", attrs...)
	case seniority.OtherLeader:
		l.log.Warn("another member leads as well", attrs...)
	case seniority.Awoke:
		l.log.Warn("this member was paused for longer than a lease and asks before it does anything")
	case seniority.Stayed:
		l.log.Warn("this member goes on leading because no other may", attrs...)
	default:
		l.log.Debug(noteNames[n.Kind], attrs...)
	}
}

// count counts one election message.
func (l *loop) count(direction string, k seniority.Kind) {
	l.tally.add(func(c *Counters) { c.Messages[direction+"/"+k.String()]++ })
}

// emit hands an event to the streams.
func (a *Agent) emit(kind string, data any) {
	a.events.publish(Event{Kind: kind, Time: time.Now(), Data: data})
}
