package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"doyen/agent/keeper"
)

// noteHook tells of a run of the hook.
func (e *election) noteHook(now time.Duration, r *keeper.Report) {
	if r.Event == "" {
		return
	}
	e.hook = &HookRun{
		Event: r.Event, Term: r.Term, Exit: r.Exit, DurationMS: milliseconds(r.Duration),
		Error: r.Err, Running: r.Running, Overtaken: r.Overtaken,
	}
	e.pub.emit("hook", *e.hook)
	attrs := []any{slog.String("event", r.Event), slog.Uint64("term", r.Term)}
	if r.Running {
		e.log.Debug("hook started", attrs...)
		return
	}
	if len(r.Left) > 0 {
		e.log.Warn("the hook left processes running, which were killed", slog.String("event", r.Event), slog.Uint64("term", r.Term), slog.Any("processes", r.Left))
	}
	attrs = append(attrs, slog.Int("exit", r.Exit), slog.Duration("took", r.Duration))
	if r.Output != "" {
		attrs = append(attrs, slog.String("output", r.Output))
	}
	ok := r.Exit == 0 && r.Err == ""
	e.tallyHook(r, ok)
	lapsed := e.lapsed
	if r.Event == "check" {
		e.lapsed = !ok
	}
	if ok {
		level := slog.LevelInfo
		if r.Event == "check" && !lapsed || r.Event == "change" && r.Output == "" {
			level = slog.LevelDebug // nothing is done or amiss, and others say who leads
		}
		e.log.Log(context.Background(), level, "hook done", attrs...)
		if r.Event == e.failed {
			e.failed = ""
			e.findings.Clear(hookFailed, e.self.Name)
		}
		if r.Event == "acquire" {
			e.pub.history.HookTook(r.Term, r.Duration)
		}
		return
	}
	if r.Overtaken {
		e.log.Info("hook overtaken", attrs...)
		return
	}
	e.log.Warn("hook failed", append(attrs, slog.String("error", r.Err))...)
	if r.Event == "acquire" || r.Event == "release" {
		e.failed = r.Event
		e.findings.Set(now, findingsKept, hookFinding(e.self.Name, e.cfg.Hook, r))
	}
}

// tallyHook adds a finished run to the running totals.
func (e *election) tallyHook(r *keeper.Report, ok bool) {
	e.pub.tally.add(func(c *Counters) {
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
