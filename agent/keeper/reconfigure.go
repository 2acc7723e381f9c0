package keeper

import (
	"fmt"
	"slices"

	"doyen/agent/hook"
)

// reconfigure goes on with another configuration, and with the leadership that there
// is. Another hook takes what there is to take before anything else happens, another
// command follows the one that runs, and a hook that is no more releases first. The
// first things to be held at all need the lock of the node.
func (e *executor) reconfigure(c Election) {
	first := !e.cfg.holds() && c.holds()
	anew, outdated := c.Hook != e.cfg.Hook || e.parting != nil, !slices.Equal(c.Run, e.cfg.Run)
	c.Addresses, e.addressesWanted = e.cfg.Addresses, c.Addresses
	e.moveFailures, e.moveAt = 0, 0
	t := e.leadership
	if e.parting = nil; anew && c.Hook == "" && t != nil {
		c.Hook, anew = e.cfg.Hook, false
		e.parting = &release{until: e.now() + c.HookTimeout}
	}
	e.cfg = c
	e.runner = e.newRunner()
	if first {
		e.cleared = e.awaitLock(true)
	}
	e.move()
	if t == nil || t.over {
		return
	}
	t.command.outdated = t.command.running && outdated
	switch {
	case anew || first:
		e.takeAnew()
	case t.held:
		e.setCheck()
	}
}

// takeAnew has acquire run once more, as something is to be held that was not there at
// the last one, or at the one under way.
func (e *executor) takeAnew() {
	t := e.leadership
	t.held, t.failures, t.retryAt = false, 0, 0
	if e.run != nil {
		e.run.outdated = true
	}
}

// partNext does what the release of a hook that is no more needs next, while the
// leadership goes on. A leadership that ends meanwhile is released with that hook, and
// a release that never succeeds is given up like any other. False: there is no such hook.
func (e *executor) partNext() bool {
	t, r, now := e.leadership, e.parting, e.now()
	switch {
	case r == nil || t == nil || t.over:
		return false
	case t.lasting:
		e.beginEnding()
	case now >= r.until:
		e.note(fmt.Errorf("the hook was taken away, and its release has failed to the limit of %v: what it held may still be there", e.cfg.HookTimeout))
		e.parted()
		return false
	case now >= r.retryAt:
		e.begin(hook.Release, hook.Env{Term: t.term, Reason: reasonReload}, r.until, nil, around{})
		e.run.parting = true
	}
	return true
}

// reasonReload is the DOYEN_REASON of the release of a hook that is no more.
const reasonReload = "reload"

// partTried takes in the outcome of one try.
func (e *executor) partTried(res *hook.Result) {
	switch r := e.parting; {
	case r == nil: // there is another hook meanwhile
	case res.Err == nil || res.Unusable:
		e.parted()
	default:
		r.failures++
		r.retryAt = e.now() + e.node.cfg.backoff(r.failures)
	}
}

// parted goes on without the hook.
func (e *executor) parted() {
	e.parting, e.cfg.Hook = nil, ""
	e.runner = e.newRunner()
}
