package diagnosis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"doyen/agent"
)

// settings reports members that were not told the same.
func settings(q *inquiry) {
	q.same("rule-differs", "give every member the same --rule", func(s *agent.State) string { return s.Rule })
	q.same("mode-differs", "give every member the same --voters, or none", func(s *agent.State) string { return s.Mode })
	q.same("voters-differ", "finish the rolling restart, one voter's change at a time; else give every member the same --voters",
		func(s *agent.State) string {
			if s.Mode != "quorum" {
				return ""
			}
			return strings.Join(entries(s), ",")
		})
}

// same finds fault unless what value takes from each state is one; "" counts
// as not said. The finding is about the first member that is not of the most.
func (q *inquiry) same(what, advice string, value func(*agent.State) string) {
	evidence, odd := q.tally(value)
	if odd != "" {
		q.find(what, odd, evidence, advice)
	}
}

// tally groups the members that answered by a value: "x: a and b; y: c". odd
// is the first member outside the largest group, or "" if there is one group.
func (q *inquiry) tally(value func(*agent.State) string) (evidence, odd string) {
	groups := map[string][]string{}
	for _, name := range q.answered {
		if v := value(q.answerOf(name)); v != "" {
			groups[v] = append(groups[v], name)
		}
	}
	if len(groups) < 2 {
		return "", ""
	}
	values := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		if d := len(groups[b]) - len(groups[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = Printable(v, MaxText) + ": " + list(groups[v])
	}
	return strings.Join(parts[:min(len(parts), 8)], "; "), groups[values[1]][0]
}

// voters reports, in quorum mode, voters that are no members at all, and a number
// of them of which one is wasted.
func voters(q *inquiry) {
	if !q.quorum() {
		return
	}
	answered, missing, needed := q.majority()
	for _, v := range missing {
		if q.member(v) != "" {
			continue // absences reports it
		}
		q.find("voter-missing", v, fmt.Sprintf("it is in --voters, and no member says that it is this entry; %d of %s answered, %d must confirm a leader",
			len(answered), plural(len(entries(&q.given.Asker)), "voter"), needed),
			"start it, or if it is gone for good replace it: the same entry on a new machine")
	}
	if w := agent.WastedVoters(len(entries(&q.given.Asker))); w != "" {
		q.note("voters-wasted", "", w, "add a voter, which may be a small machine that votes and never leads (--role witness)")
	}
}

// successors reports a leader that no member could follow although others were
// meant to. A member that is alone by design is none of this.
func successors(q *inquiry) {
	if len(q.leading) != 1 {
		return
	}
	meant, able := 0, 0
	for _, name := range q.answered {
		if name == q.leading[0] || q.answerOf(name).Role != "candidate" {
			continue
		}
		meant++
		if q.mayLead(name) {
			able++
		}
	}
	if meant > 0 && able == 0 {
		q.find("no-successor", q.leading[0], "no other member that answered may lead: every candidate is sick or stands aside",
			"mend what keeps them from leading (a failed hook or health check; a step-down, which agent resume ends); GET /ready says more")
	}
}

// splitPossible is the finding about two leaders that there may be.
const splitPossible = "split-possible"

// splits says when two leaders are possible: in available mode each part of a
// parted network elects one. While members are out of reach that is the news;
// else it is one line.
func splits(q *inquiry) {
	if q.quorum() {
		return
	}
	out := slices.Clone(q.silent)
	for _, m := range q.given.Members {
		if _, asked := q.given.Replies[m.Name]; !asked && !m.Alive {
			out = append(out, m.Name)
		}
	}
	out = slices.DeleteFunc(out, q.hasDied)
	able := 0
	for _, name := range q.answered {
		if q.answerOf(name).Role == "candidate" {
			able++
		}
	}
	switch {
	case len(out) > 0 && len(q.leading) == 1:
		leads := Printable(q.leading[0], MaxText) + " leads"
		if len(q.answered) == 1 {
			leads += " alone"
		}
		q.find(splitPossible, q.leading[0], fmt.Sprintf("%s; %s %s out of reach and may have a leader of their own", leads, list(out), verb(len(out), "is", "are")),
			"see on those hosts who leads there; "+checkNetwork+". Where two leaders at once do harm, use --voters")
	case len(out) > 0:
		q.find(splitPossible, out[0], fmt.Sprintf("%s %s out of reach and may have a leader of their own", list(out), verb(len(out), "is", "are")),
			"see on those hosts who leads there; "+checkNetwork)
	case able > 1:
		q.note(splitPossible, "", "not now; in available mode each side of a cut network elects a leader, which --voters prevents", "")
	}
}

// versions tells of a rolling upgrade.
func versions(q *inquiry) {
	if evidence, odd := q.tally(func(s *agent.State) string { return s.Version }); odd != "" {
		q.note("versions-differ", odd, evidence, "nothing is wrong while an upgrade rolls; finish it")
	}
}
