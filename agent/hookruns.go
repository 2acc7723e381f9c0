package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/keeper"
	"doyen/agent/ownfindings"
)

// runs is what the keeper has told of what it runs and holds for an election: the hook,
// the command, the floating addresses. It tells log, streams, counters and findings of
// each report; what the election does about one is in report.
type runs struct {
	pub      *Election
	findings ownfindings.Election

	hook      *HookRun      // the last run
	failed    string        // the event of the hook that failed last, until it works
	lapsed    bool          // the hook's last check failed
	command   *CommandState // nil: none
	addresses []AddressState
	// putBackLogged is when the log last told of an address put back.
	putBackLogged time.Duration
}

// newRuns is what there is before the keeper has told anything.
func newRuns(pub *Election, findings ownfindings.Election) runs {
	u := runs{pub: pub, findings: findings, addresses: addressStates(floatingip.States(pub.cfg().floating))}
	if argv := pub.cfg().run; len(argv) > 0 {
		u.command = &CommandState{Argv0: argv[0]}
	}
	return u
}

// keeperDied takes back what only the keeper that told it can say is over.
func (u *runs) keeperDied() {
	for _, what := range floatingip.Lasting {
		u.findings.Clear(what, u.pub.self.Name)
	}
}

// keeperReplaced takes in that the keeper after a dead one has released all that was
// left: it tells of nothing that had gone before it came, such as an address whose lifetime
// had ended, so that what the dead one told last would stand for good.
// released is the term of the leadership that the dead one acted for; 0: none.
func (u *runs) keeperReplaced(now time.Duration, released uint64) {
	if u.holds() {
		u.noteAddress(now, &floatingip.Event{What: floatingip.GivenUp, Addresses: floatingip.States(u.pub.cfg().floating)})
	}
	if c := u.command; c != nil && c.PID != nil {
		u.noteCommand(now, &keeper.Report{Term: released, Command: &keeper.CommandReport{
			Argv0: c.Argv0, PID: *c.PID, Restarts: c.Restarts, Exit: -1, Err: "its keeper has died", Stopped: true,
			Ran: time.UnixMilli(u.pub.cfg().now().Wall).Sub(*c.Since),
		}})
	}
}

// noteHook tells of a run of the hook.
func (u *runs) noteHook(now time.Duration, r *keeper.Report) {
	if r.Event == "" {
		return
	}
	u.hook = &HookRun{
		Event: r.Event, Term: r.Term, Exit: r.Exit, DurationMS: milliseconds(r.Duration),
		Error: r.Err, Running: r.Running, Overtaken: r.Overtaken,
	}
	u.pub.emit("hook", *u.hook)
	attrs := []any{slog.String("event", r.Event), slog.Uint64("term", r.Term)}
	if r.Running {
		u.pub.log.Debug("hook started", attrs...)
		return
	}
	if len(r.Left) > 0 {
		u.pub.log.Warn("the hook left processes running, which were killed", slog.String("event", r.Event), slog.Uint64("term", r.Term), slog.Any("processes", r.Left))
	}
	attrs = append(attrs, slog.Int("exit", r.Exit), slog.Duration("took", r.Duration))
	if r.Output != "" {
		attrs = append(attrs, slog.String("output", r.Output))
	}
	ok := r.Exit == 0 && r.Err == ""
	u.tallyHook(r, ok)
	lapsed := u.lapsed
	if r.Event == "check" {
		u.lapsed = !ok
	}
	if ok {
		level := slog.LevelInfo
		if r.Event == "check" && !lapsed || r.Event == "change" && r.Output == "" {
			level = slog.LevelDebug // nothing is done or amiss, and others say who leads
		}
		u.pub.log.Log(context.Background(), level, "hook done", attrs...)
		if r.Event == u.failed {
			u.failed = ""
			u.findings.Clear(hookFailed, u.pub.self.Name)
		}
		if r.Event == "acquire" {
			u.pub.history.HookTook(r.Term, r.Duration)
		}
		return
	}
	if r.Overtaken {
		u.pub.log.Info("hook overtaken", attrs...)
		return
	}
	u.pub.log.Warn("hook failed", append(attrs, slog.String("error", r.Err))...)
	if r.Event == "acquire" || r.Event == "release" {
		u.failed = r.Event
		u.findings.Set(now, findingsKept, hookFinding(u.pub.self.Name, u.pub.cfg().Hook, r))
	}
}

// tallyHook adds a finished run to the running totals.
func (u *runs) tallyHook(r *keeper.Report, ok bool) {
	u.pub.tally.add(func(c *Counters) {
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
		// The hook of a release may have been taken away by then.
		Advice: "Run " + cmp.Or(hook, "the former hook as") + " " + r.Event + " by hand on that member; its output is in the log.",
	}
}
