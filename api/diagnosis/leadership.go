package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	"doyen/agent"
)

// Advice that several findings give.
const (
	askAgain     = "ask again in a second"
	checkNetwork = "check that the gossip port is open between them in both directions, TCP and UDP"
)

// leadership reports what is wrong with who leads: two do, members disagree,
// no member does, or the leader is known by hearsay only.
func leadership(q *inquiry) {
	switch {
	case len(q.leading) > 1:
		q.eachLeader()
	case q.disagree():
		q.dissent()
	case len(q.follow) == 0:
		why, advice := q.whyNone()
		q.find("no-leader", "", why, advice)
	default:
		leader := q.favourite()
		if _, asked := q.given.Replies[leader]; !asked {
			q.find("leader-unseen", leader, q.followers(leader)+", but it is no member that could be asked",
				askAgain+"; if it stays, "+checkNetwork)
		}
	}
}

// eachLeader tells for each leader who follows it and which members it sees, which
// shows how the group is split.
func (q *inquiry) eachLeader() {
	advice := "let the groups reach each other: " + checkNetwork + "; one leader is left soon after they meet. Where two leaders do harm, use --voters"
	if q.quorum() {
		advice = "stop one of them: this cannot happen while --voters is the same on every member and clocks run; " +
			"check both, and whether a host was paused with its clock"
	}
	if len(q.yielding) > 0 || len(q.electing()) > 0 {
		advice = "a hand-over or an election is under way and the answers may be from before and after it: " + askAgain + "; if it stays, " + advice
	}
	for _, name := range q.leading {
		s := q.answerOf(name)
		evidence, what := fmt.Sprintf("%s says that it leads, in term %d; %s; its members are %s",
			Printable(name, MaxText), s.Term, q.followers(name), list(s.Members)), advice
		if other := q.unheard(name); other != "" {
			evidence += fmt.Sprintf("; it knows %s by way of others, and the two do not hear each other", Printable(other, MaxText))
			what = checkBetween(name, other) + ": two leaders that hear each other settle within a second which of them stays"
		}
		q.find(TwoLeaders, name, evidence, what)
	}
}

// unheard is another leader that a leader has among its members, and the other
// way round: gossip connects them, over others, but no message passes between
// them, or one would have yielded. "" if there is none, or it may be about to.
func (q *inquiry) unheard(name string) string {
	if q.quorum() || len(q.yielding) > 0 || len(q.electing()) > 0 {
		return ""
	}
	for _, other := range q.leading {
		if other != name && slices.Contains(q.answerOf(name).Members, other) && slices.Contains(q.answerOf(other).Members, name) {
			return other
		}
	}
	return ""
}

// followers says who names a leader.
func (q *inquiry) followers(leader string) string {
	names := slices.DeleteFunc(slices.Clone(q.follow[leader]), func(n string) bool { return n == leader })
	if len(names) == 0 {
		return "no other member that answered names it"
	}
	return list(names) + " " + verb(len(names), "names", "name") + " it"
}

// dissent reports every member that differs from what most say.
func (q *inquiry) dissent() {
	most := q.favourite()
	advice := func(name string) string {
		return "a leader that has just changed reaches every member within a second: " + askAgain +
			"; if it stays, " + checkBetween(name, q.apartFrom(name, most))
	}
	agreeing := fmt.Sprintf("%s %s %s", list(q.follow[most]), verb(len(q.follow[most]), "names", "name"), Printable(most, MaxText))
	for _, name := range q.answered {
		s := q.answerOf(name)
		switch {
		case slices.Contains(q.follow[most], name):
			continue
		case name == most:
			q.find("disagreement", name, fmt.Sprintf("%s, which itself says that it does not lead (%s)", agreeing, doing(s.Phase)), advice(name))
		case slices.Contains(q.yielding, name):
			q.find("disagreement", name, agreeing+"; "+Printable(name, MaxText)+" is still handing over", advice(name))
		case slices.Contains(q.lost, name):
			q.find("disagreement", name, fmt.Sprintf("%s; %s names no leader (%s)", agreeing, Printable(name, MaxText), doing(s.Phase)), advice(name))
		default:
			q.find("disagreement", name, fmt.Sprintf("%s; %s names %s, in term %d", agreeing,
				Printable(name, MaxText), Printable(*s.Leader, MaxText), s.Term), advice(name))
		}
	}
}

// apartFrom is the member that one with another leader cannot reach, as far as
// the answers tell: one that it does not see, or that does not see it, and which
// leads or follows the leader; else the leader itself.
func (q *inquiry) apartFrom(name, leader string) string {
	sees := q.answerOf(name).Members
	for _, other := range append([]string{leader}, q.follow[leader]...) {
		s := q.given.Replies[other].State
		if !slices.Contains(sees, other) || s != nil && !slices.Contains(s.Members, name) {
			return other
		}
	}
	return leader
}

// checkBetween is the advice to look at the network between two members.
func checkBetween(a, b string) string {
	if a == b {
		return checkNetwork
	}
	return "check that the gossip port is open between " + Printable(a, MaxText) + " and " + Printable(b, MaxText) + " in both directions, TCP and UDP"
}

// whyNone says why there is no leader, by the first cause that fits, and what
// to do.
func (q *inquiry) whyNone() (why, advice string) {
	voting, missing, needed := q.majority()
	switch electing := q.electing(); {
	case len(q.answered) == 0:
		return "no member answered", "look at the agent's log"
	case len(q.yielding) > 0:
		return list(q.yielding) + " " + verb(len(q.yielding), "is", "are") + " handing over: the release is under way",
			"wait: it ends with the hook's release, after --hook-timeout at the latest"
	case q.quorum() && len(voting) < needed:
		return fmt.Sprintf("%d of %s answered (%s) and %d must confirm a leader",
				len(voting), plural(len(entries(&q.given.Asker)), "voter"), list(voting), needed),
			"start " + list(missing) + ", or let them reach this member"
	case !slices.ContainsFunc(q.answered, q.mayLead):
		return "no member that answered may lead: " + q.whyNot(),
			"start a member with --role candidate, or mend what keeps these from leading (a failed hook, a failed health check, a step-down)"
	case len(electing) > 0:
		return "an election is under way; " + list(electing) + " " + verb(len(electing), "stands", "stand"),
			askAgain + "; if it stays, GET /events shows who objects and why"
	case !q.quorum() && len(q.answered)+len(q.silent) == 1:
		return "this member has met no other, and waits before it leads alone (--lone-wait)",
			"start the other members, check --seeds, or wait"
	}
	return "no member leads, and no election is under way: the members have just started, or wait for a promise to the last leader to run out",
		askAgain + "; if it stays, POST /election calls an election and the logs say why none was held"
}

// electing returns the members that claim, or if none does those that see an
// election and may claim; none without an election.
func (q *inquiry) electing() []string {
	var claiming, watching []string
	for _, name := range q.answered {
		switch s := q.answerOf(name); {
		case s.Phase == "claiming":
			claiming = append(claiming, name)
		case s.Electing:
			watching = append(watching, name)
		}
	}
	if claiming != nil {
		return claiming
	}
	return slices.DeleteFunc(watching, func(n string) bool { return !q.mayLead(n) })
}

// majority returns, in quorum mode, the voters that answered, those that did
// not, and how many must confirm.
func (q *inquiry) majority() (answered, missing []string, needed int) {
	for _, v := range entries(&q.given.Asker) {
		if r, ok := q.given.Replies[q.member(v)]; ok && r.State != nil {
			answered = append(answered, v)
		} else {
			missing = append(missing, v)
		}
	}
	return answered, missing, len(entries(&q.given.Asker))/2 + 1
}

// entries are the entries of --voters that a member was given. Members of version
// 0.1.0 say them in the place of the names.
func entries(s *agent.State) []string {
	if s.VoterEntries == nil {
		return s.Voters
	}
	return s.VoterEntries
}

// member returns the name of the member that an entry of --voters stands for,
// or "" if there is none. Each member has resolved the entries and says which
// one it is: an entry may be written without the port, or as another name.
func (q *inquiry) member(voter string) string {
	for _, m := range q.given.Members {
		if m.Voter == voter {
			return m.Name
		}
	}
	return ""
}

// mayLead reports whether a member that answered could be elected.
func (q *inquiry) mayLead(name string) bool {
	s := q.answerOf(name)
	return s.Role == "candidate" && s.Eligible
}

// whyNot says for each member that answered what keeps it from leading.
func (q *inquiry) whyNot() string {
	var reasons []string
	for _, name := range q.answered {
		switch s := q.answerOf(name); {
		case s.Role == "candidate" && q.quorum() && !slices.ContainsFunc(q.given.Members, func(m agent.MemberInfo) bool { return m.Name == name && m.Voter != "" }):
			reasons = append(reasons, Printable(name, MaxText)+" has no vote")
		case s.Role == "candidate":
			reasons = append(reasons, Printable(name, MaxText)+" stands aside")
		default:
			reasons = append(reasons, Printable(name, MaxText)+" has the role "+Printable(s.Role, MaxText))
		}
	}
	return strings.Join(reasons[:min(len(reasons), 8)], ", ")
}

// doing turns a phase into words.
func doing(phase string) string {
	switch phase {
	case "following", "":
		return "it follows no leader"
	case "waiting":
		return "it waits for its turn in an election"
	case "claiming":
		return "it claims the leadership"
	case "holding":
		return "it cannot vouch for its leadership now"
	case "yielding":
		return "it is handing over"
	}
	return "its phase is " + Printable(phase, MaxText)
}
