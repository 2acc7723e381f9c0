package agent

import (
	"fmt"
	"os"
	"slices"
	"time"

	"doyen/agent/history"
	"doyen/agent/keeper"
	"doyen/agent/members"
	"doyen/seniority"
)

// snapshot is what the loop has published last. It never changes; what depends
// on the time is worked out when it is asked for.
type snapshot struct {
	addr   string // where this member is reached
	status seniority.Status
	// deadline is the one truth about whether this member leads; nil before Run.
	deadline  *keeper.Deadline
	keeperPID int
	// leader describes status.Leader; placed is the member that the placement wants to
	// lead, or "".
	leader Leader
	placed string
	// members is the line of succession, with those lost lately behind it; names
	// are those believed alive.
	members []members.Info
	names   []string
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
	command  *CommandState
	watchdog *WatchdogState
	// addresses are the floating addresses.
	addresses []AddressState
	findings  []Finding
	// hookFails says why this node would not hold a leadership, or is empty.
	hookFails string
	// diskFails says why this node could not store a term, or is empty.
	diskFails string
}

// leads reports whether this member leads at the time now. The deadline
// is the one truth about it; the snapshot only says under which term.
func (s *snapshot) leads(now time.Duration) bool {
	return s.status.Leading && s.deadline.Leads(now)
}

// vouched returns the leader that this member can vouch for at the time now;
// its Leader is empty if there is none. A loop that is a lease late was paused,
// and what it knew then is worth nothing until it has asked.
func (e *Election) vouched(s *snapshot, now time.Duration) Leader {
	switch {
	case s.leader.Leader == "",
		s.leader.Self && !s.leads(now),
		now > time.Duration(e.agent.due.Load())+e.cfg().timing.Lease:
		return Leader{}
	}
	return s.leader
}

// IsLeader reports whether this member leads. It was true at some instant
// between the call and its return; by the time it is used it may not be.
func (e *Election) IsLeader() bool {
	if e == nil {
		return false
	}
	return e.snap.Load().leads(e.cfg().now().Boot)
}

// Leader returns the leader this member leads or follows, or false when it can
// vouch for none. It allocates nothing.
func (e *Election) Leader() (Leader, bool) {
	if e == nil {
		return Leader{}, false
	}
	l := e.vouched(e.snap.Load(), e.cfg().now().Boot)
	return l, l.Leader != ""
}

// State returns this member's own state, checked against the clock now.
func (e *Election) State() State {
	now := e.cfg().now()
	s := e.snap.Load()
	leader := e.vouched(s, now.Boot)
	st := State{
		Name: e.self.Name, Addr: s.addr, Members: slices.Clone(s.names),
		Term: s.status.Term, StartTime: seconds(e.self.Start),
		Role: e.cfg().role.String(), Rule: e.cfg().rule.Name(),
		IsLeader: s.leads(now.Boot), Electing: s.status.Electing,
		Mode: e.cfg().mode(), Voters: e.voterNames(s), VoterEntries: e.cfg().Voters, Hook: s.hook, Command: s.command, Watchdog: s.watchdog,
		Addresses: slices.Clone(s.addresses), PID: os.Getpid(), Version: Version,
		Cluster: e.cfg().Cluster, Phase: phaseNames[s.status.Phase],
		Eligible: s.status.Eligible && e.votes() && e.cfg().role == seniority.Candidate, MaintenanceUntil: e.maintenance.Load().until(now), Health: e.health.Load(),
		Reason: changeReason(&s.status), Previous: s.status.Previous, WallTime: float64(now.Wall) / 1000,
		LeaderHeardMS: -1, JoinedSeeds: e.agent.gossip.AddedSeeds(), Findings: slices.Clone(s.findings),
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
		since := leader.Since.UTC().Round(time.Millisecond)
		st.Leader, st.LeaderSince = &leader.Leader, &since
	}
	return st
}

// voterNames are the voters, each by the name of the member that it is, or as the list
// has it where no such member is known.
func (e *Election) voterNames(s *snapshot) []string {
	names := slices.Clone(e.cfg().Voters)
	for i, entry := range names {
		if at := slices.IndexFunc(s.members, func(m members.Info) bool { return m.Voter == entry }); at >= 0 {
			names[i] = s.members[at].Name
		}
	}
	return names
}

// votes reports whether the list of voters, if there is one, has this member.
func (e *Election) votes() bool { return !e.cfg().quorum() || e.self.Voter != "" }

// info describes the election, checked against the clock now.
func (e *Election) info() ElectionInfo {
	s := e.snap.Load()
	l := e.vouched(s, e.cfg().now().Boot)
	i := ElectionInfo{
		Term: s.status.Term, Self: l.Self, Addr: l.Addr, Candidates: []string{},
		Addresses: slices.Clone(s.addresses), Command: s.command,
	}
	if l.Leader != "" {
		since := l.Since.UTC().Round(time.Millisecond)
		i.Leader, i.Since = &l.Leader, &since
	}
	if s.placed != "" {
		i.Placed = &s.placed
	}
	for _, m := range s.members {
		if m.MayLead() {
			i.Candidates = append(i.Candidates, m.Name)
		}
	}
	return i
}

// Elections describes all elections that this member knows, by name; the group's
// own is group.
func (a *Agent) Elections() map[string]ElectionInfo {
	all := a.roll.all()
	m := make(map[string]ElectionInfo, len(all))
	for _, e := range all {
		m[e.name] = e.info()
	}
	return m
}

// Lease returns how the leadership is held now, as this member sees it. It
// costs no more than Leader does.
func (e *Election) Lease() Lease {
	now := e.cfg().now().Boot
	s := e.snap.Load()
	leader := e.vouched(s, now)
	l := Lease{
		Term: s.status.Term, IsLeader: leader.Self, Electing: s.status.Electing, Phase: phaseNames[s.status.Phase],
	}
	if leader.Leader == "" {
		return l
	}
	l.Leader = &leader.Leader
	end, whole := s.status.Lapse, s.patience
	if leader.Self {
		end, whole = s.status.LeaseEnd, e.cfg().timing.Lease
		l.LeadMS = max(s.status.Deadline-now, 0).Milliseconds()
	}
	l.LeftMS, l.OfMS = max(end-now, 0).Milliseconds(), whole.Milliseconds()
	return l
}

// Members returns the line of succession, and after it members that have
// vanished lately without a good-bye, as not alive.
func (e *Election) Members() []MemberInfo {
	shown := e.snap.Load().members
	line := make([]MemberInfo, len(shown))
	leader, _ := e.Leader()
	for i := range shown {
		line[i] = memberInfo(&shown[i])
		line[i].Leads = line[i].Name == leader.Leader
	}
	return line
}

// Joined is nil once this member has joined and knows a leader, or has decided
// that there is none; else it says what is missing.
func (e *Election) Joined() error {
	if e == nil {
		return ErrNoElection
	}
	s := e.snap.Load()
	_, known := e.Leader()
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

// changeReason says why the leader last changed. Where there is none now, that is why the
// leadership ended, and never why it had begun.
func changeReason(st *seniority.Status) string {
	if st.Leader == "" && st.Reason != seniority.None {
		return history.EndReason(st.Reason)
	}
	return reasonText(st.Reason)
}

// seconds turns Unix nanoseconds into Unix seconds.
func seconds(ns int64) float64 { return float64(ns) / 1e9 }
