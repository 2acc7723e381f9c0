package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"doyen/agent/history"
	"doyen/agent/members"
	"doyen/seniority"
)

// This file writes what a person reads who is woken at night: what this member
// was started with, who came and went, who leads, why there is no leader. All
// of it is at INFO, a failover is a handful of lines, and each says why.

// logged is what the log of an election remembers of what it has told.
type logged struct {
	named    string                   // the leader that it named last
	goneAt   time.Duration            // since when there has been no leader; 0: there is one, or has never been
	vanished map[string]time.Duration // when members vanished of which it does not tell yet
	rivals   map[string]time.Duration // when this member, leading, last heard of others that lead
}

// begin takes note of when the leader has gone, before any of the notes is logged.
func (l *logged) begin(now seniority.Now, notes []seniority.Note) {
	for i := range notes {
		if notes[i].Kind == seniority.LeaderChanged && notes[i].Peer == "" {
			l.goneAt = now.Boot
		}
	}
}

// logStart logs what this member is and what it was told.
func (l *loop) logStart() {
	c := l.agent.cfg
	attrs := []any{
		"version", Version, "name", l.agent.self.Name, "address", l.agent.addr, "cluster", c.Cluster,
		"mode", c.mode(), "rule", c.rule.Name(), "role", c.role.String(),
		"profile", c.Profile, "lease", c.timing.Lease, "seeds", orNone(c.Seeds),
	}
	if c.quorum() {
		attrs = append(attrs, "voters", orNone(c.Voters))
	}
	hook := c.Hook
	if hook == "" {
		hook = "none"
	}
	attrs = append(attrs, "hook", hook, "floating_ips", orNone(c.FloatingIPs), "keeper", c.Keeper)
	if len(c.Run) > 0 {
		attrs = append(attrs, "run", strings.Join(c.Run, " "))
	}
	l.agent.log.Info("this member starts", attrs...)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return some(names)
}

// some writes names, the first few of many.
func some(names []string) string {
	const most = 8
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if rest := len(names) - most; rest > 0 {
		shown += fmt.Sprintf(" and %d more", rest)
	}
	return shown
}

// byeWait is how long a member's good-bye may take once it has vanished: gossip
// may tell of its end first.
const byeWait = 300 * time.Millisecond

// logMoves logs who has joined, left or been lost: one line for all of a kind,
// for at a start or a heal many come at once.
func (e *election) logMoves(now time.Duration, moves []members.Change) {
	var joined, restarted, left, died, lost []string
	for _, m := range moves {
		switch name := m.Member.Name; {
		case name == e.self.Name:
		case m.What == members.Join:
			joined = append(joined, name)
		case m.What == members.Leave && m.Reason == members.Lost:
			if e.logged.vanished == nil {
				e.logged.vanished = map[string]time.Duration{}
			}
			e.logged.vanished[name] = now
		case m.What == members.Leave:
			left = append(left, name)
		case m.Reason == members.Restarted:
			restarted = append(restarted, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.logged.vanished)) {
		if now < e.logged.vanished[name]+byeWait {
			continue
		}
		delete(e.logged.vanished, name)
		if e.members.HasDied(name) {
			died = append(died, name)
		} else if e.members.HasLost(name) {
			lost = append(lost, name)
		} else if !slices.Contains(e.members.Names, name) {
			left = append(left, name)
		}
	}
	e.logMembers("joined the group", joined)
	e.logMembers("restarted", restarted)
	e.logMembers("left the group", left)
	if len(died) > 0 {
		e.log.Warn("died", "who", some(died), "members", len(e.members.Names), "why", "its agent ended without leaving; its keeper says so")
	}
	if len(lost) == 0 {
		return
	}
	why := "did not say that it leaves and does not answer: dead, or cut off from here"
	if e.last.Leading && !e.cfg.quorum() {
		why += "; if it is cut off it may lead there, too"
	}
	e.log.Warn("lost from the group", "who", some(lost), "members", len(e.members.Names), "why", why)
}

func (e *election) logMembers(what string, who []string) {
	if len(who) > 0 {
		e.log.Info(what, "who", some(who), "members", len(e.members.Names))
	}
}

// logNote logs a note as loudly as it matters to the person on call.
func (e *election) logNote(now seniority.Now, n *seniority.Note) {
	term := slog.Uint64("term", n.Term)
	switch n.Kind {
	case seniority.Won:
		e.logWon(now, n)
	case seniority.LeaderChanged:
		e.logLeader(now, n)
	case seniority.Lost:
		if n.Peer == e.self.Name {
			e.logLost(now, n)
			return
		}
		e.log.Debug("gave a claim up", term, slog.String("reason", n.Reason.String()))
	case seniority.OtherLeader:
		e.logRival(now, n)
	case seniority.Awoke:
		e.log.Warn("this member was paused for longer than a lease and asks before it does anything")
	case seniority.Stayed:
		e.log.Warn("this member goes on leading because no other may", term, slog.String("reason", n.Reason.String()))
	default:
		attrs := []any{term}
		if n.Peer != "" && n.Peer != e.self.Name {
			attrs = append(attrs, slog.String("peer", n.Peer))
		}
		if n.Reason != seniority.None {
			attrs = append(attrs, slog.String("reason", n.Reason.String()))
		}
		e.log.Debug(noteNames[n.Kind], attrs...)
	}
}

// logWon logs that this member leads, or goes on under a higher term.
func (e *election) logWon(now seniority.Now, n *seniority.Note) {
	if n.Reason == seniority.Merged {
		e.log.Info("this member goes on leading under a higher term, which members that met it can follow", "term", n.Term)
		return
	}
	e.log.Info("this member leads", e.beginning(now, n)...)
}

// logLeader logs the leader that this member follows, or why there is none.
func (e *election) logLeader(now seniority.Now, n *seniority.Note) {
	t := &e.logged
	previous := e.last.Previous
	switch {
	case n.Peer == e.self.Name, n.Peer == "" && previous == e.self.Name:
		// logWon and logLost have told.
	case n.Peer != "" && n.Peer == t.named && t.goneAt == 0:
		e.log.Debug("the leader has raised its term", "leader", n.Peer, "term", n.Term)
	case n.Peer != "":
		e.log.Info("following a leader", append([]any{"leader", n.Peer}, e.beginning(now, n)...)...)
	default:
		reason := history.EndReason(n.Reason)
		attrs := []any{"previous", previous, "reason", reason, "why", endWords(reason)}
		if heard := e.track.HeardAt(previous); n.Reason == seniority.LeaderSilent && heard != 0 {
			attrs = append(attrs, "last_heard", ago(now.Boot-heard))
		}
		e.log.Info("there is no leader", attrs...)
	}
	if n.Peer != "" {
		t.named, t.goneAt = n.Peer, 0
	}
}

// beginning is what is told of a leadership that begins.
func (e *election) beginning(now seniority.Now, n *seniority.Note) []any {
	attrs := []any{"term", n.Term, "reason", n.Reason.String()}
	if p := e.last.Previous; p != "" && p != n.Peer {
		attrs = append(attrs, "previous", p)
	}
	if gone := e.logged.goneAt; gone != 0 {
		if silent := e.track.SilentSince(e.last.Previous); silent != 0 && e.last.Previous != n.Peer {
			gone = min(gone, silent)
		}
		attrs = append(attrs, "without_leader", round(now.Boot-gone))
	}
	return attrs
}

// logLost logs why this member leads no more. What it did not choose is a
// warning.
func (e *election) logLost(now seniority.Now, n *seniority.Note) {
	attrs := []any{"term", n.Term, "reason", n.Reason.String()}
	if why := endWords(n.Reason.String()); why != "" {
		attrs = append(attrs, "why", why)
	}
	if s := e.last.Successor; s != "" {
		attrs = append(attrs, "successor", s)
	}
	level := slog.LevelInfo
	switch n.Reason {
	case seniority.LeaseLost:
		level = slog.LevelWarn
		attrs = append(attrs, "silent", orNone(e.silentVoters(now)))
	case seniority.Asleep, seniority.KeeperFired, seniority.HookFailed, seniority.CommandFailed, seniority.Unhealthy, seniority.CarrierLost, seniority.AddressGone:
		level = slog.LevelWarn
	}
	e.log.Log(context.Background(), level, "this member leads no more", attrs...)
}

// rivalQuiet is how long nothing must have been heard of another leader before
// it is news again: while groups merge both are heard many times.
const rivalQuiet = time.Minute

// maxRivals bounds the other leaders remembered.
const maxRivals = 64

// logRival logs another leader once, not at each of its messages.
func (e *election) logRival(now seniority.Now, n *seniority.Note) {
	t := &e.logged
	last, known := t.rivals[n.Peer]
	if t.rivals == nil || len(t.rivals) >= maxRivals {
		t.rivals = map[string]time.Duration{}
	}
	t.rivals[n.Peer] = now.Boot
	if !known || now.Boot-last > rivalQuiet {
		e.log.Warn("another member leads as well; one of the two yields", "leader", n.Peer, "term", n.Term)
	}
}

// silentVoters are the other voters that have confirmed nothing for a lease.
func (e *election) silentVoters(now seniority.Now) []string {
	var silent []string
	for _, name := range e.members.Voters() {
		if name == e.self.Name {
			continue
		}
		if at, ok := e.track.ConfirmedAt(name); !ok || now.Boot-at >= e.cfg.timing.Lease-e.cfg.timing.ReleaseBudget {
			silent = append(silent, name)
		}
	}
	return append(silent, e.members.Missing...)
}

// endWords says the reason of an end in words, where the reason alone does not
// say who did what.
func endWords(reason string) string {
	switch reason {
	case history.HandingOver:
		return "it hands over; its release is under way"
	case seniority.LeaderSilent.String():
		return "its renewals stopped: its host is dead, cut off, or frozen"
	case seniority.LeaderDied.String():
		return "its agent has ended without a hand-over, or was too late to renew; its keeper or its host has told the others"
	case seniority.LeaseLost.String():
		return "it could not renew its lease: fewer than a majority of the voters confirmed in time"
	case seniority.KeeperFired.String():
		return "its keeper ended the leadership"
	case seniority.Asleep.String():
		return "this member was paused for longer than the lease"
	case seniority.Merged.String():
		return "two groups met, and the leader of the other stays"
	case seniority.Requested.String():
		return "it was asked to hand over"
	case seniority.Departed.String():
		return "it leaves the group"
	case seniority.Preempted.String():
		return "the rule prefers another member"
	case seniority.HookFailed.String():
		return "the hook failed to acquire"
	case seniority.CommandFailed.String():
		return "its command ended again and again soon after its start"
	case seniority.Unhealthy.String():
		return "its health check failed"
	case seniority.StoodAside.String():
		return "it was asked to stand aside, and another may lead now"
	case seniority.CarrierLost.String():
		return "the interface of a floating address lost its link"
	case seniority.AddressGone.String():
		return "the address at which the others reach it is its host's no longer"
	}
	return ""
}

// maxFindingLines is how many beginnings of findings the log has in a minute:
// strangers can cause some.
const maxFindingLines = 20

// logFindings logs which findings have begun and which are over. It is the only
// place that does, for all that find them.
func (l *loop) logFindings(now time.Duration, current []Finding) {
	f := &l.findings
	standing := make(map[string]time.Duration, len(current))
	for _, x := range current {
		key := findingKey(x.Election, x.What, x.Member)
		began, stands := f.began[key]
		if !stands {
			began = now
			l.logFinding(now, &x)
		}
		delete(f.began, key)
		standing[key] = began
	}
	for _, key := range slices.Sorted(maps.Keys(f.began)) {
		if what, about, _ := strings.Cut(key, " "); what != inMaintenance {
			l.agent.log.Info("finding is over", "what", what, "about", about, "lasted", round(now-f.began[key]))
		}
	}
	f.began = standing
}

// logFinding logs one that begins. Maintenance has lines of its own.
func (l *loop) logFinding(now time.Duration, x *Finding) {
	f := &l.findings
	if x.What == inMaintenance {
		return
	}
	if now >= f.linesTill {
		f.lines, f.linesTill = 0, now+time.Minute
	}
	switch f.lines++; {
	case f.lines <= maxFindingLines:
		l.agent.log.Warn("finding", "what", x.What, "about", x.Member, "evidence", x.Evidence, "advice", x.Advice)
	case f.lines == maxFindingLines+1:
		l.agent.log.Warn("more findings are held back for a minute; agent diag lists them")
	}
}

// round is a duration as a person reads it.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func ago(d time.Duration) string { return round(d).String() + " ago" }
