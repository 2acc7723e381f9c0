package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"doyen/agent/keeper"
	"doyen/seniority"
)

const (
	// acquireLimit is after how many failed runs of acquire a leader hands over.
	acquireLimit = 3
	// acquireAside is for how long it then leaves the lead to others.
	acquireAside = time.Minute
)

// instruct tells the keeper what is wanted now. It is the whole of it each
// time, so that an instruction that is overtaken does not matter. moved says
// that the members have changed, and with them who should get the will.
func (l *loop) instruct(st *seniority.Status, notes []seniority.Note, moved bool) {
	o := keeper.Order{
		Lead: st.Leading, Term: st.Term, ReleaseTerm: st.Releasing, ReleaseBy: st.ReleaseBy,
		Leader: st.Leader, LeaderAddr: l.line.addr(st.Leader), Previous: st.Previous,
		Reason: reasonText(st.Reason), CheckNow: l.order.CheckNow,
	}
	for _, n := range notes {
		if n.Kind == seniority.OtherLeader {
			o.CheckNow++
		}
	}
	if st.Leading {
		o.Will, o.WillTargets = l.order.Will, l.order.WillTargets
		if moved || !l.order.Lead || l.order.Term != st.Term {
			o.Will, o.WillTargets = l.will(st)
		}
	}
	if !sameOrder(&o, &l.order) {
		l.order = o
		l.hands.Order(o)
	}
}

// will is the leader's last message, for the keeper to deliver if this process
// dies, and to whom.
func (l *loop) will(st *seniority.Status) (packet []byte, targets []string) {
	packet, addrs := l.gossip.Will(&seniority.Message{
		Kind: seniority.Release, From: l.self.Name, Incarnation: l.self.Incarnation,
		Term: st.Term, Reason: seniority.LeaderDied, Will: st.Will,
	})
	for _, a := range addrs {
		targets = append(targets, a.String())
	}
	return packet, targets
}

// sameOrder reports whether two orders ask for the same.
func sameOrder(a, b *keeper.Order) bool {
	return a.Lead == b.Lead && a.Term == b.Term && a.ReleaseTerm == b.ReleaseTerm && a.ReleaseBy == b.ReleaseBy &&
		a.Leader == b.Leader && a.LeaderAddr == b.LeaderAddr && a.Previous == b.Previous && a.Reason == b.Reason &&
		a.CheckNow == b.CheckNow && slices.Equal(a.Will, b.Will) && slices.Equal(a.WillTargets, b.WillTargets)
}

// report takes in what the keeper says.
func (l *loop) report(r keeper.Report) {
	now := l.cfg.now().Boot
	l.noteHook(now, &r)
	switch {
	case r.KeeperDied:
		l.findings.set(now, findingsKept, Finding{
			What: "keeper-died", Member: l.self.Name,
			Evidence: "the keeper of this member ended and was started again: " + r.Err,
			Advice:   "See the log for why; a keeper must not be killed.",
		})
		l.fire()
	case r.Fired != 0:
		l.findings.set(now, findingsKept, Finding{
			What: "keeper-fired", Member: l.self.Name,
			Evidence: fmt.Sprintf("the keeper ended the leadership of term %d because this member did not extend it in time", r.Fired),
			Advice:   "The agent was stopped or starved; give the host more CPU, or use a longer --lease.",
		})
		l.step(seniority.Input{Kind: seniority.Fired, Term: r.Fired, Reason: seniority.KeeperFired})
	case r.Released != 0:
		l.endRelease(r.Released)
	case r.AcquireFailures >= acquireLimit && l.last.Leading && r.Term == l.last.Term:
		l.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.HookFailed, Aside: acquireAside})
	}
}

// fire ends whatever leadership or hand-over there is.
func (l *loop) fire() {
	term := l.last.Releasing
	if l.last.Leading {
		term = l.last.Term
	}
	if term != 0 {
		l.step(seniority.Input{Kind: seniority.Fired, Term: term, Reason: seniority.KeeperFired})
	}
}

// endRelease lets the hand-over go on, once the functions given to Lead have
// returned too: they are as much part of the leadership as the hook.
func (l *loop) endRelease(term uint64) {
	if l.tenures.busy(term) {
		l.released = term
		if l.releaseBy = l.last.ReleaseBy; l.releaseBy == 0 {
			l.releaseBy = l.cfg.now().Boot + l.cfg.HookTimeout
		}
		return
	}
	l.step(seniority.Input{Kind: seniority.Released, Term: term})
}

// tenuresLeft goes on with a release that waited for functions given to Lead:
// because one has returned, or because they have had their time.
func (l *loop) tenuresLeft(late bool) {
	term := l.released
	if term == 0 || l.tenures.busy(term) && !late {
		return
	}
	if late {
		l.log.Warn("a function given to Lead goes on although its leadership has ended", "term", term)
	}
	l.released, l.releaseBy = 0, 0
	l.step(seniority.Input{Kind: seniority.Released, Term: term})
}

// noteHook tells of a run of the hook.
func (l *loop) noteHook(now time.Duration, r *keeper.Report) {
	if r.Event == "" {
		return
	}
	l.hook = &HookRun{
		Event: r.Event, Term: r.Term, Exit: r.Exit, DurationMS: milliseconds(r.Duration),
		Error: r.Err, Running: r.Running,
	}
	l.emit("hook", *l.hook)
	attrs := []any{slog.String("event", r.Event), slog.Uint64("term", r.Term)}
	if r.Running {
		l.log.Debug("hook started", attrs...)
		return
	}
	attrs = append(attrs, slog.Int("exit", r.Exit), slog.Duration("took", r.Duration))
	if r.Output != "" {
		attrs = append(attrs, slog.String("output", r.Output))
	}
	ok := r.Exit == 0 && r.Err == ""
	l.tallyHook(r, ok)
	lapsed := l.lapsed
	if r.Event == "check" {
		l.lapsed = !ok
	}
	if ok {
		level := slog.LevelInfo
		if r.Event == "check" && !lapsed {
			level = slog.LevelDebug // as ever, every few seconds
		}
		l.log.Log(context.Background(), level, "hook done", attrs...)
		if r.Event == l.failed {
			l.failed = ""
			l.findings.clear(hookFailed, l.self.Name)
		}
		if r.Event == "acquire" {
			l.history.hookTook(r.Term, r.Duration)
		}
		return
	}
	if r.Overtaken {
		l.log.Info("hook overtaken", attrs...)
		return
	}
	l.log.Warn("hook failed", append(attrs, slog.String("error", r.Err))...)
	if r.Event == "acquire" || r.Event == "release" {
		l.failed = r.Event
		l.findings.set(now, findingsKept, hookFinding(l.self.Name, l.cfg.Hook, r))
	}
}

// tallyHook adds a finished run to the running totals.
func (l *loop) tallyHook(r *keeper.Report, ok bool) {
	l.tally.add(func(c *Counters) {
		outcome := "failed"
		if r.Overtaken {
			outcome = "overtaken"
		}
		if ok {
			outcome = "ok"
			if r.Event == "acquire" {
				c.Failover.Hook = r.Duration.Seconds()
			}
		}
		c.HookRuns[r.Event+"/"+outcome]++
		c.HookSeconds[r.Event] += r.Duration.Seconds()
	})
}

// hookFailed is the finding about a hook that could not do its work.
const hookFailed = "hook-failed"

// hookFinding says what the hook failed to do, until it works again.
func hookFinding(member, hook string, r *keeper.Report) Finding {
	evidence := fmt.Sprintf("the hook's %s of term %d ended with status %d", r.Event, r.Term, r.Exit)
	if r.Err != "" {
		evidence = fmt.Sprintf("the hook's %s of term %d: %s", r.Event, r.Term, r.Err)
	}
	return Finding{
		What: hookFailed, Member: member, Evidence: evidence, Degrades: true,
		Advice: "Run " + hook + " " + r.Event + " by hand on that member; its output is in the log.",
	}
}
