package keeper

import (
	"time"

	"doyen/agent/hook"
)

// killMargin is how long before a release must have ended it is killed: killing
// and reaping take a few milliseconds.
const killMargin = 10 * time.Millisecond

// orderWait is how long a release waits for the order that says why: the agent
// changes the deadline first, and the keeper may see that before the order comes.
// Tests change it.
var orderWait = 10 * time.Millisecond

// release is a release under way: of the leadership or, without one, the release
// at start. It is tried until it succeeds or its time is over.
type release struct {
	until    time.Duration // boot time of its end
	failures int
	retryAt  time.Duration
	// cut: the addresses have been cut off, and are to go before the hook's release.
	cut bool
	// late: another node may lead already. It goes on all the same, for no other
	// else can give up what this node holds; a new leadership here ends it.
	late     bool
	reported bool // the agent knows of its end
}

// newRelease returns a release that begins now.
func (e *executor) newRelease() *release {
	now, end := e.now(), e.releaseEnd()
	return &release{until: now + e.cfg.HookTimeout, late: end != 0 && now >= end}
}

// endLeadership ends the leadership: from now on it is only to be released.
func (e *executor) endLeadership() {
	t := e.leadership
	t.over, t.held = true, false
	e.release = e.newRelease()
	if e.addresses != nil {
		e.addresses.Ended()
	}
	if t.fired || e.orphaned || !e.orderIsStale() {
		e.cutEarly()
	}
}

// cutEarly cuts the addresses off before the hook's release if time is short: the hook
// may use up all that there is. On a planned hand-over it may still need them.
func (e *executor) cutEarly() {
	if r := e.release; e.addresses != nil && !r.cut && e.releaseEnd() != 0 && e.planned() == 0 {
		r.cut = true
		e.note(e.addresses.Cut())
	}
}

// leaseEnd is when another node may lead, if t is not extended.
func (e *executor) leaseEnd(t *leadership) time.Duration {
	if e.node.cfg.Quorum {
		return t.deadline + e.cfg.ReleaseBudget
	}
	return t.deadline
}

// releaseEnd is when another node may lead, so that the release must have
// ended; 0 if it just takes its time.
func (e *executor) releaseEnd() time.Duration {
	t := e.leadership
	if term := e.order.ReleaseTerm; term != 0 && (t == nil || t.term == term) {
		return e.order.ReleaseBy
	}
	if t != nil && e.node.cfg.Quorum {
		return e.leaseEnd(t)
	}
	return 0
}

// planned is the limit of the release if it is part of a planned hand-over, else 0.
func (e *executor) planned() time.Duration {
	o, t := &e.order, e.leadership
	if o.ReleaseTerm == 0 || t != nil && t.term != o.ReleaseTerm {
		return 0
	}
	return o.ReleaseUntil
}

// releaseUntil is when the release has had its time, wherever another leads.
func (e *executor) releaseUntil() time.Duration {
	if end := e.planned(); end != 0 && !e.release.late {
		return end
	}
	return e.release.until
}

// hard reports whether the release must have ended before another node leads.
func (e *executor) hard() bool { return e.releaseEnd() != 0 && !e.release.late }

// releaseLimit is when a try that runs now is killed.
func (e *executor) releaseLimit() time.Duration {
	switch {
	case !e.hard():
		return e.releaseUntil()
	case e.planned() != 0:
		return min(e.planned(), e.releaseEnd()-killMargin)
	}
	return e.releaseEnd() - killMargin
}

// promisedLimit is the limit that a try is told when it starts: that of a planned
// hand-over does not move.
func (e *executor) promisedLimit() time.Duration {
	if e.planned() != 0 {
		return e.releaseUntil()
	}
	return e.releaseLimit()
}

// releaseNext does what the release needs next; no run is under way. False: no
// release is.
func (e *executor) releaseNext() bool {
	r, now := e.release, e.now()
	switch {
	case r == nil:
		return false
	case e.cleared != nil: // nothing has been taken yet, or another release begins then
		if e.leadership != nil {
			e.settle(true)
		}
		return false
	case e.leadership == nil && e.orphaned:
		e.release = nil // the next start repeats it
	case now >= e.releaseLimit() && e.hard():
		r.late, r.until = true, now+e.cfg.HookTimeout
		e.reportRelease(false)
	case e.commandRuns(): // it has been told to end
	case e.leadership != nil && e.leadership.lasting:
		e.beginEnding()
	case now >= e.releaseLimit(), r.late && e.successor():
		e.settle(false)
		return false
	case now >= r.retryAt, r.failures == 0 && !e.orderIsStale():
		e.cutEarly()
		e.begin(hook.Release, e.releaseEnv(), e.promisedLimit(), nil, e.dropping())
	}
	return true
}

// dropping is what a release does with the addresses: they are taken off after the
// hook's release, and before it, too, if they have been cut off already.
func (e *executor) dropping() around {
	a := e.addresses
	switch {
	case a == nil:
		return around{}
	case !e.release.cut || e.release.failures > 0:
		return around{after: a.Drop}
	}
	return around{
		before: func() error { _ = a.Drop(); return nil }, // what fails does so again after the hook
		after:  a.Drop,
	}
}

// releaseEnv says what is released, and why.
func (e *executor) releaseEnv() hook.Env {
	switch t := e.leadership; {
	case e.orderIsStale():
		return hook.Env{Term: t.term, Reason: t.endReason}
	case t != nil:
		return hook.Env{Term: t.term, Reason: e.order.Reason}
	case e.order.ReleaseTerm != 0: // a keeper before this one has died
		return hook.Env{Term: e.order.ReleaseTerm, Reason: e.order.Reason}
	}
	return hook.Env{Reason: reasonStartup}
}

// reasonStartup is the DOYEN_REASON of the release at start.
const reasonStartup = "startup"

// tried takes in the outcome of one try.
func (e *executor) tried(err error, unusable bool) {
	switch r := e.release; {
	case err == nil || unusable:
		e.settle(err == nil)
	default:
		r.failures++
		r.retryAt = e.now() + e.node.cfg.backoff(r.failures)
	}
}

// settle ends the release.
func (e *executor) settle(ok bool) {
	e.reportRelease(ok)
	e.release, e.leadership = nil, nil
	e.disarm()
	if e.parting != nil {
		e.parted()
	}
}

// reportRelease tells that a release has ended, as the agent must see it. Only
// now may a leadership begin again, here or, by the will, elsewhere.
func (e *executor) reportRelease(ok bool) {
	r, t := e.release, e.leadership
	if r.reported {
		return
	}
	r.reported = true
	rep := Report{ReleaseFailed: !ok}
	if t == nil {
		e.started, rep.StartupDone = true, true
		rep.Term = e.order.ReleaseTerm
	} else {
		rep.Term = t.term
	}
	rep.Released, e.answered = rep.Term, rep.Term
	if !e.orphaned {
		e.deadline.reopen()
	}
	e.report(rep)
	// Where the time was not enough, something may still be held, and the others wait
	// for the end of the lease.
	if t != nil && (t.fired || e.orphaned) && !r.late {
		e.sendWill(t.gen, t.will, t.targets)
	}
}

// sendWill lets the others know that a leadership is over, as its agent cannot.
func (e *executor) sendWill(gen uint32, will []byte, targets []string) {
	e.willed = gen
	e.node.deliver(will, targets)
}
