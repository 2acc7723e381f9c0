package agent

import (
	"context"
	"fmt"
	"time"

	"doyen/seniority"
)

// request is something a person or the program asks the loop to do.
type request struct {
	kind  seniority.InputKind
	leave bool
	fit   bool          // of Health
	aside time.Duration // of StandAside; 0: to resume
	until *time.Time    // when that ends
	term  uint64        // of a hand-over under way: what is being released,
	heir  string        // and who is to lead next
	reply chan outcome  // capacity one, so that the loop never waits
}

type outcome struct {
	result Result
	err    error
}

// StepDown hands the leadership over and stands aside for a minute. It returns
// once another may lead. The error wraps ErrRefused if this member does not
// lead or nobody else may.
func (a *Agent) StepDown(ctx context.Context) (Result, error) {
	return a.request(ctx, request{kind: seniority.StepDown})
}

// Leave hands over, if this member leads, and leaves the group; Run then
// returns.
func (a *Agent) Leave(ctx context.Context) (Result, error) {
	return a.request(ctx, request{leave: true})
}

// Elect holds an election now. Under a healthy leader that the rule prefers it
// changes nothing, and the result says so.
func (a *Agent) Elect(ctx context.Context) (Result, error) {
	return a.request(ctx, request{kind: seniority.Elect})
}

// SetHealth says whether this member is fit to lead. A leader that is not
// hands over if another may lead. Members start out fit. With a health check
// (Config.Health) both must say so.
func (a *Agent) SetHealth(ctx context.Context, fit bool) error {
	_, err := a.request(ctx, request{kind: seniority.Health, fit: fit})
	return err
}

// request asks the loop and waits for its answer. Before Run has joined the
// group it waits for that.
func (a *Agent) request(ctx context.Context, r request) (Result, error) {
	r.reply = make(chan outcome, 1)
	stopped := fmt.Errorf("%w: this agent does not run any more", ErrRefused)
	select {
	case a.requests <- r:
	case <-a.done:
		return Result{}, stopped
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	select {
	case o := <-r.reply:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-a.done:
	}
	select {
	case o := <-r.reply: // Run may end right after it has answered
		return o.result, o.err
	default:
		return Result{}, stopped
	}
}

// serve carries out one request.
func (l *loop) serve(r request) {
	switch {
	case r.leave:
		l.leavers = append(l.leavers, r)
		l.depart()
	case r.kind == seniority.StepDown:
		l.serveStepDown(r)
	case r.kind == seniority.StandAside:
		l.serveAside(r)
	case r.kind == seniority.Elect:
		refused := l.step(seniority.Input{Kind: seniority.Elect})
		r.reply <- outcome{result: l.elected(refused)}
	case r.kind == seniority.Health:
		l.unfit = !r.fit
		l.judgeFitness()
		r.reply <- outcome{}
	}
}

// serveStepDown starts a hand-over and keeps the request until it is over.
func (l *loop) serveStepDown(r request) {
	if !l.last.Leading {
		r.reply <- outcome{err: fmt.Errorf("%w: this member does not lead; %s", ErrRefused, l.whoLeads())}
		return
	}
	if l.handOver(&r, 0) {
		l.waitFor(r)
	}
}

// handOver begins a hand-over on request, to stand aside for so long (0: a
// minute); false if it was refused, which it has answered.
func (l *loop) handOver(r *request, aside time.Duration) bool {
	refused := l.step(seniority.Input{Kind: seniority.StepDown, Reason: seniority.Requested, Aside: aside})
	if refused != seniority.None {
		r.reply <- outcome{err: fmt.Errorf("%w: there is nobody to hand over to, so nothing has changed", ErrRefused)}
		return false
	}
	r.term, r.heir = l.last.Releasing, l.last.Successor
	return true
}

// waitFor keeps a request until the release of its hand-over has ended.
func (l *loop) waitFor(r request) {
	l.waiting = append(l.waiting, r)
	l.answerWaiting(&l.last)
}

// answerWaiting answers the requests whose release has ended.
func (l *loop) answerWaiting(st *seniority.Status) {
	kept := l.waiting[:0]
	for _, r := range l.waiting {
		if r.term == st.Releasing {
			kept = append(kept, r)
			continue
		}
		r.reply <- outcome{result: Result{OK: true, Leader: r.heir, Term: r.term, Until: r.until, Note: "handed over"}}
	}
	l.waiting = kept
}

// elected describes what a request for an election has come to.
func (l *loop) elected(refused seniority.Reason) Result {
	r := Result{OK: true, Leader: l.last.Leader, Term: l.last.Term, Note: "an election is under way"}
	switch {
	case refused == seniority.NotEligible:
		r.Note = "nothing changes: this member may not lead, so it calls no election"
	case refused != seniority.None && l.last.Leader != "":
		r.Note = "nothing changes: " + l.last.Leader + " leads, is healthy, and is preferred"
	case refused != seniority.None:
		r.Note = "nothing changes: a hand-over is under way"
	}
	return r
}

// whoLeads is the second half of a sentence.
func (l *loop) whoLeads() string {
	if l.last.Leader == "" {
		return "nobody does"
	}
	return l.last.Leader + " does"
}
