package keeper

import (
	"errors"
	"time"

	"doyen/agent/hook"
)

// killMargin is how long before a release must have ended it is killed: killing
// and reaping take a few milliseconds.
const killMargin = 10 * time.Millisecond

// orderWait is how long a release waits for the order that says why: the agent
// changes the word first, and the keeper may see that before the order comes.
const orderWait = 10 * time.Millisecond

// release is a release under way: of the tenure or, without one, the release
// at start. It is tried until it succeeds or its time is over.
type release struct {
	until    time.Duration // boot time of its end
	failures int
	retryAt  time.Duration
	// late: another node may lead already. It goes on all the same, for nobody
	// else can give up what this node holds; a new leadership here ends it.
	late     bool
	reported bool // the agent knows of its end
}

// newRelease returns a release that begins now.
func (h *hands) newRelease() *release {
	now, end := h.now(), h.releaseEnd()
	return &release{until: now + h.cfg.HookTimeout, late: end != 0 && now >= end}
}

// endTenure ends the leadership: from now on it is only to be released.
func (h *hands) endTenure() {
	t := h.tenure
	t.over, t.held = true, false
	h.release = h.newRelease()
	if h.releaseEnd() != 0 && h.addresses != nil {
		// The addresses go first: the hook may use up all the time there is.
		h.note(h.addresses.Drop())
	}
}

// leaseEnd is when another node may lead, if t is not extended.
func (h *hands) leaseEnd(t *tenure) time.Duration {
	if h.cfg.Quorum {
		return t.deadline + h.cfg.ReleaseBudget
	}
	return t.deadline
}

// releaseEnd is when another node may lead, so that the release must have
// ended; 0 if it just takes its time.
func (h *hands) releaseEnd() time.Duration {
	t := h.tenure
	if term := h.order.ReleaseTerm; term != 0 && (t == nil || t.term == term) {
		return h.order.ReleaseBy
	}
	if t != nil && h.cfg.Quorum {
		return h.leaseEnd(t)
	}
	return 0
}

// hard reports whether the release must have ended before another node leads.
func (h *hands) hard() bool { return h.releaseEnd() != 0 && !h.release.late }

// releaseLimit is when a try that runs now is killed.
func (h *hands) releaseLimit() time.Duration {
	if h.hard() {
		return h.releaseEnd() - killMargin
	}
	return h.release.until
}

// releaseNext does what the release needs next; no run is under way. False: no
// release is.
func (h *hands) releaseNext() bool {
	r, now := h.release, h.now()
	switch {
	case r == nil:
		return false
	case h.tenure == nil && h.orphaned:
		h.release = nil // the next start repeats it
	case now >= h.releaseLimit() && h.hard():
		h.reportRelease(false)
		r.late, r.until = true, now+h.cfg.HookTimeout
	case now >= h.releaseLimit(), r.late && h.successor():
		h.settle(false)
		return false
	case now >= r.retryAt, r.failures == 0 && !h.unheard():
		h.begin(hook.Release, h.releaseEnv(), h.releaseLimit(), nil)
	}
	return true
}

// releaseEnv says what is released, and why.
func (h *hands) releaseEnv() hook.Env {
	switch t := h.tenure; {
	case h.unheard():
		return hook.Env{Term: t.term, Reason: t.endReason}
	case t != nil:
		return hook.Env{Term: t.term, Reason: h.order.Reason}
	case h.order.ReleaseTerm != 0: // a keeper before this one has died
		return hook.Env{Term: h.order.ReleaseTerm, Reason: h.order.Reason}
	}
	return hook.Env{Reason: reasonStartup}
}

// reasonStartup is the DOYEN_REASON of the release at start.
const reasonStartup = "startup"

// tried takes in the outcome of one try.
func (h *hands) tried(err error, unusable bool) {
	if h.addresses != nil {
		if dropped := h.addresses.Drop(); dropped != nil {
			h.note(dropped)
			err = errors.Join(err, dropped)
		}
	}
	switch r := h.release; {
	case err == nil || unusable:
		h.settle(err == nil)
	default:
		r.failures++
		r.retryAt = h.now() + h.cfg.backoff(r.failures)
	}
}

// settle ends the release.
func (h *hands) settle(ok bool) {
	h.reportRelease(ok)
	h.release, h.tenure = nil, nil
}

// reportRelease tells that a release has ended, as the agent must see it. Only
// now may a leadership begin again, here or, by the will, elsewhere.
func (h *hands) reportRelease(ok bool) {
	r, t := h.release, h.tenure
	if r.reported {
		return
	}
	r.reported = true
	rep := Report{ReleaseFailed: !ok}
	if t == nil {
		h.started, rep.StartupDone = true, true
		rep.Term = h.order.ReleaseTerm
	} else {
		rep.Term = t.term
	}
	rep.Released, h.answered = rep.Term, rep.Term
	h.word.reopen()
	h.report(rep)
	if t != nil && (t.fired || h.orphaned) {
		h.sendWill(t.gen, t.will, t.targets)
	}
}

// sendWill lets the others know that a leadership is over, as its agent cannot.
func (h *hands) sendWill(gen uint32, will []byte, targets []string) {
	h.willed = gen
	if h.deliver != nil && len(will) > 0 {
		h.wills.Go(func() { h.deliver(will, targets) })
	}
}
