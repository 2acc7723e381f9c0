package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"doyen/seniority"
)

// MaxAside is the longest time that a member can be told to stand aside for.
const MaxAside = 30 * 24 * time.Hour

// CheckAside says what is wrong with a time to stand aside for. Its error
// completes a sentence that begins with the name of the field.
func CheckAside(d time.Duration) error {
	switch {
	case d <= 0:
		return fmt.Errorf("%v is not longer than zero", d)
	case d > MaxAside:
		return fmt.Errorf("%v is longer than 30 days", d)
	}
	return nil
}

// StandAside leaves the lead to others for so long: a leader hands over, and
// returns once another may lead; and this member is no candidate until the time
// is over or Resume is called, across restarts too if there is a state
// directory. It still leads if no other may. The error wraps ErrRefused, and
// nothing has changed, if it leads and no other may. It wraps ErrNotStored if all is done and
// the state directory does not keep it. Before Run has joined the group it waits for that,
// until ctx ends.
func (e *Election) StandAside(ctx context.Context, d time.Duration) (Result, error) {
	if err := CheckAside(d); err != nil {
		return Result{}, fmt.Errorf("standing aside: %w", err)
	}
	r, err := e.request(ctx, request{kind: seniority.StandAside, aside: d})
	if err == nil && !e.candidateLeft(ctx) {
		if _, err := e.request(ctx, request{kind: seniority.StandAside}); err != nil {
			return Result{}, err
		}
		return Result{}, fmt.Errorf("%w: no other candidate is left, so this member is one again", ErrRefused)
	}
	if err == nil {
		e.tellOthers(&r)
	}
	return e.keepAside(r, err)
}

// tellOthers adds to the result of standing aside in the group's own election which
// further elections this member leads or is a candidate of: each has a maintenance of its
// own, and maintenance of a machine is about all of them.
func (e *Election) tellOthers(r *Result) {
	if e.label() != "" {
		return
	}
	for _, other := range e.agent.roll.all() {
		switch {
		case other == e:
		case other.IsLeader():
			r.StillLeads = append(r.StillLeads, other.name)
		case slices.Contains(other.info().Candidates, e.self.Name):
			r.MayLead = append(r.MayLead, other.name)
		}
	}
}

// candidateLeft asks the others whether one of them may lead, after this member
// has stood aside. Of several that are asked to at once, the last to stand aside
// finds that all others do already. One that does not answer counts as gossip
// has it. A member that knows no other may stand aside.
func (e *Election) candidateLeft(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, asideSurvey)
	defer cancel()
	answers := e.agent.Survey(ctx)
	others := false
	for _, m := range e.Members() {
		if m.Name == e.self.Name || m.Role != seniority.Candidate.String() {
			continue
		}
		others = true
		var s State
		if json.Unmarshal(answers[m.Name].State, &s) == nil {
			m.Eligible = s.Eligible
			if info, ok := s.Elections[e.name]; ok && e.label() != "" {
				m.Eligible = slices.Contains(info.Candidates, m.Name)
			}
		}
		if m.Alive && m.Eligible {
			return true
		}
	}
	return !others
}

// asideSurvey is how long the others may take to answer.
const asideSurvey = 2 * time.Second

// Resume makes this member a candidate again that stands aside, for any
// reason it does. Before Run has joined the group it waits for that, until ctx ends.
func (e *Election) Resume(ctx context.Context) (Result, error) {
	r, err := e.request(ctx, request{kind: seniority.StandAside})
	if err == nil && e.label() == "" {
		for _, other := range e.agent.roll.all() {
			if other.maintenance.Load() != nil {
				r.StillAside = append(r.StillAside, other.name)
			}
		}
	}
	return e.keepAside(r, err)
}

// keepAside stores what a request has changed. It is the one who asked that
// waits for the disk, not the loop.
func (e *Election) keepAside(r Result, err error) (Result, error) {
	if err != nil {
		return r, err
	}
	if err := e.agent.saveMaintenance(); err != nil {
		return r, fmt.Errorf("%w: %w", ErrNotStored, err)
	}
	return r, nil
}

// saveMaintenance brings the disk in line with the maintenance as it is now.
func (a *Agent) saveMaintenance() error {
	return a.state.keepMaintenance(func() (kept keptAside) {
		for _, e := range a.roll.all() {
			m := e.maintenance.Load()
			switch {
			case m == nil:
			case e.label() == "":
				kept.plannedAside = m.plannedAside
			default:
				if kept.Elections == nil {
					kept.Elections = map[string]plannedAside{}
				}
				kept.Elections[e.name] = m.plannedAside
			}
		}
		return kept
	})
}

// maintenance is a time for which somebody has asked this member to stand
// aside. Within a run it is counted in boot time.
type maintenance struct {
	plannedAside
	end time.Duration
}

// plannedAside is what of a maintenance survives a restart; zero: there is none.
type plannedAside struct {
	Until time.Time     `json:"until,omitzero"`
	For   time.Duration `json:"for_ns,omitzero"` // as asked for
}

func (p plannedAside) equal(other plannedAside) bool {
	return p.Until.Equal(other.Until) && p.For == other.For
}

// restoreMaintenance goes on with the maintenance of a former run.
func (e *election) restoreMaintenance() {
	now := e.cfg.now()
	wall := time.UnixMilli(now.Wall)
	planned := e.member.agent.state.keptMaintenance(e.pub.name)
	if left := planned.left(wall); left > 0 {
		e.maintain(now, plannedAside{Until: wall.Add(left), For: planned.For}, left)
	}
}

// left is how long is left of it after a restart. A clock that has been set
// back meanwhile does not make it longer than it ever was.
func (p plannedAside) left(now time.Time) time.Duration {
	return max(min(p.Until.Sub(now), p.For, MaxAside), 0)
}

// until is when the maintenance ends, by the wall clock as it is now.
func (m *maintenance) until(now seniority.Now) *time.Time {
	if m == nil {
		return nil
	}
	t := time.UnixMilli(now.Wall).Add(m.end - now.Boot).Round(time.Second)
	return &t
}

// serveAside carries out StandAside and Resume.
func (e *election) serveAside(r request) {
	if r.aside == 0 {
		was := e.last.AsideUntil != 0
		e.endMaintenance("ended on request")
		e.step(seniority.Input{Kind: seniority.StandAside})
		note := "this member did not stand aside"
		if was {
			note = "this member stands aside no longer"
		}
		r.reply <- outcome{result: Result{OK: true, Leader: e.last.Leader, Term: e.last.Term, Note: note}}
		return
	}
	led := e.last.Leading
	if !led && r.to != "" {
		r.reply <- outcome{err: e.notLeading()}
		return
	}
	if led && !e.handOver(&r) {
		return
	}
	now := e.cfg.now()
	e.maintain(now, plannedAside{Until: time.UnixMilli(now.Wall).Add(r.aside), For: r.aside}, r.aside)
	r.until = e.pub.maintenance.Load().until(now)
	if led {
		e.waitFor(r)
		return
	}
	r.reply <- outcome{result: Result{
		OK: true, Leader: e.last.Leader, Term: e.last.Term, Until: r.until, Note: "this member stands aside",
	}}
}

// maintain stands aside for a time from now.
func (e *election) maintain(now seniority.Now, p plannedAside, left time.Duration) {
	m := &maintenance{plannedAside: p, end: now.Boot + left}
	e.pub.maintenance.Store(m)
	e.log.Info("this member stands aside", "until", m.until(now))
	e.pub.emit("maintenance", MaintenanceEvent{Until: m.until(now)})
	e.step(seniority.Input{Kind: seniority.StandAside, Aside: left})
}

// endMaintenance ends a maintenance, if there is one; how completes the log.
func (e *election) endMaintenance(how string) {
	if e.pub.maintenance.Swap(nil) == nil {
		return
	}
	e.log.Info("this member stands aside no longer", "maintenance", how)
	e.pub.emit("maintenance", MaintenanceEvent{})
	e.findings.Clear(inMaintenance, e.self.Name)
}

// inMaintenance is the finding about a member that stands aside on request.
const inMaintenance = "maintenance"

// tellMaintenance ends the maintenance when its time is over, and keeps the
// finding about it up to date until then. It needs no hand: /diag says so by
// itself when no member is left to succeed the leader.
func (e *election) tellMaintenance(now seniority.Now, st *seniority.Status) {
	m := e.pub.maintenance.Load()
	if m == nil {
		return
	}
	if now.Boot >= m.end {
		e.endMaintenance("over")
		return
	}
	f := Finding{
		What: inMaintenance, Member: e.self.Name,
		Evidence: "it stands aside until " + m.until(now).UTC().Format(time.RFC3339) + ", as it was asked to",
		Advice:   "When it may lead again before that: agent resume.",
	}
	if st.Leading {
		f.Evidence += leadsAllTheSame
	}
	e.findings.Set(now.Boot, 0, f)
}
