package agent

import (
	"fmt"
	"strings"
	"time"

	"doyen/agent/voters"
	"doyen/agent/words"
	"doyen/seniority"
)

// Ready says whether a failover would work now, who would lead, and what
// stands in the way. Reasons that start with "note:" do not.
func (e *Election) Ready() Readiness {
	s := e.snap.Load()
	leader, known := e.Leader()
	r := Readiness{WorstFailoverMS: e.worstFailover(s).Milliseconds(), DriftPPM: driftPPM, Hook: e.cfg().Hook != "", Reasons: []string{}}
	least, usual := e.cfg().timing.SilentFailover()
	r.LeastFailoverMS, r.UsualFailoverMS = least.Milliseconds(), usual.Milliseconds()
	if e.cfg().quorum() {
		r.ReleaseBudgetMS = e.cfg().timing.ReleaseBudget.Milliseconds()
	}
	next, why := e.successor(s, leader.Leader)
	if next != "" {
		r.WouldLead = &next
	}
	obstacle := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if !known {
		obstacle("there is no leader now: %s", e.noLeader(s))
	}
	if why != "" {
		obstacle("%s", why)
	}
	if left := s.status.AbstainTill - e.cfg().now().Boot; left > 0 {
		obstacle("this member has just started and votes in %v: what its last run may have promised must be over", left.Round(100*time.Millisecond))
	}
	if s.hookFails != "" {
		obstacle("%s", s.hookFails)
	}
	if s.diskFails != "" {
		obstacle("this member could not store a term, so it neither leads nor confirms another: %s", s.diskFails)
	}
	for _, v := range s.missing {
		obstacle("the voter %s is not there", v)
	}
	for _, name := range s.astray {
		obstacle("%s was given other --voters than this member: finish that change before the next", name)
	}
	r.Ready = len(r.Reasons) == 0
	if trouble := termTrouble(e.cfg().now(), &s.status); trouble != "" && known {
		r.Reasons = append(r.Reasons, "note: "+trouble)
	}
	r.Reasons = append(r.Reasons, e.reservations(s)...)
	if w := voters.Wasted(len(e.cfg().Voters)); w != "" {
		r.Reasons = append(r.Reasons, "note: "+w)
	}
	r.Reasons = append(r.Reasons, e.cfg().scheduling()...)
	r.Reasons = append(r.Reasons, e.guarded(s)...)
	r.Reasons = append(r.Reasons, e.withdrawn()...)
	r.Reasons = append(r.Reasons, e.forgets()...)
	r.Reasons = append(r.Reasons, e.moved()...)
	return r
}

// successor is the member that would lead if the leader were lost; "": none would, and
// why says so, unless there is no leader now either for that reason.
func (e *Election) successor(s *snapshot, leader string) (name, why string) {
	left := 0 // of the voters
	for i := range s.members {
		m := &s.members[i]
		if m.Name == leader || !m.Alive {
			continue
		}
		if m.Voter != "" {
			left++
		}
		if name == "" && m.MayLead() {
			name = m.Name
		}
	}
	switch all := len(e.cfg().Voters); {
	case name == "":
		return "", "no other member may lead"
	case !e.cfg().quorum() || 2*left > all:
		return name, ""
	case leader == "" || all <= 2: // of two voters none can ever be missed: a note says so
		return "", ""
	default:
		return "", fmt.Sprintf("no other member could be elected without %s: only %d of %d voters would be left, and a majority must confirm", leader, left, all)
	}
}

// reservations are what does not stand in the way, but leaves fewer to lead.
func (e *Election) reservations(s *snapshot) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf("note: "+format, args...)) }
	now := e.cfg().now()
	if until := e.maintenance.Load().until(now); until != nil {
		note("this member stands aside until %s, as it was asked to", until.UTC().Format(time.RFC3339))
	} else if left := s.status.AsideUntil - now.Boot; left > 0 {
		note("this member stands aside for another %v", left.Round(time.Second))
	}
	switch h := e.health.Load(); {
	case h == nil && e.cfg().Health != "":
		note("this member is no candidate before its first health check has ended")
	case h != nil && !h.Healthy:
		note("this member is no candidate: %s", h.sickness())
	}
	for _, x := range s.addresses {
		if s.leads(now.Boot) && !x.Held {
			note("this member leads and does not hold %s on %s", x.Address, x.Interface)
		}
	}
	if s.leads(now.Boot) && !s.status.Eligible {
		note("this member leads although it should not, because no other may")
	}
	var others []string
	for _, m := range s.members {
		voteless := e.cfg().quorum() && m.Voter == ""
		if m.Name != e.self.Name && m.Alive && m.Role == seniority.Candidate && !m.Eligible && !voteless {
			others = append(others, m.Name)
		}
	}
	if len(others) > 0 {
		note("no candidate now: %s; diag says why", strings.Join(others, ", "))
	}
	return notes
}

// withdrawn names the guarantees that this configuration gives up.
func (e *Election) withdrawn() []string {
	if e.cfg().Keeper == On {
		return nil
	}
	if e.cfg().Hook == "" {
		return []string{"note: without a keeper a crash of this process is noticed only when its lease has run out"}
	}
	return []string{"note: without a keeper a crash of this process leaves what the hook holds until it is started again, and is noticed only when its lease has run out"}
}

// forgets names what this voter will not know of this run after a restart.
func (e *Election) forgets() []string {
	lease, longest := e.cfg().timing.Lease, seniority.LongestLease()
	switch {
	case e.self.Voter == "" || e.agent.state != nil:
	case lease > longest:
		return []string{fmt.Sprintf("note: without --state-dir a boot of the host forgets that the lease is %v, longer than any profile's: shorten it only after all members have been off for that long", lease)}
	case e.agent.leases == nil:
		return []string{fmt.Sprintf("note: without --state-dir or a runtime directory this member does not know after a restart what it promised before, and votes only after %v", seniority.Drifted(longest))}
	}
	return nil
}

// moved says that this voter has another address than the entry that it is, which it would
// no longer be after a restart.
func (e *Election) moved() []string {
	now := e.agent.gossip.AddrPort().Addr()
	was, isAddress := voters.Address(e.self.Voter)
	if !isAddress || was == now || e.self.Voter == e.agent.cfg.Name {
		return nil
	}
	return []string{fmt.Sprintf("note: this member is the voter %s and has the address %s now: from its next start on it has no vote, unless it has its address again or a new list of voters", e.self.Voter, now)}
}

// noLeader says why there is none, as far as this member can tell.
func (e *Election) noLeader(s *snapshot) string {
	voting := 0
	for _, m := range s.members {
		if m.MayLead() {
			voting++
		}
	}
	switch {
	case s.status.Phase == seniority.Yielding:
		return "this member is handing over"
	case e.cfg().quorum() && voters.TooFew(len(e.cfg().Voters), len(s.missing), s.status.Answers) != "":
		return voters.TooFew(len(e.cfg().Voters), len(s.missing), s.status.Answers)
	case s.status.AloneAt > e.cfg().now().Boot:
		return fmt.Sprintf("too few members have answered this one, which has led in vain before: it leads without their answers in %s at the earliest", words.Round(s.status.AloneAt-e.cfg().now().Boot))
	case s.status.Terms != seniority.None:
		return termTrouble(e.cfg().now(), &s.status)
	case voting == 0:
		return "no member is a candidate and fit to lead"
	case !s.settled:
		return "not every seed has answered yet"
	case len(s.names) == 1 && e.cfg().loneWait < 0:
		return "this member is alone, and lone-wait forbids it to lead alone"
	case len(s.names) == 1:
		return fmt.Sprintf("this member is alone, and may lead alone only after the lone-wait of %v", e.cfg().loneWait)
	}
	return "an election is due or under way"
}

// worstFailover bounds how long the group is without a leader after one fault,
// computed from the timing; see seniority.Timing.FailoverBound.
func (e *Election) worstFailover(s *snapshot) time.Duration {
	candidates := 0
	for _, m := range s.members {
		if m.MayLead() {
			candidates++
		}
	}
	return e.cfg().timing.FailoverBound(candidates)
}
