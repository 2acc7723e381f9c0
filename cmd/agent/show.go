package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"doyen/agent"
	"doyen/api/diagnosis"
)

// diagAnswer is the answer of GET /diag.
type diagAnswer struct {
	State        agent.State            `json:"state"`
	MemberStates map[string]memberState `json:"member_states"`
	Verdict      diagnosis.Verdict      `json:"verdict"`
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

// table writes rows in columns; every cell is cleaned, an empty one is a dash. A row may
// end early: its last cell, which may be a sentence, widens no column. With a row that
// ends early text/tabwriter would begin the columns anew.
func table(w io.Writer, rows ...[]string) {
	var widths []int
	all := make([][]string, len(rows))
	for r, row := range rows {
		for i, cell := range row {
			cell = cmp.Or(clean(cell), "-")
			all[r] = append(all[r], cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(row)-1 {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	for _, row := range all {
		for i, cell := range row {
			if i < len(row)-1 {
				cell += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
}

func showMembers(w io.Writer, members []agent.MemberInfo) {
	rows := [][]string{{"RANK", "NAME", "ADDR", "ID", "ROLE", "STARTED", "STATE"}}
	for _, m := range members {
		state := "alive"
		switch {
		case m.Died:
			state = "dead"
		case !m.Alive:
			state = "silent"
		case m.Leads:
			state = "leads"
		}
		if m.Alive && !m.Eligible && (m.Unfit != "" || m.Role == agent.DefaultRole) { // the others' role says so
			state += ", may not lead: " + cmp.Or(m.Unfit, "not eligible")
		}
		rows = append(rows, []string{fmt.Sprint(m.Rank), m.Name, m.Addr, fmt.Sprint(m.ID), m.Role, when(fromUnix(m.StartTime)), state})
	}
	table(w, rows...)
}

// showElections lists the elections, the group's own first.
func showElections(w io.Writer, elections map[string]agent.ElectionInfo) {
	names := slices.Sorted(maps.Keys(elections))
	if i := slices.Index(names, agent.GroupElection); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, agent.GroupElection)
	}
	rows := [][]string{{"ELECTION", "LEADER", "TERM", "SINCE", "PLACED", "CANDIDATES", "FLOATING HERE"}}
	for _, name := range names {
		e := elections[name]
		row := []string{name, "none", fmt.Sprint(e.Term), "", "", strings.Join(e.Candidates, " "), addressesOf(e.Addresses, false)}
		if e.Leader != nil {
			row[1] = *e.Leader
		}
		if e.Since != nil {
			row[3] = when(*e.Since)
		}
		if e.Placed != nil {
			row[4] = *e.Placed
		}
		rows = append(rows, row)
	}
	table(w, rows...)
}

// showState shows a member's state in a further election or, if that is "", in the
// group's own.
func showState(w io.Writer, s agent.State, further string) {
	rows := [][]string{
		{"name", s.Name},
		{"election", further},
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
		{"floating", addressesOf(s.Addresses, true)},
		{"hook", hookOf(s.Hook)},
		{"command", commandOf(s.Command)},
		{"watchdog", watchdogOf(s.Watchdog)},
		{"health", healthOf(s.Health)},
		{"joined", strings.Join(s.JoinedSeeds, " ")},
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
	// What this member does not have is left out.
	optional := []string{"election", "floating", "hook", "command", "watchdog", "joined"}
	rows = slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" && slices.Contains(optional, r[0]) })
	table(w, rows...)
	showFindings(w, s.Findings)
}

// showDiag shows a diagnosis of a further election or, if that is "", of the group.
func showDiag(w io.Writer, d diagAnswer, further string) {
	if further == "" {
		showMembersOfDiag(w, d)
	} else {
		showElectionOfDiag(w, d, further)
	}
	fmt.Fprintf(w, "\n%s\n", verdictOf(d))
	showFindings(w, d.Verdict.Findings)
}

// showElectionOfDiag lists what each member says of a further election.
func showElectionOfDiag(w io.Writer, d diagAnswer, election string) {
	rows := [][]string{{"MEMBER", "SAYS LEADER", "TERM", "CANDIDATE", "ADDRESS"}}
	for _, name := range slices.Sorted(maps.Keys(d.MemberStates)) {
		s := d.MemberStates[name]
		e, known := s.Elections[election]
		switch {
		case s.Error != "":
			rows = append(rows, []string{name, "no answer: " + s.Error})
			continue
		case !known:
			rows = append(rows, []string{name, "does not know it"})
			continue
		}
		leader := "none"
		if e.Leader != nil {
			leader = *e.Leader
		}
		if e.Self {
			leader += " (itself)"
		}
		rows = append(rows, []string{name, leader, fmt.Sprint(e.Term), yesNo(slices.Contains(e.Candidates, name)), addressesOf(e.Addresses, false)})
	}
	table(w, rows...)
}

func showMembersOfDiag(w io.Writer, d diagAnswer) {
	head := []string{"MEMBER", "SAYS LEADER", "TERM", "ROLE", "PHASE", "SEES"}
	floating, hooks := false, false
	for _, s := range d.MemberStates {
		floating, hooks = floating || len(s.Addresses) > 0, hooks || s.Hook != nil
	}
	if floating {
		head = append(head, "ADDRESS")
	}
	if hooks {
		head = append(head, "HOOK")
	}
	rows := [][]string{head}
	for _, name := range slices.Sorted(maps.Keys(d.MemberStates)) {
		s := d.MemberStates[name]
		if s.Error != "" {
			rows = append(rows, []string{name, "no answer: " + s.Error})
			continue
		}
		row := []string{name, leaderOf(s.State), fmt.Sprint(s.Term), s.Role, s.Phase, fmt.Sprintf("%d members", len(s.Members))}
		if floating {
			row = append(row, cmp.Or(addressesOf(s.Addresses, false), "-"))
		}
		if hooks {
			row = append(row, cmp.Or(hookOf(s.Hook), "-"))
		}
		rows = append(rows, row)
	}
	table(w, rows...)
}

// verdictOf is the verdict as a sentence.
func verdictOf(d diagAnswer) string {
	leader := "no member"
	if d.Verdict.Leader != nil {
		leader = clean(*d.Verdict.Leader)
	}
	switch status := d.Verdict.Status; status {
	case "agreed":
		if len(d.MemberStates) == 1 {
			return fmt.Sprintf("agreed: %s leads; it is the only member.", leader)
		}
		return fmt.Sprintf("agreed: %s leads, and every member says so.", leader)
	case "degraded":
		for _, f := range d.Verdict.Findings {
			if f.What == "split-possible" && f.Degrades {
				return "degraded: " + clean(f.Evidence) + "."
			}
		}
		return fmt.Sprintf("degraded: %s leads, but something needs a hand.", leader)
	case "no-leader":
		return "no-leader: no member leads."
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
		if f.Election != "" {
			line += ", election " + f.Election
		}
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
			millis(float64(l.DetectionMS)), millis(float64(l.ConfirmMS)), millis(float64(l.HookMS))})
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
		showFailover(w, ms(r.LeastFailoverMS), ms(r.UsualFailoverMS), ms(r.WorstFailoverMS), r.Hook)
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(w, "  %s\n", clean(reason))
	}
}

// showFailover prints what to expect of a failover, with a hook or without.
func showFailover(w io.Writer, least, usual, worst time.Duration, hook bool) {
	fmt.Fprintln(w, "  the agent is stopped or killed: another leads after a round trip or two")
	fmt.Fprintf(w, "  the leader's host dies or is cut off: after %v to %v, at worst %v\n", least, usual, worst)
	if hook {
		fmt.Fprintln(w, "  the hook's own time comes on top")
	}
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
	var others []string
	for _, o := range []struct {
		what  string
		names []string
	}{{"still leads ", r.StillLeads}, {"may come to lead ", r.MayLead}, {"still stands aside in ", r.StillAside}} {
		if len(o.names) > 0 {
			others = append(others, o.what+clean(strings.Join(o.names, ", ")))
		}
	}
	if len(others) > 0 {
		fmt.Fprintf(w, "this was about the group's own election alone: this member %s; repeat the command with --election NAME for each\n", strings.Join(others, " and "))
	}
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

// addressesOf says which floating addresses a member holds or, where it tells of
// all, also which it does not, and since when.
func addressesOf(list []agent.AddressState, all bool) string {
	var parts []string
	for _, a := range list {
		name := fmt.Sprintf("%s on %s", a.Address, a.Interface)
		switch {
		case all && a.Held:
			parts = append(parts, "holds "+name+" since "+when(a.Since))
		case all:
			parts = append(parts, "does not hold "+name)
		case a.Held:
			parts = append(parts, "holds "+name)
		}
	}
	return strings.Join(parts, ", ")
}

// hookOf says how the last run of the hook went; "" if there was none.
func hookOf(h *agent.HookRun) string {
	switch {
	case h == nil:
		return ""
	case h.Running:
		return h.Event + " running"
	case h.Overtaken:
		return h.Event + ": overtaken by something newer"
	case h.Error != "":
		return h.Event + ": " + h.Error
	}
	return fmt.Sprintf("%s: exit %d after %s", h.Event, h.Exit, millis(h.DurationMS))
}

// commandOf is how the command goes.
func commandOf(c *agent.CommandState) string {
	switch {
	case c == nil:
		return ""
	case c.PID != nil:
		return fmt.Sprintf("%s runs as process %d since %s", c.Argv0, *c.PID, when(*c.Since))
	case c.LastExit == nil:
		return c.Argv0 + " has not run yet"
	case c.LastExit.Error != "" && !c.LastExit.Stopped:
		return c.Argv0 + " ended: " + c.LastExit.Error
	}
	return c.Argv0 + " ended " + when(c.LastExit.At)
}

// watchdogOf is how the watchdog of the host goes.
func watchdogOf(w *agent.WatchdogState) string {
	switch {
	case w == nil:
		return ""
	case w.Error != "":
		return w.Error
	case w.Armed:
		return fmt.Sprintf("%s is armed: without a keeper the host restarts within %s", w.Device, millis(float64(w.TimeoutMS)))
	}
	return w.Device + " is not armed"
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

// when is a time in UTC, the one zone of all hosts.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }
