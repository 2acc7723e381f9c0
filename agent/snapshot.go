package agent

import (
	"fmt"
	"os"
	"slices"
	"time"

	"doyen/agent/keeper"
	"doyen/seniority"
)

// snapshot is what the loop has published last. It never changes; what depends
// on the time is worked out by whoever asks.
type snapshot struct {
	status seniority.Status
	// word is the one truth about whether this member leads; nil before Run.
	word      *keeper.Word
	keeperPID int
	// leader describes status.Leader.
	leader Leader
	// line is the line of succession, with those lost lately behind it; names
	// are those believed alive.
	line  []MemberInfo
	names []string
	// missing are the voters that no member of the group is; astray the members
	// that go by another list of voters than this one.
	missing, astray []string
	// settled: every seed has answered or refused.
	settled bool
	// heard is when the leader was last heard (boot time).
	heard time.Duration
	// patience is how long this member goes on naming a leader it follows
	// after the last news of it.
	patience time.Duration
	hook     *HookRun
	findings []Finding
	// hookFails says why this node would not hold a leadership, or is empty.
	hookFails string
}

// leads reports whether this member leads at the time now. The deadline word
// is the one truth about it; the snapshot only says under which term.
func (s *snapshot) leads(now time.Duration) bool {
	return s.status.Leading && s.word.Leads(now)
}

// vouched returns the leader that this member can vouch for at the time now;
// its Leader is empty if there is none. A loop that is a lease late was paused,
// and what it knew then is worth nothing until it has asked.
func (a *Agent) vouched(s *snapshot, now time.Duration) Leader {
	switch {
	case s.leader.Leader == "",
		s.leader.Self && !s.leads(now),
		now > time.Duration(a.due.Load())+a.cfg.timing.Lease:
		return Leader{}
	}
	return s.leader
}

// IsLeader reports whether this member leads. It was true at some instant
// between the call and its return; by the time it is used it may not be.
func (a *Agent) IsLeader() bool {
	return a.snap.Load().leads(a.cfg.now().Boot)
}

// Leader returns the leader this member leads or follows, or false when it can
// vouch for none. It allocates nothing.
func (a *Agent) Leader() (Leader, bool) {
	l := a.vouched(a.snap.Load(), a.cfg.now().Boot)
	return l, l.Leader != ""
}

// State returns this member's own state, checked against the clock now.
func (a *Agent) State() State {
	now := a.cfg.now()
	s := a.snap.Load()
	leader := a.vouched(s, now.Boot)
	st := State{
		Name: a.self.Name, Addr: a.addr, Members: slices.Clone(s.names),
		Term: s.status.Term, StartTime: seconds(a.self.Start),
		Role: a.cfg.role.String(), Rule: a.cfg.rule.Name(),
		IsLeader: s.leads(now.Boot), Electing: s.status.Electing,
		Mode: a.cfg.mode(), Voters: a.cfg.Voters, Hook: s.hook,
		PID: os.Getpid(), Version: Version,
		Cluster: a.cfg.Cluster, Phase: phaseNames[s.status.Phase],
		Eligible: s.status.Eligible, MaintenanceUntil: a.maintenance.Load().until(now), Health: a.health.Load(),
		Reason: reasonText(s.status.Reason), WallTime: float64(now.Wall) / 1000,
		LeaderHeardMS: -1, Findings: slices.Clone(s.findings),
	}
	if s.keeperPID != 0 {
		st.KeeperPID = &s.keeperPID
	}
	switch {
	case st.IsLeader:
		st.LeaseMS = max(s.status.LeaseEnd-now.Boot, 0).Milliseconds()
		st.LeaderHeardMS = 0
	case leader.Leader != "" && s.heard != 0:
		st.LeaderHeardMS = (now.Boot - s.heard).Milliseconds()
	}
	if leader.Leader != "" {
		st.Leader = &leader.Leader
	}
	return st
}

// Lease returns how the leadership is held now, as this member sees it. It
// costs no more than Leader does.
func (a *Agent) Lease() Lease {
	now := a.cfg.now().Boot
	s := a.snap.Load()
	leader := a.vouched(s, now)
	l := Lease{
		Term: s.status.Term, IsLeader: leader.Self, Electing: s.status.Electing, Phase: phaseNames[s.status.Phase],
	}
	if leader.Leader == "" {
		return l
	}
	l.Leader = &leader.Leader
	end, whole := s.status.Lapse, s.patience
	if leader.Self {
		end, whole = s.status.LeaseEnd, a.cfg.timing.Lease
	}
	l.LeftMS, l.OfMS = max(end-now, 0).Milliseconds(), whole.Milliseconds()
	return l
}

// Members returns the line of succession, and after it members that have
// vanished lately without a good-bye, as not alive.
func (a *Agent) Members() []MemberInfo { return slices.Clone(a.snap.Load().line) }

// Joined is nil once this member has joined and knows a leader, or has decided
// that there is none; else it says what is missing.
func (a *Agent) Joined() error {
	s := a.snap.Load()
	_, known := a.Leader()
	switch {
	case known:
		return nil
	case !s.settled:
		return fmt.Errorf("not every seed has answered yet")
	case s.status.Phase == seniority.Yielding:
		return fmt.Errorf("this member is stepping down")
	case s.status.Electing || s.status.Phase == seniority.Waiting:
		return fmt.Errorf("no leader has been elected yet")
	}
	return nil
}

// Live is nil while the loop turns; else it says for how long, beyond limit,
// it has not.
func (a *Agent) Live(limit time.Duration) error {
	if late := a.cfg.now().Boot - time.Duration(a.due.Load()); late > limit {
		return fmt.Errorf("the election loop should have turned %v ago", late.Round(time.Millisecond))
	}
	return nil
}

// reasonText is a reason as JSON shows it: nothing if there is none.
func reasonText(r seniority.Reason) string {
	if r == seniority.None {
		return ""
	}
	return r.String()
}

// seconds turns Unix nanoseconds into Unix seconds.
func seconds(ns int64) float64 { return float64(ns) / 1e9 }
