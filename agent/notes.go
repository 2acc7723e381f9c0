package agent

import (
	"slices"
	"time"

	"doyen/agent/electionlog"
	"doyen/agent/history"
	"doyen/seniority"
)

// phaseNames are the words of JSON.
var phaseNames = map[seniority.Phase]string{
	seniority.Following: "following", seniority.Waiting: "waiting", seniority.Claiming: "claiming",
	seniority.Holding: "holding", seniority.Yielding: "yielding",
}

// record tells logs, streams, history and counters of what has happened.
func (e *election) record(now seniority.Now, notes []seniority.Note) {
	e.track.Correct(&e.pub.history)
	if len(notes) == 0 {
		return
	}
	e.lines.Notes(electionlog.Step{
		Now: now, Status: &e.last, Track: &e.track, Retired: e.retiring, Silent: func() []string { return e.silentVoters(now) },
		Late: func() bool { _, late := e.starved(now.Boot); return late },
	}, notes)
	for _, n := range notes {
		e.tallyNote(&n)
		e.findTerms(now.Boot, &n)
		switch n.Kind {
		case seniority.LeaderChanged:
			e.recordLeader(now, &n)
		case seniority.Ignored:
		default:
			e.pub.emit("election", ElectionEvent{What: electionlog.NoteName(n.Kind), Peer: n.Peer, Term: n.Term, Reason: reasonText(n.Reason)})
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
	e.track.Record(&e.pub.history, now, n, prev, ev.Self)
	if n.Peer == "" {
		ev.Reason = history.EndReason(n.Reason)
	} else {
		since := e.track.Since()
		ev.Leader, ev.Since = &n.Peer, &since
	}
	e.pub.emit("leader", ev)
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
			c.Failover = FailoverSeconds{Detection: e.track.Detection.Seconds(), Confirm: e.track.Confirm.Seconds()}
		case seniority.Lost:
			if n.Peer == e.self.Name {
				c.Losses[n.Reason.String()]++
			}
		case seniority.LeaderChanged:
			if !e.track.Raised() {
				c.LeaderChanges++
			}
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

// History returns the leaderships this member has seen, newest first.
func (e *Election) History() []Leadership {
	l := e.history.List()
	slices.Reverse(l)
	return l
}

// milliseconds is a duration as JSON shows it.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
