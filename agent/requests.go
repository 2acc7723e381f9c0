package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"doyen/agent/words"
	"doyen/seniority"
)

// request is something a person or the program asks the loop to do.
type request struct {
	election string
	kind     seniority.InputKind
	leave    bool
	fit      bool          // of Health
	to       string        // of StepDown and StandAside: the member to hand over to; "": any
	aside    time.Duration // of StandAside; 0: to resume
	until    *time.Time    // when that ends
	term     uint64        // of a hand-over under way: what is being released
	by       time.Duration // when that is answered though no leader is known; 0: the release runs
	reload   *settings     // of Reload
	later    *[]string     // where Reload wants what counts later
	reply    chan outcome  // capacity one, so that the loop never waits
}

type outcome struct {
	result Result
	err    error
}

// StepDown hands the leadership over and stands aside for a minute. It returns
// once another may lead. The error wraps ErrRefused if this member does not
// lead or no other may. Before Run has joined the group it waits for that, until ctx
// ends. A function given to Lead passes its own context, or returns an error instead:
// the hand-over waits for it to return, for up to HookTimeout.
func (e *Election) StepDown(ctx context.Context) (Result, error) {
	return e.request(ctx, request{kind: seniority.StepDown})
}

// HandOver hands the leadership over to a member, given by its name or its address
// with or without the port, and stands aside for so long (0:
// a minute; at most MaxAside). It returns once a member leads, most likely that
// one: compare Result.Leader with Result.To. The error wraps ErrRefused, and nothing has
// changed, if this member does not lead, or that one is not there, may not lead, or has
// not answered this member within the last lease: it is given that long to answer.
// Before Run has joined the group it waits for that, until ctx ends.
func (e *Election) HandOver(ctx context.Context, to string, aside time.Duration) (Result, error) {
	if e == nil {
		return Result{}, ErrNoElection
	}
	r := request{kind: seniority.StepDown, to: to, aside: aside}
	if aside != 0 {
		if err := CheckAside(aside); err != nil {
			return Result{}, fmt.Errorf("standing aside: %w", err)
		}
		r.kind = seniority.StandAside
	}
	for end := time.Now().Add(e.cfg().timing.Lease); ; {
		result, err := e.request(ctx, r)
		if !errors.Is(err, errNotAnswering) || time.Now().After(end) {
			if err == nil && aside != 0 {
				e.tellOthers(&result)
			}
			return e.keepAside(result, err)
		}
		select {
		case <-ctx.Done():
			return Result{}, ctx.Err()
		case <-time.After(e.cfg().timing.Confirm):
		}
	}
}

// errNotAnswering is wrapped when a hand-over was refused because the member
// named has not answered within the last lease. It is asked then.
var errNotAnswering = fmt.Errorf("%w: it has not answered this member within the last lease", ErrRefused)

// Leave hands over, if this member leads, and leaves the group; Run then
// returns. Before Run has joined the group it waits for that, until ctx ends.
func (a *Agent) Leave(ctx context.Context) (Result, error) {
	return a.group.request(ctx, request{leave: true})
}

// Elect holds an election now. Under a healthy leader that the rule prefers it
// changes nothing, and the result says so. Before Run has joined the group it waits for
// that, until ctx ends.
func (e *Election) Elect(ctx context.Context) (Result, error) {
	return e.request(ctx, request{kind: seniority.Elect})
}

// SetHealth says whether this member is fit to lead. A leader that is not
// hands over if another may lead. Members start out fit. With a health check
// (Config.Health) both must say so. Before Run has joined the group it waits for that,
// until ctx ends: call it in a goroutine of its own then.
func (e *Election) SetHealth(ctx context.Context, fit bool) error {
	_, err := e.request(ctx, request{kind: seniority.Health, fit: fit})
	return err
}

// request asks the loop and waits for its answer. Before Run has joined the
// group it waits for that.
func (e *Election) request(ctx context.Context, r request) (Result, error) {
	if e == nil {
		return Result{}, ErrNoElection
	}
	r.election, r.reply = e.name, make(chan outcome, 1)
	stopped := fmt.Errorf("%w: this agent does not run any more", ErrRefused)
	select {
	case e.agent.requests <- r:
	case <-e.agent.done:
		return Result{}, stopped
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	select {
	case o := <-r.reply:
		return e.answered(o)
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-e.agent.done:
	}
	select {
	case o := <-r.reply: // Run may end right after it has answered
		return e.answered(o)
	default:
		return Result{}, stopped
	}
}

// answered is what the loop has answered, with whether this member is the leader named.
func (e *Election) answered(o outcome) (Result, error) {
	o.result.Self = o.result.Leader != "" && o.result.Leader == e.self.Name
	return o.result, o.err
}

// serve carries out one request.
func (l *loop) serve(r request) {
	if r.leave {
		l.leavers = append(l.leavers, r)
		l.depart()
		return
	}
	if r.reload != nil {
		var err error
		*r.later, err = l.reload(r.reload)
		r.reply <- outcome{err: err}
		return
	}
	if e := l.byName[r.election]; e != nil {
		e.serve(r)
		return
	}
	r.reply <- outcome{err: fmt.Errorf("%w: this member knows no election %s any more", ErrRefused, r.election)}
}

// serve carries out one request to the election.
func (e *election) serve(r request) {
	switch r.kind {
	case seniority.StepDown:
		e.serveStepDown(r)
	case seniority.StandAside:
		e.serveAside(r)
	case seniority.Elect:
		refused := e.step(seniority.Input{Kind: seniority.Elect})
		r.reply <- outcome{result: e.elected(refused)}
	case seniority.Health:
		e.fitness.unfit = !r.fit
		e.judgeFitness()
		r.reply <- outcome{}
	}
}

// serveStepDown starts a hand-over and keeps the request until it is over.
func (e *election) serveStepDown(r request) {
	if !e.last.Leading {
		r.reply <- outcome{err: e.notLeading()}
		return
	}
	if e.handOver(&r) {
		e.waitFor(r)
	}
}

// notLeading refuses a hand-over of a member that does not lead.
func (e *election) notLeading() error {
	return fmt.Errorf("%w: this member does not lead; %s", ErrRefused, e.whoLeads())
}

// handOver begins a hand-over on request; false if it was refused, which it has
// answered.
func (e *election) handOver(r *request) bool {
	to, err := e.memberNamed(r.to)
	if err != nil {
		r.reply <- outcome{err: err}
		return false
	}
	r.to = to
	refused := e.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: r.aside, Name: r.to})
	switch {
	case refused == seniority.None:
		r.term = e.last.Releasing
		return true
	case r.to == "":
		r.reply <- outcome{err: fmt.Errorf("%w: there is no member to hand over to that may lead and has answered within the last lease, so nothing has changed", ErrRefused)}
	case refused == seniority.NotAnswering:
		r.reply <- outcome{err: fmt.Errorf("to %s: %w, so nothing has changed", r.to, errNotAnswering)}
	default:
		r.reply <- outcome{err: fmt.Errorf("%w: %s, so nothing has changed", ErrRefused, e.whyNot(r.to))}
	}
	return false
}

// memberNamed returns the name of the member that a person means: by its name, or by
// an address of it, with its port or without; else what was given. It is refused if
// several members are meant.
func (e *election) memberNamed(given string) (string, error) {
	var meant []string
	for i := range e.member.view.Members {
		switch p := &e.member.view.Members[i]; {
		case p.Name == given:
			return given, nil
		case given != "" && isMember(p, given):
			meant = append(meant, p.Name)
		}
	}
	switch len(meant) {
	case 0:
		return given, nil
	case 1:
		return meant[0], nil
	}
	return "", fmt.Errorf("%w: %s may be any of %s, so nothing has changed", ErrRefused, given, words.Some(meant))
}

// whyNot says why a member may not be handed the lead.
func (e *election) whyNot(name string) string {
	if name == e.self.Name {
		return name + " is this member, which leads"
	}
	for _, m := range e.members.Infos {
		switch {
		case m.Name != name:
		case !m.Alive:
			return name + " is not alive"
		case m.Role != seniority.Candidate:
			why := name + " is no candidate but " + m.Role.String()
			if e != e.member.group() && m.Role == seniority.Witness {
				why += ": its settings do not name this election, or make it one"
			}
			return why
		case !m.Eligible:
			return name + " may not lead: " + cmp.Or(m.Unfit, "not eligible")
		default:
			return name + " is taken for dead, or is no voter"
		}
	}
	return "no member is called " + name
}

// waitFor keeps a request until its hand-over is over.
func (e *election) waitFor(r request) {
	e.waiting = append(e.waiting, r)
	e.answerWaiting(e.cfg.now().Boot, &e.last, false)
}

// answerWaiting answers the requests whose hand-over is over: another leads, or
// no member does although there was time enough. Who leads then is told, not who
// was meant to. With all, none waits any longer.
func (e *election) answerWaiting(now time.Duration, st *seniority.Status, all bool) {
	kept := e.waiting[:0]
	for _, r := range e.waiting {
		next := st.Leader != "" && st.Term > r.term
		if r.by == 0 && r.term != st.Releasing {
			r.by = now + e.pub.worstFailover(e.pub.snap.Load())
		}
		if !all && (r.by == 0 || !next && now < r.by) {
			kept = append(kept, r)
			continue
		}
		result := Result{OK: true, To: r.to, Term: r.term, Until: r.until, Note: "handed over; no next leader is known yet"}
		if next {
			result.Leader, result.Term, result.Note = st.Leader, st.Term, e.handedOver(r.to, st.Leader)
		}
		r.reply <- outcome{result: result}
	}
	e.waiting = kept
}

// handedOver says what has come of a hand-over to a member, or to any for "".
func (e *election) handedOver(to, leader string) string {
	switch {
	case leader == e.self.Name:
		return "handed over, and taken back: " + cmp.Or(to, "the next in line") + " did not take the lead"
	case to != "" && leader != to:
		return "handed over, but not to " + to + ", which did not take the lead"
	}
	return "handed over"
}

// elected describes what a request for an election has come to.
func (e *election) elected(refused seniority.Reason) Result {
	r := Result{OK: true, Leader: e.last.Leader, Term: e.last.Term, Note: "an election is under way"}
	switch {
	case refused == seniority.NotEligible:
		r.Note = "nothing changes: this member may not lead, so it calls no election"
	case refused != seniority.None && e.last.Leader != "":
		r.Note = "nothing changes: " + e.last.Leader + " leads, is healthy, and is preferred"
	case refused != seniority.None:
		r.Note = "nothing changes: a hand-over is under way"
	case e.last.Leader == "" && !e.last.Electing && e.last.Releasing == 0:
		r.Note = "no election is under way yet: it begins once enough of the others answer"
	}
	return r
}

// whoLeads is the second half of a sentence.
func (e *election) whoLeads() string {
	if e.last.Leader == "" {
		return "no member does"
	}
	return e.last.Leader + " does"
}
