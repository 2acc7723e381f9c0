package keeper

import "doyen/agent/hook"

// leadNext does what leading needs: acquire, then check now and then. False:
// nothing is due.
func (e *executor) leadNext() bool {
	if e.leadership == nil {
		if !e.successor() {
			return false
		}
		e.leadership = &leadership{gen: e.order.Gen, term: e.order.Term}
		e.look()
	}
	t, now := e.leadership, e.now()
	switch {
	case t.over:
		return false
	case !t.held && t.lasting: // each acquire starts from nothing
		e.beginEnding()
		return true
	case !t.held && now >= t.retryAt:
		e.acquire()
		return true
	case t.held && (now >= t.checkAt && t.checkAt != 0 || t.seen != e.order.CheckNow || t.seenTerm != t.term):
		e.check()
		return true
	}
	return false
}

// acquire puts the addresses on, and then runs the hook. A check asked for
// meanwhile comes after it.
func (e *executor) acquire() {
	t := e.leadership
	t.seen, t.seenTerm, t.announced = e.order.CheckNow, t.term, e.order.Announce
	err := e.arm()
	var with around
	if a, until := e.addresses, e.leaseEnd(t); a != nil {
		with.before = func() error { return a.Take(until) }
	}
	e.begin(hook.Acquire, hook.Env{Term: t.term, Reason: e.order.Reason}, e.now()+e.cfg.HookTimeout, err, with)
}

// acquired takes in the outcome of acquire, and returns the failures in a row.
func (e *executor) acquired(err error) int {
	t := e.leadership
	t.lasting = err == nil && e.cfg.Hook != ""
	switch {
	case t.over:
		return 0
	case err != nil:
		t.failures++
		t.retryAt = e.now() + e.node.cfg.backoff(t.failures)
		return t.failures
	}
	t.held, t.failures, t.retryAt = true, 0, 0
	e.setCheck()
	return 0
}

// check asks whether this node still holds what is its. Where that is asked for, and under
// another term, it also tells the neighbours again, since they may have been told otherwise.
func (e *executor) check() {
	t := e.leadership
	asked := t.announced != e.order.Announce || t.seenTerm != t.term
	t.seen, t.seenTerm, t.announced = e.order.CheckNow, t.term, e.order.Announce
	var with around
	if a := e.addresses; a != nil {
		with.before = func() error {
			err := a.Check()
			if err == nil && asked {
				a.Announce()
			}
			return err
		}
	}
	e.begin(hook.Check, hook.Env{Term: t.term, Reason: e.order.Reason}, e.now()+e.cfg.HookTimeout, nil, with)
}

// checked takes in the outcome of check: a failure brings acquire again, at once.
func (e *executor) checked(err error) {
	if t := e.leadership; !t.over {
		t.held = err == nil
		e.setCheck()
	}
}

// setCheck says when the next check is due.
func (e *executor) setCheck() {
	e.leadership.checkAt = 0
	if e.cfg.CheckInterval > 0 {
		e.leadership.checkAt = e.now() + e.cfg.CheckInterval
	}
}

// renew moves the addresses' own limit on with the deadline, halfway to it.
func (e *executor) renew() {
	t := e.leadership
	if e.addresses == nil || t == nil || t.over || e.now() < t.renewAt {
		return
	}
	e.note(e.addresses.Renew(e.leaseEnd(t)))
	t.renewAt = e.now() + max(t.deadline-e.now(), 0)/2 + 1
}

// answer reports a release that the agent waits for and that needs no run: of
// a leadership that the keeper never heard of, or of one long over.
func (e *executor) answer() {
	term := e.order.ReleaseTerm
	pending := e.release != nil && !e.release.reported || e.leadership != nil && !e.leadership.over && e.leadership.term == term
	if term == 0 || term == e.answered || !e.started || pending {
		return
	}
	e.answered = term
	e.report(Report{Term: term, Released: term})
}
