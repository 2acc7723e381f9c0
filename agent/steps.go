package agent

import (
	"doyen/seniority"
)

// step feeds the core and carries out what it says. The clock is read right
// before, so that after a pause of any length the core learns of it before
// anything else happens. It returns why the input was refused, if it was.
func (e *election) step(in seniority.Input) seniority.Reason {
	l := e.member
	if e.undone != nil {
		l.settle() // what the core has said must be carried out before its next
	}
	now := e.cfg.now()
	in.Log = e.logEnd()
	out := e.core.Step(now, in)
	refused := out.Refused
	if l.batching && e != l.group() {
		e.undone, e.undoneAt = out, now
		l.undone = append(l.undone, e)
		return refused
	}
	e.finish(now, out)
	return refused
}

// batch has the steps that f makes of further elections carried out together at
// its end: their terms are then written to the disk at once.
func (l *loop) batch(f func()) {
	l.batching = true
	f()
	l.batching = false
	l.settle()
}

// settle carries out what the cores have said in a batch.
func (l *loop) settle() {
	undone := l.undone
	l.undone = nil
	for _, e := range undone {
		e.owe(e.undone)
	}
	l.persistAll(undone)
	for _, e := range undone {
		out := e.undone
		e.undone = nil
		e.finish(e.undoneAt, out)
	}
}

// finish carries out what the core has said.
func (e *election) finish(now seniority.Now, out *seniority.Output) {
	if !e.carryOut(now, out) {
		now = e.cfg.now()
		out = e.core.Step(now, seniority.Input{Kind: seniority.Fired, Log: e.logEnd(), Term: out.Status.Term, Reason: seniority.KeeperFired})
		if !e.carryOut(now, out) {
			// It has won again at once, being alone, and must not yet. The
			// deadline says that it does not lead; a later step tries again.
			e.wake = now.Boot + e.cfg.timing.Renewal
		}
	}
}
