package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"doyen/agent"
	"doyen/api"
)

// diagnosis is the answer of GET /diag.
type diagnosis struct {
	State        agent.State            `json:"state"`
	MemberStates map[string]memberState `json:"member_states"`
	Verdict      api.Verdict            `json:"verdict"`
}

// memberState is a member's state, or why it gave none.
type memberState struct {
	agent.State
	Error string `json:"error"`
}

// clean makes a string from the network safe for a terminal: what cannot be
// printed, escape sequences above all, is shown as a question mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// table writes rows in columns; every cell is cleaned, an empty one is a dash.
func table(w io.Writer, rows ...[]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cmp.Or(clean(cell), "-")
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
}

func showMembers(w io.Writer, members []agent.MemberInfo) {
	rows := [][]string{{"RANK", "NAME", "ADDR", "ID", "ROLE", "STARTED", "STATE"}}
	for _, m := range members {
		state := "alive"
		switch {
		case !m.Alive:
			state = "silent"
		case !m.Eligible:
			state = "alive, not eligible"
		}
		rows = append(rows, []string{fmt.Sprint(m.Rank), m.Name, m.Addr, fmt.Sprint(m.ID), m.Role, when(fromUnix(m.StartTime)), state})
	}
	table(w, rows...)
}

func showState(w io.Writer, s agent.State) {
	rows := [][]string{
		{"name", s.Name},
		{"addr", s.Addr},
		{"leader", leaderOf(s)},
		{"term", fmt.Sprint(s.Term)},
		{"phase", s.Phase},
		{"reason", s.Reason},
		{"mode", s.Mode},
		{"rule", s.Rule},
		{"role", s.Role},
		{"eligible", yesNo(s.Eligible)},
		{"cluster", s.Cluster},
		{"members", strings.Join(s.Members, " ")},
		{"hook", hookOf(s.Hook)},
		{"health", healthOf(s.Health)},
		{"started", when(fromUnix(s.StartTime))},
		{"pid", fmt.Sprint(s.PID)},
		{"keeper", keeperOf(s)},
		{"version", s.Version},
	}
	if s.MaintenanceUntil != nil {
		rows = append(rows, []string{"stands aside", "until " + when(*s.MaintenanceUntil)})
	}
	if len(s.Voters) > 0 {
		rows = append(rows, []string{"voters", strings.Join(s.Voters, " ")})
	}
	if s.IsLeader {
		rows = append(rows, []string{"lease left", fmt.Sprintf("%d ms", s.LeaseMS)})
	}
	table(w, rows...)
	showFindings(w, s.Findings)
}

func showDiag(w io.Writer, d diagnosis) {
	rows := [][]string{{"MEMBER", "SAYS LEADER", "TERM", "ROLE", "PHASE", "SEES", "HOOK"}}
	for _, name := range slices.Sorted(maps.Keys(d.MemberStates)) {
		s := d.MemberStates[name]
		if s.Error != "" {
			rows = append(rows, []string{name, "no answer: " + s.Error})
			continue
		}
		rows = append(rows, []string{name, leaderOf(s.State), fmt.Sprint(s.Term), s.Role, s.Phase,
			fmt.Sprintf("%d members", len(s.Members)), hookOf(s.Hook)})
	}
	table(w, rows...)
	fmt.Fprintf(w, "\n%s\n", verdictOf(d))
	showFindings(w, d.Verdict.Findings)
}

// verdictOf is the verdict as a sentence.
func verdictOf(d diagnosis) string {
	leader := "nobody"
	if d.Verdict.Leader != nil {
		leader = clean(*d.Verdict.Leader)
	}
	switch status := d.Verdict.Status; status {
	case "agreed":
		return fmt.Sprintf("agreed: %s leads, and every member says so.", leader)
	case "degraded":
		return fmt.Sprintf("degraded: %s leads, but something needs a hand.", leader)
	case "no-leader":
		return "no-leader: nobody leads."
	case "disagreed":
		return "disagreed: the members name different leaders."
	case "two-leaders":
		return "two-leaders: more than one member says that it leads."
	default:
		return clean(status)
	}
}

func showFindings(w io.Writer, findings []agent.Finding) {
	for _, f := range findings {
		line := strings.Trim(f.What+" "+f.Member, " ")
		fmt.Fprintf(w, "  %s: %s\n", clean(line), clean(f.Evidence))
		if f.Advice != "" {
			fmt.Fprintf(w, "    %s\n", clean(f.Advice))
		}
	}
}

func showHistory(w io.Writer, history []agent.Leadership) {
	rows := [][]string{{"TERM", "LEADER", "FROM", "TO", "BEGAN", "ENDED", "DETECTION", "CONFIRM", "HOOK"}}
	for _, l := range history {
		to := "now"
		if l.To != nil {
			to = when(*l.To)
		}
		rows = append(rows, []string{fmt.Sprint(l.Term), l.Leader, when(l.From), to, l.Reason, l.EndReason,
			millis(l.DetectionMS), millis(l.ConfirmMS), millis(l.HookMS)})
	}
	table(w, rows...)
}

func showReady(w io.Writer, r agent.Readiness) {
	verdict := "not ready"
	if r.Ready {
		verdict = "ready"
	}
	if r.WouldLead != nil {
		verdict += fmt.Sprintf(": %s would lead", clean(*r.WouldLead))
	}
	fmt.Fprintln(w, verdict)
	if r.WouldLead != nil {
		ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
		showFailover(w, ms(r.LeastFailoverMS), ms(r.UsualFailoverMS), ms(r.WorstFailoverMS))
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(w, "  %s\n", clean(reason))
	}
}

// showFailover prints what to expect of a failover.
func showFailover(w io.Writer, least, usual, worst time.Duration) {
	fmt.Fprintln(w, "  the agent is stopped or killed: another leads after a round trip or two")
	fmt.Fprintf(w, "  the leader's host dies or is cut off: after %v to %v, at worst %v\n", least, usual, worst)
	fmt.Fprintln(w, "  the hook's own time comes on top")
}

func showResult(w io.Writer, r agent.Result) {
	note := cmp.Or(clean(r.Note), "done")
	if r.Leader != "" {
		note += fmt.Sprintf("; %s leads (term %d)", clean(r.Leader), r.Term)
	}
	if r.Until != nil {
		note += "; no candidate until " + when(*r.Until)
	}
	fmt.Fprintln(w, note)
}

// leaderOf is the leader a member names, marked if it is the member itself.
func leaderOf(s agent.State) string {
	switch {
	case s.Leader == nil && s.Electing:
		return "none (electing)"
	case s.Leader == nil:
		return "none"
	case s.IsLeader:
		return *s.Leader + " (itself)"
	}
	return *s.Leader
}

func keeperOf(s agent.State) string {
	if s.KeeperPID == nil {
		return "none"
	}
	return fmt.Sprintf("pid %d", *s.KeeperPID)
}

// hookOf says how the last run of the hook went.
func hookOf(h *agent.HookRun) string {
	switch {
	case h == nil:
		return "none"
	case h.Running:
		return h.Event + " running"
	case h.Error != "":
		return h.Event + ": " + h.Error
	}
	return fmt.Sprintf("%s: exit %d after %s", h.Event, h.Exit, millis(h.DurationMS))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// healthOf says how the health check goes.
func healthOf(h *agent.Health) string {
	if h == nil {
		return ""
	}
	verdict := "sick"
	if h.Healthy {
		verdict = "healthy"
	}
	last := "success"
	if h.Error != "" {
		last = h.Error
	}
	return fmt.Sprintf("%s: %s, %d in a row", verdict, last, h.InARow)
}

func millis(ms float64) string {
	if ms == 0 {
		return ""
	}
	return (time.Duration(ms*1000) * time.Microsecond).Round(10 * time.Microsecond).String()
}

func fromUnix(seconds float64) time.Time {
	return time.UnixMicro(int64(seconds * 1e6))
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
