package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"doyen/agent/health"
	"doyen/agent/hook"
	"doyen/seniority"
)

// The defaults of how the health check is run and judged.
const (
	DefaultHealthInterval = 2 * time.Second
	DefaultHealthTimeout  = 2 * time.Second
	DefaultHealthRise     = 2
	DefaultHealthFall     = 3
)

// checkHealth fills in how the health check is run, and checks it.
func checkHealth(s *settings) (err error) {
	s.HealthInterval = cmp.Or(s.HealthInterval, DefaultHealthInterval)
	s.HealthTimeout = cmp.Or(s.HealthTimeout, DefaultHealthTimeout)
	s.HealthRise = cmp.Or(s.HealthRise, DefaultHealthRise)
	s.HealthFall = cmp.Or(s.HealthFall, DefaultHealthFall)
	switch {
	case s.HealthInterval < 0:
		return fmt.Errorf("health-interval of %v is negative", s.HealthInterval)
	case s.HealthTimeout < 0:
		return fmt.Errorf("health-timeout of %v is negative", s.HealthTimeout)
	case s.HealthRise < 0:
		return fmt.Errorf("health-rise of %d is negative", s.HealthRise)
	case s.HealthFall < 0:
		return fmt.Errorf("health-fall of %d is negative", s.HealthFall)
	case s.Health == "" || s.Health == Off:
		s.Health = ""
		return nil
	}
	if s.Health, err = filepath.Abs(s.Health); err != nil {
		return fmt.Errorf("health %s: %w", s.Config.Health, err)
	}
	return nil
}

// runMark names this run of this agent, for the process that cleans up after it.
func (a *Agent) runMark() string { return strconv.FormatUint(a.self.Incarnation, 16) }

// startHealth starts the health check, if there is one; else it returns nil.
// What the checks of a former run have left behind is killed first.
func (e *election) startHealth() *health.Monitor {
	if e.cfg.Health == "" {
		return nil
	}
	check := e.cfg.seams.health
	if check == nil {
		program := hook.Health{Path: e.cfg.Health, Cluster: e.cfg.Cluster, Node: e.self.Name, Addr: e.member.agent.addr, API: e.member.agent.apiAddr(), Run: e.member.agent.runMark()}
		swept := false
		check = func(ctx context.Context, limit time.Duration) hook.Result {
			if !swept {
				swept = true
				if err := hook.SweepHealthOf(e.cfg.Cluster, e.self.Name); err != nil {
					e.log.Warn("a health check of a former run goes on", "error", err)
				}
			}
			return program.Check(ctx, limit)
		}
	}
	return health.Start(health.Config{
		Interval: e.cfg.HealthInterval, Timeout: e.cfg.HealthTimeout,
		Rise: e.cfg.HealthRise, Fall: e.cfg.HealthFall, Check: check,
	})
}

// noteHealth takes in what the health checks have come to.
func (e *election) noteHealth(r *health.Report) {
	was := e.pub.health.Load()
	h := &Health{
		Healthy: r.Healthy, Exit: r.Last.Exit, InARow: r.Streak,
		DurationMS: milliseconds(r.Last.Duration), At: r.At,
	}
	if r.Last.Err != nil {
		h.Error = strings.ReplaceAll(r.Last.Err.Error(), "\n", "; ")
	}
	e.pub.health.Store(h)
	e.fitness.sick = !r.Healthy
	e.pub.tally.add(func(c *Counters) { c.Health = HealthCounters{OK: r.OK, Failed: r.Failed, Seconds: r.Seconds} })
	changed := was == nil || was.Healthy != h.Healthy
	if changed {
		e.pub.emit("health", *h)
	}
	e.logHealth(h, changed, r.Last.Output)
}

// logHealth logs a result as loudly as it matters: what changes the verdict, or
// may be about to.
func (e *election) logHealth(h *Health, changed bool, output string) {
	attrs := []any{slog.Int("exit", h.Exit), slog.Int("in_a_row", h.InARow)}
	if h.Error != "" {
		attrs = append(attrs, slog.String("error", h.Error))
	}
	if output != "" {
		attrs = append(attrs, slog.String("output", output))
	}
	switch {
	case changed && h.Healthy:
		e.log.Info("the health check succeeds, so this member may lead", attrs...)
	case changed:
		e.log.Warn("the health check fails, so this member is no candidate", attrs...)
	case h.Healthy && h.Error != "":
		e.log.Warn("the health check has failed", attrs...)
	default:
		e.log.Debug("health check", attrs...)
	}
}

// unhealthy is the finding about a member whose health check fails.
const unhealthy = "unhealthy"

// tellHealth keeps the finding about a sick member up to date.
func (e *election) tellHealth(now seniority.Now, st *seniority.Status) {
	h := e.pub.health.Load()
	if h == nil || h.Healthy {
		e.findings.Clear(unhealthy, e.self.Name)
		return
	}
	f := Finding{
		What: unhealthy, Member: e.self.Name, Evidence: h.sickness(), Degrades: true,
		Advice: "Run " + e.cfg.Health + " by hand on that member; its output is in the log.",
	}
	if st.Leading {
		f.Evidence += leadsAllTheSame
	}
	e.findings.Set(now.Boot, 0, f)
}

// sickness is why a member is no candidate.
func (h *Health) sickness() string {
	if h.Error == "" {
		return fmt.Sprintf("its health check had failed, and has since succeeded %d times in a row", h.InARow)
	}
	return fmt.Sprintf("its health check has failed %d times in a row: %s", h.InARow, h.Error)
}

// leadsAllTheSame ends the evidence about a leader that should not be one.
const leadsAllTheSame = "; it leads all the same, because no other member may"
