package agent

import (
	"fmt"
	"log/slog"
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

// hostWatchdog is how the watchdog of this host goes.
type hostWatchdog struct {
	state *WatchdogState // nil: there is none; what has been published of it never changes
	tried string         // why the keeper could not arm it
}

// newHostWatchdog is what is known before the keeper has told anything.
func newHostWatchdog(s *settings) (w hostWatchdog) {
	if s.Watchdog != "" {
		w.state = &WatchdogState{Device: s.Watchdog, TimeoutMS: s.watchdogTimeout().Milliseconds()}
	}
	return w
}

// judge looks whether the device could be armed; true: that has changed.
func (w *hostWatchdog) judge() bool {
	if w.state == nil || w.state.Armed {
		return false
	}
	info, err := watchdog.Check(w.state.Device)
	switch {
	case err != nil:
		return w.set(err.Error())
	case !info.Active || w.tried == "":
		w.tried = ""
		return w.set("")
	}
	return w.set(w.tried) // another program still has it
}

// note takes in and logs what the keeper says of the device; true: whether it can be
// armed has changed.
func (w *hostWatchdog) note(r *keeper.WatchdogReport, log *slog.Logger) bool {
	if r == nil || w.state == nil {
		return false
	}
	next := *w.state
	next.Armed = r.Armed
	switch {
	case r.Armed:
		next.TimeoutMS, next.NoWayOut = r.Timeout.Milliseconds(), r.NoWayOut
		log.Info("watchdog armed: if agent and keeper are both dead or frozen, the host restarts", "device", next.Device, "within", r.Timeout, "no_way_out", r.NoWayOut)
	case r.Err == "":
		log.Info("watchdog disarmed", "device", next.Device)
	}
	w.state, w.tried = &next, r.Err
	return w.set(r.Err)
}

// set takes over why the device cannot be armed; "": it can.
func (w *hostWatchdog) set(why string) (changed bool) {
	if w.state.Error == why {
		return false
	}
	next := *w.state
	next.Error = why
	w.state = &next
	return true
}

// watchdogChanged tells of a device that cannot be armed, or can be again.
func (l *loop) watchdogChanged() {
	if why := l.watchdog.state.Error; why == "" {
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
	w := e.member.watchdog.state
	return e.cfg.needsWatchdog() && w != nil && w.Error != "" && e.cfg.role == seniority.Candidate
}
