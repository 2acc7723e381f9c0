package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"doyen/seniority"
)

// Ready says whether a failover would work now, who would lead, and what
// stands in the way. Reasons that start with "note:" do not.
func (a *Agent) Ready() Readiness {
	s := a.snap.Load()
	leader, known := a.Leader()
	r := Readiness{WorstFailoverMS: a.worstFailover(s).Milliseconds(), DriftPPM: driftPPM, Reasons: []string{}}
	least, usual := a.cfg.timing.SilentFailover()
	r.LeastFailoverMS, r.UsualFailoverMS = least.Milliseconds(), usual.Milliseconds()
	if a.cfg.quorum() {
		r.ReleaseBudgetMS = a.cfg.timing.ReleaseBudget.Milliseconds()
	}
	for _, m := range s.line {
		if m.Name != leader.Leader && m.mayLead() {
			r.WouldLead = &m.Name
			break
		}
	}
	obstacle := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if !known {
		obstacle("there is no leader now: %s", a.noLeader(s))
	}
	if r.WouldLead == nil {
		obstacle("no other member may lead")
	}
	if s.status.Abstaining {
		obstacle("this member has just started and does not vote yet")
	}
	if s.hookFails != "" {
		obstacle("%s", s.hookFails)
	}
	for _, v := range s.missing {
		obstacle("the voter %s is not there", v)
	}
	for _, name := range s.astray {
		obstacle("%s was given other --voters than this member: finish that change before the next", name)
	}
	r.Ready = len(r.Reasons) == 0
	r.Reasons = append(r.Reasons, a.reservations(s)...)
	r.Reasons = append(r.Reasons, a.withdrawn()...)
	return r
}

// reservations are what does not stand in the way, but leaves fewer to lead.
func (a *Agent) reservations(s *snapshot) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf("note: "+format, args...)) }
	now := a.cfg.now()
	if until := a.maintenance.Load().until(now); until != nil {
		note("this member stands aside until %s, as it was asked to", until.UTC().Format(time.RFC3339))
	} else if left := s.status.AsideUntil - now.Boot; left > 0 {
		note("this member stands aside for another %v", left.Round(time.Second))
	}
	switch h := a.health.Load(); {
	case h == nil && a.cfg.Health != "":
		note("this member is no candidate before its first health check has ended")
	case h != nil && !h.Healthy:
		note("this member is no candidate: %s", h.sickness())
	}
	if s.leads(now.Boot) && !s.status.Eligible {
		note("this member leads although it should not, because no other may")
	}
	var others []string
	for _, m := range s.line {
		if m.Name != a.self.Name && m.Alive && m.Role == DefaultRole && !m.Eligible {
			others = append(others, m.Name)
		}
	}
	if len(others) > 0 {
		note("no candidate now: %s; diag says why", strings.Join(others, ", "))
	}
	return notes
}

// withdrawn names the guarantees that this configuration gives up.
func (a *Agent) withdrawn() []string {
	if a.cfg.Keeper == On {
		return nil
	}
	if a.cfg.Hook == "" {
		return []string{"note: without a keeper a crash of this process is noticed only when its lease has run out"}
	}
	return []string{"note: without a keeper a crash of this process leaves what the hook holds until it is started again, and is noticed only when its lease has run out"}
}

// noLeader says why there is none, as far as this member can tell.
func (a *Agent) noLeader(s *snapshot) string {
	voting := 0
	for _, m := range s.line {
		if m.mayLead() {
			voting++
		}
	}
	switch {
	case s.status.Phase == seniority.Yielding:
		return "this member is handing over"
	case a.cfg.quorum() && 2*(len(a.cfg.Voters)-len(s.missing)) <= len(a.cfg.Voters):
		return fmt.Sprintf("only %d of %d voters are there, and a majority must confirm", len(a.cfg.Voters)-len(s.missing), len(a.cfg.Voters))
	case a.cfg.quorum() && s.status.Answers > 0 && 2*s.status.Answers <= len(a.cfg.Voters):
		return fmt.Sprintf("only %d of %d voters answer, and a majority must confirm", s.status.Answers, len(a.cfg.Voters))
	case voting == 0:
		return "no member is a candidate and fit to lead"
	case !s.settled:
		return "not every seed has answered yet"
	case len(s.names) == 1 && a.cfg.loneWait < 0:
		return "this member is alone, and lone-wait forbids it to lead alone"
	case len(s.names) == 1:
		return fmt.Sprintf("this member is alone, and may lead alone only after the lone-wait of %v", a.cfg.loneWait)
	}
	return "an election is due or under way"
}

// worstFailover bounds how long the group is without a leader after one fault,
// computed from the timing; see seniority.Timing.FailoverBound.
func (a *Agent) worstFailover(s *snapshot) time.Duration {
	candidates := 0
	for _, m := range s.line {
		if m.mayLead() {
			candidates++
		}
	}
	return a.cfg.timing.FailoverBound(candidates)
}

// mayLead reports whether the member may be elected now.
func (m *MemberInfo) mayLead() bool {
	return m.Alive && m.Eligible && m.Role == seniority.Candidate.String()
}

// missingVoters lists the entries of voters that no member of the view is.
func missingVoters(voters []string, order []seniority.Member) []string {
	var missing []string
	for _, v := range voters {
		if !slices.ContainsFunc(order, func(m seniority.Member) bool { return m.Voter == v }) {
			missing = append(missing, v)
		}
	}
	return missing
}
