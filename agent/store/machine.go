package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// GroupElection is the name of the group's own election.
const GroupElection = "group"

const (
	// keptRequests is how many request ids are remembered: those of some minutes
	// at the rate of a small group.
	keptRequests = 1 << 14
	// keptChanges is how many entries the log keeps.
	keptChanges    = 1 << 14
	snapshotFormat = 1
	// keyWeight is what a key weighs beyond its bytes and its value's.
	keyWeight = 64
)

// machine is the state that all voters agree on: it is changed by commands in
// their order alone, and knows neither time nor host. Reads may come from any
// goroutine, changes from one.
type machine struct {
	mu       sync.RWMutex
	index    uint64 // of the last entry applied
	term     uint64 // the group's own election is led under
	keys     map[string]*value
	size     int
	terms    map[string]uint64 // the highest term each election was led under
	requests map[string]request
	asked    []string // the ids of requests, the oldest first
	log      []Change
	members  map[uint64]string // the voter of each raft id
	changed  chan struct{}     // closed when log has grown
}

// request is what became of a request, and what it asked for.
type request struct {
	outcome
	sum uint64 // of the change; 0: unknown
}

// value is never changed once it is in the map.
type value struct {
	data          []byte
	term, version uint64
}

func newMachine() *machine {
	return &machine{
		keys: map[string]*value{}, terms: map[string]uint64{}, requests: map[string]request{},
		members: map[uint64]string{}, changed: make(chan struct{}),
	}
}

// apply carries out the command of one entry.
func (m *machine) apply(index uint64, c *Command) outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = index
	if c.Op == opLead {
		m.terms[c.election] = max(m.terms[c.election], c.term)
		if c.election == GroupElection {
			m.term = max(m.term, c.term)
		}
		return outcome{Result: Result{Term: m.term, Index: index}}
	}
	if c.Request != "" {
		switch first, ok := m.requests[c.Request]; {
		case ok && first.sum != 0 && first.sum != c.sum():
			return outcome{kind: Bad, text: fmt.Sprintf("%s: request %q has been used for another change, so nothing was done", c.Key, c.Request)}
		case ok:
			return first.outcome
		}
	}
	o := m.change(index, c)
	m.note(c, &o)
	if c.Request != "" {
		m.remember(c.Request, request{outcome: o, sum: c.sum()})
	}
	return o
}

// change does what the command says, or returns why it cannot.
func (m *machine) change(index uint64, c *Command) outcome {
	old, there := m.keys[c.Key]
	o := outcome{Result: Result{Key: c.Key, Term: m.term, Index: index, Version: index}}
	refuse := func(k Kind, format string, args ...any) outcome {
		o.kind, o.text = k, c.Key+": "+fmt.Sprintf(format, args...)
		return o
	}
	if led := m.terms[c.FenceElection]; c.Fence != 0 && led > c.Fence {
		return refuse(Fenced, "election %s is led under term %d, which is higher than the fence %d", c.FenceElection, led, c.Fence)
	}
	switch {
	case c.Op == OpCreate && there:
		return refuse(Exists, "the key exists")
	case (c.Op == OpAppend || c.Op == OpDelete) && !there:
		return refuse(Missing, "there is no such key")
	case c.IfVersion != 0 && !there:
		return refuse(Changed, "the key is missing, not at version %d", c.IfVersion)
	case c.IfVersion != 0 && old.version != c.IfVersion:
		return refuse(Changed, "the key is at version %d, not %d", old.version, c.IfVersion)
	}
	data := c.Value
	if c.Op == OpAppend {
		if len(old.data)+len(c.Value) > MaxValue {
			return refuse(TooLarge, "the value would be %d bytes long, more than %d", len(old.data)+len(c.Value), MaxValue)
		}
		data = slices.Concat(old.data, c.Value)
	}
	size := m.size
	if there {
		size -= weight(c.Key, old.data)
	}
	if c.Op == OpDelete {
		delete(m.keys, c.Key)
		m.size = size
		return o
	}
	if size += weight(c.Key, data); size > MaxSize && size > m.size {
		return refuse(Full, "the store is full: it holds %d of %d bytes", m.size, MaxSize)
	}
	m.keys[c.Key] = &value{data: data, term: m.term, version: index}
	m.size = size
	return o
}

func weight(key string, data []byte) int { return keyWeight + len(key) + len(data) }

// note adds the change to the log and wakes those who wait for it.
func (m *machine) note(c *Command, o *outcome) {
	size := 0
	if v := m.keys[c.Key]; v != nil {
		size = len(v.data)
	}
	if len(m.log) >= keptChanges {
		m.log = slices.Clone(m.log[keptChanges/4:])
	}
	m.log = append(m.log, Change{Term: o.Term, Index: o.Index, Op: c.Op.String(), Key: c.Key, Size: size, Error: o.text})
	close(m.changed)
	m.changed = make(chan struct{})
}

// remember keeps what became of a request.
func (m *machine) remember(id string, r request) {
	if len(m.asked) >= keptRequests {
		for _, old := range m.asked[:keptRequests/4] {
			delete(m.requests, old)
		}
		m.asked = slices.Clone(m.asked[keptRequests/4:])
	}
	m.asked = append(m.asked, id)
	m.requests[id] = r
}

// get returns one key.
func (m *machine) get(key string) (Value, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.keys[key]
	if !ok {
		return Value{}, false
	}
	return v.shown(key), true
}

func (v *value) shown(key string) Value {
	return Value{Key: key, Version: v.version, Size: len(v.data), Term: v.term, Index: v.version, Data: v.data}
}

// list returns the keys with a prefix, in order, without their values.
func (m *machine) list(prefix string) []Value {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := []Value{}
	for key, v := range m.keys {
		if strings.HasPrefix(key, prefix) {
			shown := v.shown(key)
			shown.Data = nil
			all = append(all, shown)
		}
	}
	slices.SortFunc(all, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// changes returns at most limit kept changes from an index on, and a channel that is closed
// when there are more.
func (m *machine) changes(from uint64, limit int) ([]Change, <-chan struct{}) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	at, _ := slices.BinarySearchFunc(m.log, from, func(c Change, i uint64) int {
		switch {
		case c.Index < i:
			return -1
		case c.Index > i:
			return 1
		}
		return 0
	})
	return slices.Clone(m.log[at:min(len(m.log), at+limit)]), m.changed
}

// led returns the highest term that an election is known here to be led under.
func (m *machine) led(election string) uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.terms[election]
}

// voters returns the voter of each raft id.
func (m *machine) voters() map[uint64]string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return maps.Clone(m.members)
}

// skip notes an entry that holds no command.
func (m *machine) skip(index uint64, change func(members map[uint64]string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = index
	if change != nil {
		change(m.members)
	}
}

// snapshot is the inverse of restore. It is the same on all members that have
// applied the same entries.
func (m *machine) snapshot() []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b := make([]byte, 0, m.size+len(m.log)*64+len(m.asked)*64+1024)
	b = append(b, snapshotFormat)
	b = binary.AppendUvarint(b, m.index)
	b = binary.AppendUvarint(b, m.term)
	b = binary.AppendUvarint(b, uint64(len(m.keys)))
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		v := m.keys[key]
		b = appendText(appendText(b, key), v.data)
		b = binary.AppendUvarint(binary.AppendUvarint(b, v.term), v.version)
	}
	b = binary.AppendUvarint(b, uint64(len(m.terms)))
	for _, name := range slices.Sorted(maps.Keys(m.terms)) {
		b = binary.AppendUvarint(appendText(b, name), m.terms[name])
	}
	b = binary.AppendUvarint(b, uint64(len(m.asked)))
	for _, id := range m.asked {
		r := m.requests[id]
		b = binary.AppendUvarint(appendOutcome(appendText(b, id), &r.outcome), r.sum)
	}
	b = binary.AppendUvarint(b, uint64(len(m.log)))
	for _, c := range m.log {
		b = binary.AppendUvarint(binary.AppendUvarint(b, c.Term), c.Index)
		b = appendText(appendText(b, c.Op), c.Key)
		b = appendText(binary.AppendUvarint(b, uint64(c.Size)), c.Error)
	}
	b = binary.AppendUvarint(b, uint64(len(m.members)))
	for _, id := range slices.Sorted(maps.Keys(m.members)) {
		b = appendText(binary.AppendUvarint(b, id), m.members[id])
	}
	return b
}

func appendOutcome(b []byte, o *outcome) []byte {
	b = appendText(b, o.Key)
	b = binary.AppendUvarint(binary.AppendUvarint(b, o.Term), o.Index)
	b = binary.AppendUvarint(b, o.Version)
	return appendText(append(b, byte(o.kind)), o.text)
}

func (r *reader) outcome() outcome {
	o := outcome{Result: Result{Key: r.text(), Term: r.number(), Index: r.number(), Version: r.number()}}
	if len(r.rest) == 0 {
		r.err = errShort
		return o
	}
	o.kind, r.rest = Kind(r.rest[0]), r.rest[1:]
	o.text = r.text()
	return o
}

// parseSnapshot is the inverse of snapshot.
func parseSnapshot(b []byte) (*machine, error) {
	if len(b) == 0 || b[0] != snapshotFormat {
		return nil, errors.New("a snapshot of an unknown format")
	}
	n, r := newMachine(), reader{rest: slices.Clone(b[1:])}
	n.index, n.term = r.number(), r.number()
	for left := r.number(); left > 0 && r.err == nil; left-- {
		key, data := r.text(), r.bytes()
		n.keys[key] = &value{data: data, term: r.number(), version: r.number()}
		n.size += weight(key, data)
	}
	for left := r.number(); left > 0 && r.err == nil; left-- {
		name := r.text()
		n.terms[name] = r.number()
	}
	for left := r.number(); left > 0 && r.err == nil; left-- {
		id := r.text()
		n.asked, n.requests[id] = append(n.asked, id), request{outcome: r.outcome(), sum: r.number()}
	}
	for left := r.number(); left > 0 && r.err == nil; left-- {
		n.log = append(n.log, Change{
			Term: r.number(), Index: r.number(), Op: r.text(), Key: r.text(), Size: int(r.number()), Error: r.text(),
		})
	}
	for left := r.number(); left > 0 && r.err == nil; left-- {
		id := r.number()
		n.members[id] = r.text()
	}
	if r.err != nil || len(r.rest) > 0 {
		return nil, fmt.Errorf("a snapshot is damaged: %w", errors.Join(r.err, errors.New("its length is wrong")))
	}
	return n, nil
}

// adopt replaces the state by that of another machine, which is not used any more.
func (m *machine) adopt(n *machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index, m.term, m.keys, m.size, m.terms = n.index, n.term, n.keys, n.size, n.terms
	m.requests, m.asked, m.log, m.members = n.requests, n.asked, n.log, n.members
	close(m.changed)
	m.changed = make(chan struct{})
}
