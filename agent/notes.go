package agent

import (
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

// record tells logs, streams, history and counters of what has happened.
func (e *election) record(now seniority.Now, notes []seniority.Note) {
	e.pub.history.began(e.track.present.id, e.track.present.since)
	for _, n := range notes {
		e.tallyNote(&n)
		e.findTerms(now.Boot, &n)
		e.logNote(now, &n)
		switch n.Kind {
		case seniority.LeaderChanged:
			e.recordLeader(now, &n)
		case seniority.Ignored:
		default:
			e.pub.emit("election", ElectionEvent{What: noteNames[n.Kind], Peer: n.Peer, Term: n.Term, Reason: reasonText(n.Reason)})
		}
	}
}

// recordLeader writes the history of the leader this member follows.
func (e *election) recordLeader(now seniority.Now, n *seniority.Note) {
	ev := LeaderEvent{Term: n.Term, Reason: reasonText(n.Reason), Self: n.Peer == e.self.Name}
	prev := e.last.Previous
	if prev != "" {
		ev.Previous = &prev
	}
	heard := time.Time{}
	if at := e.track.heardAt(prev); at != 0 {
		heard = wallTime(now, at)
	}
	if n.Peer == "" {
		ev.Reason = endReason(n.Reason)
		end := time.UnixMilli(now.Wall)
		if n.Reason == seniority.LeaderSilent && !heard.IsZero() {
			end = heard
		}
		e.pub.history.end(end, ev.Reason)
		e.pub.emit("leader", ev)
		return
	}
	since := e.track.present.since
	ev.Leader, ev.Since = &n.Peer, &since
	entry := Leadership{Term: n.Term, Leader: n.Peer, From: since, Reason: n.Reason.String()}
	if ev.Self {
		entry.DetectionMS, entry.ConfirmMS = milliseconds(e.track.detection), milliseconds(e.track.confirm)
	}
	e.pub.history.begin(e.track.present.id, entry, heard)
	e.pub.emit("leader", ev)
}

// endReason is why a leadership ended. A leader that says that it stops does
// not say why before its release has ended; the core's reason is then still
// that of the beginning.
func endReason(r seniority.Reason) string {
	if r == seniority.Elected || r == seniority.Succeeded || r == seniority.None {
		return handingOver
	}
	return r.String()
}

// tallyNote adds a note to the running totals.
func (e *election) tallyNote(n *seniority.Note) {
	e.pub.tally.add(func(c *Counters) {
		switch n.Kind {
		case seniority.Claimed:
			c.Elections++
		case seniority.Won:
			if n.Reason == seniority.Merged { // only the term was raised
				return
			}
			c.Wins++
			c.Failover = FailoverSeconds{Detection: e.track.detection.Seconds(), Confirm: e.track.confirm.Seconds()}
		case seniority.Lost:
			if n.Peer == e.self.Name {
				c.Losses[n.Reason.String()]++
			}
		case seniority.LeaderChanged:
			c.LeaderChanges++
		case seniority.Ignored, seniority.RefusedClaim:
			c.Dropped[n.Reason.String()]++
		}
	})
}

// count counts one election message.
func (e *election) count(direction string, k seniority.Kind) {
	e.pub.tally.add(func(c *Counters) { c.Messages[direction+"/"+k.String()]++ })
}

// emit hands an event to the streams.
func (e *Election) emit(kind string, data any) {
	e.events.Publish(Event{Kind: kind, Time: time.Now(), Data: data})
}
