package keeper

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"doyen/agent/clock"
)

const (
	// slotSize is what a deadline takes of the shared memory: its bits, and its terms.
	slotSize = 24
	// maxSlots is how many deadlines there is room for. Those of elections that have
	// been taken away stay, so there are more than MaxElections.
	maxSlots = 1024
)

// memory is where the deadlines are.
type memory struct {
	shared []byte // nil: each deadline is in ordinary memory
	now    func() time.Duration
	slots  map[string]int
	known  []*Deadline
}

// newLocalMemory is for a keeper that lives in its agent's process.
func newLocalMemory(now func() time.Duration) *memory {
	if now == nil {
		now = clock.Boot
	}
	return &memory{now: now, slots: map[string]int{}}
}

// deadline returns the deadline of an election, and where it is.
func (m *memory) deadline(election string) (slot int, d *Deadline, err error) {
	slot, ok := m.slots[election]
	if ok {
		return slot, m.known[slot], nil
	}
	if slot = len(m.known); slot == maxSlots {
		return 0, nil, fmt.Errorf("election %s: this process has had %d other elections; restart it", election, maxSlots)
	}
	d = NewDeadline(m.now)
	if m.shared != nil {
		d = deadlineAt(m.shared, slot)
	}
	m.slots[election], m.known = slot, append(m.known, d)
	return slot, d, nil
}

// deadlineAt returns the deadline in a slot of shared memory. It stays mapped as
// long as the process lives, because any code may ask at any time whether this node
// leads.
func deadlineAt(shared []byte, slot int) *Deadline {
	at := func(offset int) *atomic.Uint64 {
		return (*atomic.Uint64)(unsafe.Pointer(&shared[slot*slotSize+offset]))
	}
	return &Deadline{bits: at(0), terms: [2]register{at(8), at(16)}, now: clock.Boot}
}
