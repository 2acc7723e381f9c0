package agent

import (
	"fmt"
	"time"

	"doyen/agent/keeper"
	"doyen/agent/watchdog"
	"doyen/seniority"
)

// noWatchdog is the finding about a watchdog that cannot be armed.
const noWatchdog = "watchdog-unusable"

// WatchdogState is how the watchdog of a member goes.
type WatchdogState struct {
	Device string `json:"device"`
	Armed  bool   `json:"armed"`
	// TimeoutMS is how long after agent and keeper are both dead or frozen the host
	// restarts, in milliseconds.
	TimeoutMS int64 `json:"timeout_ms"`
	// NoWayOut: once armed it cannot be disarmed.
	NoWayOut bool `json:"no_way_out,omitempty"`
	// Error says why it cannot be armed, so that this member is no candidate.
	Error string `json:"error,omitempty"`
}

// watchdogTimeout is the timeout that the watchdog is set to: another member may
// lead when the lease of a host that is frozen is over.
func (s *settings) watchdogTimeout() time.Duration { return watchdog.Timeout(s.timing.Lease) }

// needsWatchdog reports whether a leadership holds what the kernel cannot take back
// by itself, so that a watchdog guards it.
func (s *settings) needsWatchdog() bool {
	return s.Watchdog != "" && (s.Hook != "" || len(s.Run) > 0)
}

// newWatchdogState is what is known before the keeper has told anything.
func newWatchdogState(s *settings) *WatchdogState {
	if s.Watchdog == "" {
		return nil
	}
	return &WatchdogState{Device: s.Watchdog, TimeoutMS: s.watchdogTimeout().Milliseconds()}
}

// judgeWatchdog looks whether the device could be armed.
func (l *loop) judgeWatchdog() {
	if l.watchdog == nil || l.watchdog.Armed {
		return
	}
	info, err := watchdog.Check(l.watchdog.Device)
	switch {
	case err != nil:
		l.setWatchdogError(err.Error())
	case !info.Active || l.watchdogTried == "":
		l.watchdogTried = ""
		l.setWatchdogError("")
	default: // another program still has it
		l.setWatchdogError(l.watchdogTried)
	}
}

// noteWatchdog takes in what the keeper says of the device.
func (l *loop) noteWatchdog(r *keeper.WatchdogReport) {
	if r == nil || l.watchdog == nil {
		return
	}
	w := *l.watchdog
	w.Armed = r.Armed
	switch {
	case r.Armed:
		w.TimeoutMS, w.NoWayOut = r.Timeout.Milliseconds(), r.NoWayOut
		l.agent.log.Info("watchdog armed: if agent and keeper are both dead or frozen, the host restarts", "device", w.Device, "within", r.Timeout, "no_way_out", r.NoWayOut)
	case r.Err == "":
		l.agent.log.Info("watchdog disarmed", "device", w.Device)
	}
	l.watchdog, l.watchdogTried = &w, r.Err
	l.setWatchdogError(r.Err)
}

// setWatchdogError says whether the device can be armed; "": it can.
func (l *loop) setWatchdogError(why string) {
	if l.watchdog.Error == why {
		return
	}
	w := *l.watchdog // what was published never changes
	w.Error = why
	l.watchdog = &w
	if why == "" {
		l.findings.Clear(noWatchdog, l.agent.self.Name)
	} else {
		l.findings.Set(l.agent.cfg.now().Boot, 0, Finding{
			What: noWatchdog, Member: l.agent.self.Name, Degrades: true,
			Evidence: "the watchdog cannot be armed, so this member is no candidate: " + why,
			Advice:   "Load the driver of the host's watchdog, give this user the device, or take --watchdog away.",
		})
	}
	for _, e := range l.elections {
		e.judgeFitness()
	}
}

// guarded says what the watchdog bounds, or what stands in its way.
func (e *Election) guarded(s *snapshot) []string {
	w := s.watchdog
	switch {
	case w == nil || !e.cfg().needsWatchdog():
		return nil
	case w.Error != "":
		return []string{"note: this member is no candidate: the watchdog cannot be armed: " + w.Error}
	}
	return []string{"note: " + watchdogBound(time.Duration(w.TimeoutMS)*time.Millisecond)}
}

func watchdogBound(timeout time.Duration) string {
	return fmt.Sprintf("if agent and keeper are both dead or frozen while this member leads, its watchdog restarts the host within %v", timeout)
}

// watchdogWarnings says what validate should of the device.
func (s *settings) watchdogWarnings() []string {
	if s.Watchdog == "" {
		return nil
	}
	if !s.needsWatchdog() {
		return []string{"watchdog has no effect without a hook or a command: the kernel takes floating addresses back by itself"}
	}
	info, err := watchdog.Check(s.Watchdog)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("watchdog: on this host an agent would be no candidate: %v", err)}
	case info.Active:
		return []string{fmt.Sprintf("watchdog: %s is armed already, by an agent or by another program such as systemd with RuntimeWatchdogSec", s.Watchdog)}
	case info.NoWayOut:
		return []string{fmt.Sprintf("watchdog: the driver of %s has no way out (nowayout): once armed, the host restarts %v after the agent ends, unless it starts again before", s.Watchdog, s.watchdogTimeout())}
	}
	return nil
}

// lacksWatchdog reports that the election is guarded by a watchdog that cannot be
// armed.
func (e *election) lacksWatchdog() bool {
	w := e.member.watchdog
	return e.cfg.needsWatchdog() && w != nil && w.Error != "" && e.cfg.role == seniority.Candidate
}
