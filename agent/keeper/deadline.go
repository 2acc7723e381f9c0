package keeper

import (
	"sync/atomic"
	"time"
)

// Deadline is the one truth about "this node leads", shared by
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
//	any   → fired   the one that finds that there is no keeper to watch
//	fired → open    keeper: what the leadership held has been released
//
// So fired is final for its generation, and nothing is armed while a release
// is owed. Deadlines are rounded down, never up.
//
// Extend and Disarm belong to the agent's loop; Leads to all.
type Deadline struct {
	bits atom
	// terms are for the keeper: that of a generation, even or odd. Two, since the next
	// generation may begin while the keeper has not noticed the end of this one.
	terms [2]register
	now   func() time.Duration
	mine  uint32 // the generation that the agent's loop has armed; 0: none
}

// atom is what a Deadline needs of its bits. It is an *atomic.Uint64, except in the
// test that enumerates the interleavings.
type atom interface {
	Load() uint64
	CompareAndSwap(old, new uint64) bool
}

// register is a number in the memory of both, likewise.
type register interface {
	Load() uint64
	Store(v uint64)
}

// NewDeadline returns an open deadline in ordinary memory, for tests of an agent
// without a keeper. It is read against the clock now.
func NewDeadline(now func() time.Duration) *Deadline {
	return &Deadline{bits: new(atomic.Uint64), terms: [2]register{new(atomic.Uint64), new(atomic.Uint64)}, now: now}
}

// Leads reports whether this node leads at the boot time now.
func (d *Deadline) Leads(now time.Duration) bool {
	c := d.load()
	return c.state == armed && now < c.deadline
}

// Extend says that this node leads term until the boot time deadline. The
// first call begins a leadership, later ones extend it, and may give it
// another term. False: the leadership is over, because the keeper has fired or
// a deadline has passed; or none may begin yet. After false, Extend keeps
// saying so until Disarm.
func (d *Deadline) Extend(term uint64, deadline time.Duration) bool {
	deadline = deadline.Truncate(time.Millisecond)
	for {
		old, now := d.load(), d.now()
		next := cell{armed, d.mine, deadline}
		switch {
		case now >= deadline:
			return false
		case d.mine == 0 && old.state == open:
			next.gen = old.gen%maxGen + 1
		case d.mine != 0 && old.state == armed && old.gen == d.mine && now < old.deadline:
			next.deadline = max(deadline, old.deadline)
		default:
			return false
		}
		d.terms[next.gen%2].Store(term)
		if d.swap(old, next) {
			d.mine = next.gen
			return true
		}
	}
}

// Disarm ends the leadership, if there is one.
func (d *Deadline) Disarm() {
	gen := d.mine
	d.mine = 0
	for old := d.load(); gen != 0 && old.state == armed && old.gen == gen; old = d.load() {
		if d.swap(old, cell{open, gen, 0}) {
			return
		}
	}
}

// fire ends generation gen for the agent if its deadline has passed, or
// at any deadline if the agent is gone. It returns the deadline as it is
// afterwards.
func (d *Deadline) fire(gen uint32, gone bool) cell {
	for {
		old := d.load()
		if old.state != armed || old.gen != gen || !gone && d.now() < old.deadline {
			return old
		}
		next := cell{fired, gen, old.deadline}
		if d.swap(old, next) {
			return next
		}
	}
}

// term returns the term of generation gen. False: the agent has left that generation
// behind, so its term may have been overwritten.
func (d *Deadline) term(gen uint32) (term uint64, ok bool) {
	term = d.terms[gen%2].Load()
	return term, d.load().gen == gen
}

// shut fires what there is, because no keeper watches any more.
func (d *Deadline) shut() {
	for old := d.load(); old.state != fired; old = d.load() {
		if d.swap(old, cell{fired, old.gen, old.deadline}) {
			return
		}
	}
}

// reopen lets the next leadership begin. Only the keeper calls it, and only it
// changes a deadline that has fired, so it does not fail.
func (d *Deadline) reopen() {
	if old := d.load(); old.state == fired {
		d.swap(old, cell{open, old.gen, 0})
	}
}

func (d *Deadline) load() cell              { return unpack(d.bits.Load()) }
func (d *Deadline) swap(old, new cell) bool { return d.bits.CompareAndSwap(old.pack(), new.pack()) }

// The states of a deadline.
const (
	open uint8 = iota
	armed
	fired
)

const (
	deadlineBits = 40 // 34 years of uptime
	genBits      = 22
	maxGen       = 1<<genBits - 2 // even: the first follows the last as any other
)

// cell is the contents of a deadline. The zero value is an open deadline.
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
		gen:      uint32(v>>deadlineBits) & (1<<genBits - 1),
		deadline: time.Duration(v&(1<<deadlineBits-1)) * time.Millisecond,
	}
}
