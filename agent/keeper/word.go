package keeper

import (
	"sync/atomic"
	"time"
)

// Word is the deadline word: the one truth about "this node leads", shared by
// agent and keeper. It is one atomic 64-bit value,
//
//	state (2 bits) | generation (22 bits) | deadline in ms of boot time (40 bits)
//
// that both change by compare-and-swap only. Each leadership of this node is a
// generation of its own. Who may do what:
//
//	open  → armed   agent: a leadership begins, under the next generation
//	armed → armed   agent: its deadline moves on
//	armed → open    agent: it steps down
//	armed → fired   keeper: the deadline has passed, or the agent is gone
//	any   → fired   whoever finds that there is no keeper to watch
//	fired → open    keeper: what the leadership held has been released
//
// So fired is final for its generation, and nothing is armed while a release
// is owed. Deadlines are rounded down, never up.
//
// Extend and Disarm belong to the agent's loop; Leads to everybody.
type Word struct {
	bits atom
	term *atomic.Uint64 // of the leadership armed last; for the keeper
	now  func() time.Duration
	mine uint32 // the generation that the agent's loop has armed; 0: none
}

// atom is what a Word needs of its bits. It is an *atomic.Uint64, except in the
// test that enumerates the interleavings.
type atom interface {
	Load() uint64
	CompareAndSwap(old, new uint64) bool
}

// NewWord returns an open word in ordinary memory, for tests of an agent
// without a keeper. It is read against the clock now.
func NewWord(now func() time.Duration) *Word {
	return &Word{bits: new(atomic.Uint64), term: new(atomic.Uint64), now: now}
}

// Leads reports whether this node leads at the boot time now.
func (w *Word) Leads(now time.Duration) bool {
	c := w.load()
	return c.state == armed && now < c.deadline
}

// Extend says that this node leads term until the boot time deadline. The
// first call begins a leadership, later ones extend it, and may give it
// another term. False: the leadership is over, because the keeper has fired or
// a deadline has passed; or none may begin yet. After false, Extend keeps
// saying so until Disarm.
func (w *Word) Extend(term uint64, deadline time.Duration) bool {
	deadline = deadline.Truncate(time.Millisecond)
	for {
		old, now := w.load(), w.now()
		next := cell{armed, w.mine, deadline}
		switch {
		case now >= deadline:
			return false
		case w.mine == 0 && old.state == open:
			next.gen = old.gen%maxGen + 1
		case w.mine != 0 && old.state == armed && old.gen == w.mine && now < old.deadline:
			next.deadline = max(deadline, old.deadline)
		default:
			return false
		}
		w.term.Store(term)
		if w.swap(old, next) {
			w.mine = next.gen
			return true
		}
	}
}

// Disarm ends the leadership, if there is one.
func (w *Word) Disarm() {
	gen := w.mine
	w.mine = 0
	for old := w.load(); gen != 0 && old.state == armed && old.gen == gen; old = w.load() {
		if w.swap(old, cell{open, gen, 0}) {
			return
		}
	}
}

// fire ends generation gen for the agent if its deadline has passed, or
// whatever the deadline if the agent is gone. It returns the word as it is
// afterwards.
func (w *Word) fire(gen uint32, gone bool) cell {
	for {
		old := w.load()
		if old.state != armed || old.gen != gen || !gone && w.now() < old.deadline {
			return old
		}
		next := cell{fired, gen, old.deadline}
		if w.swap(old, next) {
			return next
		}
	}
}

// shut fires whatever there is, because nobody watches any more.
func (w *Word) shut() {
	for old := w.load(); old.state != fired; old = w.load() {
		if w.swap(old, cell{fired, old.gen, old.deadline}) {
			return
		}
	}
}

// reopen lets the next leadership begin. Only the keeper calls it, and only it
// changes a word that has fired, so it does not fail.
func (w *Word) reopen() {
	if old := w.load(); old.state == fired {
		w.swap(old, cell{open, old.gen, 0})
	}
}

func (w *Word) load() cell              { return unpack(w.bits.Load()) }
func (w *Word) swap(old, new cell) bool { return w.bits.CompareAndSwap(old.pack(), new.pack()) }

// The states of a word.
const (
	open uint8 = iota
	armed
	fired
)

const (
	deadlineBits = 40 // 34 years of uptime
	genBits      = 22
	maxGen       = 1<<genBits - 1
)

// cell is the contents of a word. The zero value is an open word.
type cell struct {
	state    uint8
	gen      uint32
	deadline time.Duration // whole milliseconds
}

func (c cell) pack() uint64 {
	ms := min(max(c.deadline.Milliseconds(), 0), 1<<deadlineBits-1)
	return uint64(c.state)<<(genBits+deadlineBits) | uint64(c.gen)<<deadlineBits | uint64(ms)
}

func unpack(v uint64) cell {
	return cell{
		state:    uint8(v >> (genBits + deadlineBits)),
		gen:      uint32(v>>deadlineBits) & maxGen,
		deadline: time.Duration(v&(1<<deadlineBits-1)) * time.Millisecond,
	}
}
