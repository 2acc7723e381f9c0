package agent

import (
	"fmt"
	"strings"
	"time"

	"doyen/agent/voters"
	"doyen/agent/words"
	"doyen/seniority"
)

// The findings about a lease that ran out, one for each cause: votes that did
// not come, this process that was late, the keeper that was.
const (
	noMajority = "no-majority"
	loopLate   = "agent-late"
	keeperLate = "keeper-late"
	notAVoter  = "not-a-voter"
)

// majorityPatience is how long a majority must have been missing before that is
// a finding, unless a lease ran out by it: members that start together are not
// there at the same instant.
const majorityPatience = 3 * time.Second

// lateness is by how much the loop has turned too late at most since the
// deadline was last moved on: 0 for one that is on time.
type lateness struct {
	due, most time.Duration
	deadline  time.Duration
}

// turn takes note of the time of a turn, and of when the next one is due.
func (l *lateness) turn(now, due time.Duration) {
	if l.due != 0 {
		l.most = max(l.most, now-l.due)
	}
	l.due = due
}

// extended takes note of the deadline in force.
func (l *lateness) extended(deadline time.Duration) {
	if deadline > l.deadline {
		l.deadline, l.most = deadline, 0
	}
}

// at is the lateness of a turn that is under way now.
func (l *lateness) at(now time.Duration) time.Duration {
	if l.due == 0 {
		return l.most
	}
	return max(l.most, now-l.due)
}

// starved reports how late the loop was, if that can have cost the lease: it
// has sent its renewals at least half a renewal late.
func (e *election) starved(now time.Duration) (time.Duration, bool) {
	late := e.lateness.at(now)
	return late, late > e.cfg.timing.Renewal/2
}

// firedReason is why the keeper has fired, told at the boot time now: it does so
// at the deadline for any cause, often just before the loop itself would.
func (e *election) firedReason(now time.Duration) seniority.Reason {
	if _, late := e.starved(now); e.cfg.quorum() && !late {
		return seniority.LeaseLost
	}
	return seniority.KeeperFired
}

// tellLost keeps the findings about lost leases up to date.
func (e *election) tellLost(now seniority.Now, st *seniority.Status, notes []seniority.Note) {
	for i := range notes {
		if n := &notes[i]; n.Kind == seniority.Lost && n.Peer == e.self.Name {
			e.findLostLease(now, n)
		}
	}
	e.tellMajority(now, st)
}

// findLostLease finds out why a lease of this member ran out.
func (e *election) findLostLease(now seniority.Now, n *seniority.Note) {
	switch n.Reason {
	case seniority.LeaseLost, seniority.KeeperFired, seniority.Asleep:
	default:
		return
	}
	late, starved := e.starved(now.Boot)
	switch {
	case starved: // one loop serves all elections
		e.member.findings.Set(now.Boot, findingsKept, Finding{
			What: loopLate, Member: e.self.Name,
			Evidence: fmt.Sprintf("the agent ran %v late, so the lease of %s was not renewed", words.Round(late), e.leadershipOf(n.Term)),
			Advice:   "The process or its host was stopped, had no CPU or, with --state-dir, waited for its disk: give the host more, or use a longer --lease.",
		})
	case n.Reason == seniority.LeaseLost && e.cfg.quorum():
		evidence := fmt.Sprintf("the lease of %s ran out: fewer than %d of %d voters confirmed it in time",
			e.leadershipOf(n.Term), len(e.cfg.Voters)/2+1, len(e.cfg.Voters))
		silent := e.silentVoters(now)
		if len(silent) > 0 {
			evidence += ", and " + words.Some(silent) + " did not"
		}
		e.findings.Share(now.Boot, 0, Finding{
			What: noMajority, Member: e.self.Name, Degrades: true, Evidence: evidence, Advice: reachAdvice(silent),
		})
	}
}

// reachAdvice is what to do about voters that do not confirm in time.
func reachAdvice(silent []string) string {
	if len(silent) == 0 {
		return "See whether the network between the voters loses or delays UDP packets."
	}
	return "See whether they run, and whether this member reaches them over UDP: " + words.Some(silent) + "."
}

// leadershipOf names a leadership of this member in a sentence about the whole member.
func (e *election) leadershipOf(term uint64) string {
	if e.pub.label() == "" {
		return fmt.Sprintf("term %d", term)
	}
	return fmt.Sprintf("the election %s, term %d", e.pub.name, term)
}

// findKeeperLate notes a keeper that fired so late that what it had to release
// was cut short, or not released in time.
func (e *election) findKeeperLate(now time.Duration, term uint64, late time.Duration) {
	if late <= e.cfg.timing.ReleaseBudget/4 {
		return
	}
	e.member.findings.Set(now, findingsKept, Finding{ // one keeper serves all elections
		What: keeperLate, Member: e.self.Name,
		Evidence: fmt.Sprintf("the keeper ended the leadership of %s %v after its deadline; the release has that much less time", e.leadershipOf(term), words.Round(late)),
		Advice:   "The keeper or its host was stopped or had no CPU: give the host more, or use a longer --release-budget.",
	})
}

// tellMajority keeps the finding up to date that no leader can be elected for
// want of voters: it is over once there is a leader.
func (e *election) tellMajority(now seniority.Now, st *seniority.Status) {
	if st.Leader != "" || !e.cfg.quorum() {
		e.findings.ClearShared(noMajority, e.self.Name)
		e.lacking = 0
		return
	}
	why := voters.TooFew(len(e.cfg.Voters), len(e.members.Missing), st.Answers)
	switch {
	case why == "" || !e.member.view.Settled:
		e.lacking = 0
		return
	case e.lacking == 0:
		e.lacking = now.Boot
	}
	if now.Boot < e.lacking+majorityPatience || e.findings.Shares(noMajority) {
		return
	}
	advice := "Start the voters that are not there, or let them reach this member: " + words.Some(e.members.Missing) + "."
	if len(e.members.Missing) == 0 { // they are there as far as gossip knows
		advice = reachAdvice(e.silentVoters(now))
	}
	e.findings.Share(now.Boot, 0, Finding{What: noMajority, Member: e.self.Name, Evidence: why, Degrades: true, Advice: advice})
}

// silentVoters are the other voters that have confirmed nothing of what this member has
// asked in the time for which a leadership lasts without a renewal. A confirm of the last
// renewal that counted is as old as that but for its round trip, for which half the time
// between two renewals is allowed.
func (e *election) silentVoters(now seniority.Now) []string {
	var silent []string
	t := &e.cfg.timing
	for _, name := range e.members.Voters() {
		if name == e.self.Name {
			continue
		}
		if at, ok := e.track.ConfirmedAt(name); !ok || now.Boot-at >= t.Lease-t.ReleaseBudget-t.Renewal/2 {
			silent = append(silent, name)
		}
	}
	return append(silent, e.members.Missing...)
}

// checkVoter notes that no entry of the voters is this member.
func (e *election) checkVoter() {
	if e.pub.votes() || e.cfg.role == seniority.Observer {
		return
	}
	e.findings.Share(0, 0, Finding{ // all elections have the same voters
		What: notAVoter, Member: e.self.Name,
		Evidence: fmt.Sprintf("no entry of the voters (%s) is this member, whose address is %s: it observes, and neither votes nor leads",
			strings.Join(e.cfg.Voters, ", "), e.member.agent.addr),
		Advice: "If it should vote, add it to --voters on every member, or give it the --advertise-addr that stands there; if not, give it --role observer.",
	})
}
