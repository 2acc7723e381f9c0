package agent

import (
	"context"
	"fmt"
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
// directory. It still leads if nobody else may. The error wraps ErrRefused, and
// nothing has changed, if it leads and nobody else may.
func (a *Agent) StandAside(ctx context.Context, d time.Duration) (Result, error) {
	if err := CheckAside(d); err != nil {
		return Result{}, fmt.Errorf("standing aside: %w", err)
	}
	return a.keepAside(a.request(ctx, request{kind: seniority.StandAside, aside: d}))
}

// Resume makes this member a candidate again that stands aside, for whatever
// reason it does.
func (a *Agent) Resume(ctx context.Context) (Result, error) {
	return a.keepAside(a.request(ctx, request{kind: seniority.StandAside}))
}

// keepAside stores what a request has changed. It is the one who asked that
// waits for the disk, not the loop.
func (a *Agent) keepAside(r Result, err error) (Result, error) {
	if err != nil {
		return r, err
	}
	if err := a.saveMaintenance(); err != nil {
		return r, fmt.Errorf("it is done, but a restart would forget it: %w", err)
	}
	return r, nil
}

// saveMaintenance brings the disk in line with the maintenance as it is now.
func (a *Agent) saveMaintenance() error {
	return a.state.keepMaintenance(func() plannedAside {
		if m := a.maintenance.Load(); m != nil {
			return m.plannedAside
		}
		return plannedAside{}
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

// restoreMaintenance goes on with the maintenance of a former run.
func (l *loop) restoreMaintenance() {
	now := l.cfg.now()
	wall := time.UnixMilli(now.Wall)
	planned := l.state.keptMaintenance()
	if left := planned.left(wall); left > 0 {
		l.maintain(now, plannedAside{Until: wall.Add(left), For: planned.For}, left)
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
func (l *loop) serveAside(r request) {
	if r.aside == 0 {
		was := l.last.AsideUntil != 0
		l.endMaintenance("ended on request")
		l.step(seniority.Input{Kind: seniority.StandAside})
		note := "this member did not stand aside"
		if was {
			note = "this member stands aside no longer"
		}
		r.reply <- outcome{result: Result{OK: true, Leader: l.last.Leader, Term: l.last.Term, Note: note}}
		return
	}
	led := l.last.Leading
	if led && !l.handOver(&r, r.aside) {
		return
	}
	now := l.cfg.now()
	l.maintain(now, plannedAside{Until: time.UnixMilli(now.Wall).Add(r.aside), For: r.aside}, r.aside)
	r.until = l.maintenance.Load().until(now)
	if led {
		l.waitFor(r)
		return
	}
	r.reply <- outcome{result: Result{
		OK: true, Leader: l.last.Leader, Term: l.last.Term, Until: r.until, Note: "this member stands aside",
	}}
}

// maintain stands aside for a time from now.
func (l *loop) maintain(now seniority.Now, p plannedAside, left time.Duration) {
	m := &maintenance{plannedAside: p, end: now.Boot + left}
	l.maintenance.Store(m)
	l.log.Info("this member stands aside", "until", m.until(now))
	l.emit("maintenance", MaintenanceEvent{Until: m.until(now)})
	l.step(seniority.Input{Kind: seniority.StandAside, Aside: left})
}

// endMaintenance ends a maintenance, if there is one; how completes the log.
func (l *loop) endMaintenance(how string) {
	if l.maintenance.Swap(nil) == nil {
		return
	}
	l.log.Info("this member stands aside no longer", "maintenance", how)
	l.emit("maintenance", MaintenanceEvent{})
	l.findings.clear(inMaintenance, l.self.Name)
}

// inMaintenance is the finding about a member that stands aside on request.
const inMaintenance = "maintenance"

// tellMaintenance ends the maintenance when its time is over, and keeps the
// finding about it up to date until then. It needs no hand: /diag says so by
// itself when nobody is left to succeed the leader.
func (l *loop) tellMaintenance(now seniority.Now, st *seniority.Status) {
	m := l.maintenance.Load()
	if m == nil {
		return
	}
	if now.Boot >= m.end {
		l.endMaintenance("over")
		return
	}
	f := Finding{
		What: inMaintenance, Member: l.self.Name,
		Evidence: "it stands aside until " + m.until(now).UTC().Format(time.RFC3339) + ", as it was asked to",
		Advice:   "When it may lead again before that: agent resume.",
	}
	if st.Leading {
		f.Evidence += leadsAllTheSame
	}
	l.findings.set(now.Boot, 0, f)
}
