package keeper

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"
)

// This file runs the deadline's own code under every interleaving of its atomic
// steps: loads, swaps, and readings of the clock.

// world is what the actors share, and the checker of every step.
type world struct {
	bits    uint64
	terms   [2]uint64
	now     time.Duration
	fired   uint64 // the generations that have fired, as bits
	fault   string
	tracing bool
	trace   []string
}

func (w *world) wrong(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

func (w *world) hasFired(gen uint32) bool { return w.fired&(1<<gen) != 0 }

// actor is one party. Before each of its steps it yields, so that the others
// may come first. Only what was seen so far decides what it
// does next; so a hash of that stands for its state.
type actor struct {
	*world
	name   string
	keeper bool
	yield  func()
	seen   uint64
	steps  int
}

func (a *actor) saw(what string, v uint64, show any) {
	a.seen = (a.seen ^ v) * 0x9e3779b97f4a7c15
	a.seen ^= a.seen >> 29
	a.steps++
	if a.tracing {
		a.trace = append(a.trace, fmt.Sprintf("%s %s %+v", a.name, what, show))
	}
}

func (a *actor) Load() uint64 {
	a.yield()
	a.saw("loads", a.bits, unpack(a.bits))
	return a.bits
}

func (a *actor) clock() time.Duration {
	a.yield()
	a.saw("reads", uint64(a.now), a.now)
	return a.now
}

func (a *actor) CompareAndSwap(old, new uint64) bool {
	a.yield()
	if a.bits != old {
		a.saw("fails to swap in", 0, unpack(new))
		return false
	}
	a.saw("swaps in", 1, unpack(new))
	a.check(unpack(old), unpack(new))
	a.bits = new
	return true
}

// check holds every transition against the table in the comment of Deadline.
func (a *actor) check(old, next cell) {
	ok := false
	switch {
	case old == next:
		ok = true
	case a.keeper && next.state == fired:
		ok = next.gen == old.gen
		a.fired |= 1 << next.gen
	case a.keeper:
		ok = old.state == fired && next == cell{open, old.gen, 0}
	case old.state == open && next.state == armed:
		ok = next.gen == old.gen+1
	case old.state == armed && next.state == armed:
		ok = next.gen == old.gen && next.deadline > old.deadline
	case old.state == armed && next.state == open:
		ok = next.gen == old.gen
	}
	if !ok {
		a.wrong("the %s turned %+v into %+v", a.name, old, next)
	}
	if next.state == armed && a.hasFired(next.gen) {
		a.wrong("generation %d was armed after it had fired", next.gen)
	}
}

func (a *actor) word() *Deadline {
	return &Deadline{bits: a, terms: [2]register{shared{a, 0}, shared{a, 1}}, now: a.clock}
}

// shared is one of the world's terms as an actor reaches it.
type shared struct {
	*actor
	at int
}

func (s shared) Load() uint64 {
	s.yield()
	s.saw("loads a term", s.terms[s.at], s.terms[s.at])
	return s.terms[s.at]
}

func (s shared) Store(v uint64) {
	s.yield()
	s.saw("stores a term", v, v)
	s.terms[s.at] = v
}

// ask does what every caller does that says "I lead": the clock first, then the
// word.
func (a *actor) ask() {
	now := a.clock()
	if !a.word().Leads(now) {
		return
	}
	if c := unpack(a.bits); c.state != armed || now >= c.deadline || a.hasFired(c.gen) {
		a.wrong("at %v it was said that this node leads, with %+v", now, c)
	}
}

// cast is who acts: the agent, the keeper, the reader, the clock.
type cast [4]func(*actor)

var names = [len(cast{})]string{"agent", "keeper", "reader", "clock"}

// play lets the actors take their steps in the order given, and returns what
// has come of it and who can go on.
func (c cast) play(order []int, tracing bool) (w *world, key string, able []int) {
	w = &world{tracing: tracing}
	var next [len(c)]func() (struct{}, bool)
	var actors [len(c)]*actor
	for i, act := range c {
		a := &actor{world: w, name: names[i], keeper: names[i] == "keeper"}
		actors[i] = a
		n, stop := iter.Pull(func(yield func(struct{}) bool) {
			defer func() {
				if r := recover(); r != nil && r != a { // a: no more is wanted
					panic(r)
				}
			}()
			a.yield = func() {
				if !yield(struct{}{}) {
					panic(a)
				}
			}
			act(a)
		})
		defer stop()
		next[i] = n
	}
	var over [len(c)]bool
	for i := range c { // up to the first step
		_, more := next[i]()
		over[i] = !more
	}
	for _, i := range order {
		_, more := next[i]()
		over[i] = !more
	}
	var state []any
	for i, a := range actors {
		state = append(state, a.seen, a.steps)
		if !over[i] {
			able = append(able, i)
		}
	}
	return w, fmt.Sprint(w.bits, w.terms, w.now, w.fired, state), able
}

// explore plays every interleaving that leads to a new state. It returns how
// many states there are, and the transcript of a fault if it finds one.
func (c cast) explore() (states int, fault string) {
	seen := map[string]bool{}
	var follow func(order []int)
	follow = func(order []int) {
		w, key, able := c.play(order, false)
		if w.fault != "" {
			w, _, _ = c.play(order, true)
			fault = w.fault + ":\n\t" + strings.Join(w.trace, "\n\t")
		}
		if fault != "" || seen[key] {
			return
		}
		seen[key] = true
		for _, i := range able {
			follow(append(order[:len(order):len(order)], i))
		}
	}
	follow(nil)
	return len(seen), fault
}

// watch is a keeper with its eye on one generation.
func watch(gen uint32, gone bool) func(*actor) {
	return func(a *actor) {
		w := a.word()
		for range 2 {
			if c := w.fire(gen, gone); c.gen == gen && c.state == fired {
				w.reopen()
				return
			}
		}
	}
}

// tick is the clock as an actor.
func tick(times ...time.Duration) func(*actor) {
	return func(a *actor) {
		for _, now := range times {
			a.yield()
			a.now = now
			a.saw("moves to", 0, now)
		}
	}
}

var scenes = map[string]cast{
	"extending and firing": {
		func(a *actor) {
			w := a.word()
			w.Extend(1, 10*ms)
			w.Extend(1, 20*ms)
		},
		watch(1, false), (*actor).ask, tick(10*ms, 20*ms),
	},
	"stepping down and firing": {
		func(a *actor) {
			w := a.word()
			w.Extend(1, 10*ms)
			w.Disarm()
			w.Extend(2, 30*ms)
		},
		watch(1, false), (*actor).ask, tick(10 * ms),
	},
	"the agent is taken for dead": {
		func(a *actor) {
			w := a.word()
			if w.Extend(1, 10*ms) && !w.Extend(2, 20*ms) {
				w.Disarm()
				w.Extend(3, 30*ms)
			}
		},
		watch(1, true), (*actor).ask, tick(10 * ms),
	},
	"the keeper asks for the term of a leadership that another follows": {
		func(a *actor) {
			w := a.word()
			for gen := range uint64(3) {
				w.Extend(10*(gen+1), 20*ms)
				w.Extend(10*(gen+1)+1, 30*ms) // its term is raised
				w.Disarm()
			}
		},
		func(a *actor) {
			for range 2 {
				if term, ok := a.word().term(1); ok && term != 0 && term/10 != 1 {
					a.wrong("generation 1 has the term %d", term)
				}
			}
		},
		(*actor).ask, tick(),
	},
	"the keeper dies and is replaced": {
		func(a *actor) {
			w := a.word()
			for range 2 {
				if !w.Extend(1, 20*ms) {
					w.Disarm()
				}
			}
		},
		func(a *actor) {
			a.word().shut()
			a.word().reopen()
		},
		(*actor).ask, tick(20 * ms),
	},
}

func TestEveryInterleaving(t *testing.T) {
	for name, c := range scenes {
		t.Run(name, func(t *testing.T) {
			states, fault := c.explore()
			if fault != "" {
				t.Fatal(fault)
			}
			t.Logf("%d states", states)
			if states < 1000 {
				t.Errorf("only %d states were explored", states)
			}
		})
	}
}

// TestExplorationFindsFaults breaks each side by hand, and sees that the
// exploration notices.
func TestExplorationFindsFaults(t *testing.T) {
	set := func(a *actor, next cell) { // without comparing
		a.yield()
		a.saw("writes", 0, next)
		a.check(unpack(a.bits), next)
		a.bits = next.pack()
	}
	faults := map[string]func(cast) cast{
		"the agent extends without comparing": func(c cast) cast {
			c[0] = func(a *actor) {
				if w := a.word(); w.Extend(1, 10*ms) && w.load().state == armed {
					set(a, cell{armed, 1, 20 * ms})
				}
			}
			return c
		},
		"the agent steps down without comparing": func(c cast) cast {
			c[0] = func(a *actor) {
				if w := a.word(); w.Extend(1, 10*ms) && w.load().state == armed {
					set(a, cell{open, 1, 0})
				}
			}
			return c
		},
		"the agent arms a generation twice": func(c cast) cast {
			c[0] = func(a *actor) {
				w := a.word()
				w.Extend(1, 10*ms)
				if old := w.load(); old.state == open {
					w.swap(old, cell{armed, 1, 20 * ms})
				}
			}
			return c
		},
	}
	for name, breakIt := range faults {
		t.Run(name, func(t *testing.T) {
			if _, fault := breakIt(scenes["extending and firing"]).explore(); fault == "" {
				t.Error("the fault was not noticed")
			}
		})
	}
}
