package functions

import (
	"context"
	"sync"
)

// Set is the functions of one election.
type Set struct {
	over  error
	mu    sync.Mutex
	next  int
	open  map[int]function
	moved chan struct{} // capacity one
}

type function struct {
	term    uint64
	outside bool // what it runs does not end with this process
	end     context.CancelCauseFunc
}

// New returns an empty set. over is the cause with which the context of a function ends
// when the leadership does.
func New(over error) *Set {
	return &Set{over: over, open: map[int]function{}, moved: make(chan struct{}, 1)}
}

// Enter adds a function that runs under a term, and whose context end ends; leave takes
// it out again. outside says that what it runs does not end with this process.
func (t *Set) Enter(term uint64, outside bool, end context.CancelCauseFunc) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.next
	t.next++
	t.open[id] = function{term: term, outside: outside, end: end}
	t.tell()
	return func() {
		t.mu.Lock()
		delete(t.open, id)
		t.mu.Unlock()
		t.tell()
	}
}

// Moved has a value when a function has entered or left since it was read last.
func (t *Set) Moved() <-chan struct{} { return t.moved }

func (t *Set) tell() {
	select {
	case t.moved <- struct{}{}:
	default:
	}
}

// End tells all functions that run under another term than the one led now that their
// leadership is over; 0: none is led.
func (t *Set) End(led uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.open {
		if o.term != led {
			o.end(t.over)
		}
	}
}

// Busy reports whether a function still runs under term.
func (t *Set) Busy(term uint64) bool {
	return t.any(func(f function) bool { return f.term == term })
}

// Outside reports whether something runs under term that does not end with this
// process.
func (t *Set) Outside(term uint64) bool {
	return t.any(func(f function) bool { return f.term == term && f.outside })
}

// Late reports whether something still runs under term or a lower one: functions, or
// what does not end with this process.
func (t *Set) Late(term uint64) (functions, outside bool) {
	return t.any(func(f function) bool { return f.term <= term && !f.outside }),
		t.any(func(f function) bool { return f.term <= term && f.outside })
}

func (t *Set) any(is func(function) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.open {
		if is(f) {
			return true
		}
	}
	return false
}
