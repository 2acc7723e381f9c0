package keeper

import "doyen/agent/hook"

// leadNext does what leading needs: acquire, then check now and then. False:
// nothing is due.
func (h *hands) leadNext() bool {
	if h.tenure == nil {
		if !h.successor() {
			return false
		}
		h.tenure = &tenure{gen: h.order.Gen}
		h.look()
	}
	t, now := h.tenure, h.now()
	switch {
	case t.over:
		return false
	case !t.held && now >= t.retryAt:
		h.acquire()
		return true
	case t.held && (now >= t.checkAt && t.checkAt != 0 || t.seen != h.order.CheckNow || t.seenTerm != t.term):
		h.check()
		return true
	}
	return false
}

// acquire puts the addresses on, and then runs the hook. A check asked for
// meanwhile comes after it.
func (h *hands) acquire() {
	t := h.tenure
	t.seen, t.seenTerm = h.order.CheckNow, t.term
	var err error
	if h.addresses != nil {
		err = h.addresses.Take(h.leaseEnd(t))
	}
	h.begin(hook.Acquire, hook.Env{Term: t.term, Reason: h.order.Reason}, h.now()+h.cfg.HookTimeout, err)
}

// acquired takes in the outcome of acquire, and returns the failures in a row.
func (h *hands) acquired(err error) int {
	t := h.tenure
	switch {
	case t.over:
		return 0
	case err != nil:
		t.failures++
		t.retryAt = h.now() + h.cfg.backoff(t.failures)
		return t.failures
	}
	t.held, t.failures, t.retryAt = true, 0, 0
	h.setCheck()
	return 0
}

// check asks whether this node still holds what is its. One that was asked for
// also tells the neighbours again, since somebody may have told them otherwise.
func (h *hands) check() {
	t := h.tenure
	asked := t.seen != h.order.CheckNow || t.seenTerm != t.term
	t.seen, t.seenTerm = h.order.CheckNow, t.term
	var err error
	if h.addresses != nil {
		err = h.addresses.Check()
		if err == nil && asked {
			h.addresses.Announce()
		}
	}
	h.begin(hook.Check, hook.Env{Term: t.term, Reason: h.order.Reason}, h.now()+h.cfg.HookTimeout, err)
}

// checked takes in the outcome of check: a failure brings acquire again, at once.
func (h *hands) checked(err error) {
	if t := h.tenure; !t.over {
		t.held = err == nil
		h.setCheck()
	}
}

// setCheck says when the next check is due.
func (h *hands) setCheck() {
	h.tenure.checkAt = 0
	if h.cfg.CheckInterval > 0 {
		h.tenure.checkAt = h.now() + h.cfg.CheckInterval
	}
}

// renew moves the addresses' own limit on with the deadline, halfway to it.
func (h *hands) renew() {
	t := h.tenure
	if h.addresses == nil || t == nil || t.over || h.now() < t.renewAt {
		return
	}
	h.note(h.addresses.Renew(h.leaseEnd(t)))
	t.renewAt = h.now() + max(t.deadline-h.now(), 0)/2 + 1
}

// answer reports a release that the agent waits for and that needs no run: of
// a leadership that the keeper never heard of, or of one long over.
func (h *hands) answer() {
	term := h.order.ReleaseTerm
	pending := h.release != nil && !h.release.reported || h.tenure != nil && !h.tenure.over && h.tenure.term == term
	if term == 0 || term == h.answered || !h.started || pending {
		return
	}
	h.answered = term
	h.report(Report{Term: term, Released: term})
}
