package electionlog

import (
	"maps"
	"slices"
	"time"

	"doyen/agent/members"
	"doyen/agent/words"
)

// byeWait is how long a member's good-bye may take once it has vanished: gossip
// may tell of its end first.
const byeWait = 300 * time.Millisecond

// Moves logs who has joined, left or been lost: one line for all of a kind, for at a
// start or a heal many come at once. split says that a member which is cut off may lead
// there, beside this one. It must be called also when nothing has moved: a member that
// has vanished is told of a little later.
func (l *Log) Moves(now time.Duration, moves []members.Change, line *members.Line, split bool) {
	var joined, restarted, left, died, lost []string
	for _, m := range moves {
		switch name := m.Member.Name; {
		case name == l.self:
		case m.What == members.Join:
			joined = append(joined, name)
		case m.What == members.Leave && m.Reason == members.Lost:
			if l.vanished == nil {
				l.vanished = map[string]time.Duration{}
			}
			l.vanished[name] = now
		case m.What == members.Leave:
			left = append(left, name)
		case m.Reason == members.Restarted:
			restarted = append(restarted, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.vanished)) {
		if now < l.vanished[name]+byeWait {
			continue
		}
		delete(l.vanished, name)
		if line.HasDied(name) {
			died = append(died, name)
		} else if line.HasLost(name) {
			lost = append(lost, name)
		} else if !slices.Contains(line.Names, name) {
			left = append(left, name)
		}
	}
	l.members("joined the group", joined, line)
	l.members("restarted", restarted, line)
	l.members("left the group", left, line)
	if len(died) > 0 {
		l.to.Warn("died", "who", words.Some(died), "members", len(line.Names), "why", "its agent ended without leaving; its keeper says so")
	}
	if len(lost) == 0 {
		return
	}
	why := "did not say that it leaves and does not answer: dead, or cut off from here"
	if split {
		why += "; if it is cut off it may lead there, too"
	}
	l.to.Warn("lost from the group", "who", words.Some(lost), "members", len(line.Names), "why", why)
}

func (l *Log) members(what string, who []string, line *members.Line) {
	if len(who) > 0 {
		l.to.Info(what, "who", words.Some(who), "members", len(line.Names))
	}
}
