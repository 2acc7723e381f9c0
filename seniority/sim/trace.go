package sim

import (
	"fmt"
	"strings"
	"time"

	"doyen/seniority"
)

// Coverage counts what the runs made the protocol do: a transition that no
// run ever took is not tested.
type Coverage map[string]int

func (c *Coverage) add(key string) {
	if *c == nil {
		*c = Coverage{}
	}
	(*c)[key]++
}

func (c *Coverage) note(n seniority.Note) {
	key := noteNames[n.Kind]
	if n.Reason != seniority.None {
		key += "/" + n.Reason.String()
	}
	c.add(key)
}

func (c *Coverage) sent(m *seniority.Message) {
	key := "sent/" + m.Kind.String()
	switch m.Kind {
	case seniority.Claim:
		key += "/" + m.Stand.String()
	case seniority.Release:
		key += "/" + m.Reason.String()
	}
	c.add(key)
}

var noteNames = map[seniority.NoteKind]string{
	seniority.Claimed: "claimed", seniority.Confirmed: "confirmed", seniority.Objected: "objected",
	seniority.Promised: "promised", seniority.RefusedClaim: "refused", seniority.Ignored: "ignored",
	seniority.Won: "won", seniority.Lost: "lost", seniority.LeaderChanged: "leader",
	seniority.OtherLeader: "other-leader", seniority.Numbered: "numbered", seniority.Awoke: "awoke",
	seniority.OtherYielded: "other-yielded", seniority.Stayed: "stayed", seniority.Unanswered: "unanswered",
}

// traceStep writes one step of a core into the transcript.
func (w *World) traceStep(h *host, in seniority.Input, out *seniority.Output) {
	if w.opt.Trace == nil {
		return
	}
	switch in.Kind {
	case seniority.Receive:
		w.trace("%s < %s", h.name, message(&in.Message))
	case seniority.View:
		var names []string
		for _, m := range h.core.Order() {
			names = append(names, fmt.Sprintf("%s/%d.%d%s", m.Name, m.Join.Group%100000000, m.Join.Number, map[bool]string{false: "!"}[m.Eligible]))
		}
		w.trace("%s view %s settled=%v", h.name, strings.Join(names, " "), in.Settled)
	case seniority.StepDown, seniority.Released, seniority.Fired, seniority.Elect, seniority.Health:
		w.trace("%s input %d term %d %v", h.name, in.Kind, in.Term, in.Reason)
	case seniority.StandAside:
		w.trace("%s stands aside for %v", h.name, in.Aside)
	}
	for i := range out.Messages {
		w.trace("%s     > %s", h.name, message(&out.Messages[i]))
	}
	for _, n := range out.Notes {
		w.trace("%s     * %s %s %d %v", h.name, noteNames[n.Kind], n.Peer, n.Term, n.Reason)
	}
}

func message(m *seniority.Message) string {
	s := fmt.Sprintf("%v %s->%s term %d seq %d", m.Kind, m.From, m.To, m.Term, m.Seq)
	switch m.Kind {
	case seniority.Claim:
		s += " " + m.Stand.String()
		if m.Given.Number != 0 {
			s += fmt.Sprintf(" gives %d", m.Given.Number)
		}
	case seniority.Object, seniority.Release:
		s += fmt.Sprintf(" %v leader %q known %d held %v", m.Reason, m.Leader, m.Known, m.Held)
	}
	if m.Gossiped {
		s += " gossiped"
	}
	return s
}

func describe(s *seniority.Status, boot time.Duration) string {
	return fmt.Sprintf("phase %d leader %q term %d eligible %v join %v releasing %d aside %v electing %v",
		s.Phase, s.Leader, s.Term, s.Eligible, s.Join, s.Releasing, max(s.AsideUntil-boot, 0), s.Electing)
}
