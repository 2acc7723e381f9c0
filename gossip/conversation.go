package gossip

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"doyen/seniority"
)

// conversations are what this member and each run of another have told each other, which
// lets them be brief: a renewal and its confirm repeat the one before, but for their
// sequence numbers and how long the leader has led. They take some 20 bytes then, not 150.
//
//   - A message is brief only if it is a claim or a confirm, and says what the last whole
//     one of its kind and election to that run has said, but for these two numbers.
//   - A claim is brief only if the claim before it was confirmed; a confirm, only if the
//     claim that it answers was brief.
//   - A brief message names the whole one by its digest. A receiver that does not have
//     that one drops the message, as the network may any: it stays unconfirmed, so the
//     next claim is whole.
//
// So what is taken is what was sent, whatever is lost, doubled or overtaken, and a
// receiver that has forgotten misses one round. This is the compression of RFC 5795
// (ROHC), with confirms for its feedback.
//
// The zero value has heard nothing. It is safe for concurrent use.
type conversations struct {
	mu      sync.Mutex
	said    map[topic]*said  // to other runs
	newest  map[topic]digest // of the whole messages of other runs
	heard   map[heardKey]*heard
	kept    int // about how many bytes the messages take
	scratch []byte
}

// topic is what a whole message is the newest of: between this member and a run of
// another, about an election.
type topic struct {
	run      uint64
	election string
	kind     seniority.Kind
}

// said is the last whole message of a topic to a run, and the last message at all.
type said struct {
	base      []byte // its encoding without the two numbers
	sum       digest
	last      mark
	confirmed bool // of a claim: the last one is
}

type heardKey struct {
	run uint64
	sum digest
}

// heard is the newest whole message of a topic from a run, and the last one that has
// repeated it.
type heard struct {
	ElectionMessage
	size int // of its entry
	last mark
}

// digest names a whole message between two runs: the first bytes of the SHA-256 of its
// entry.
type digest [8]byte

func digestOf(entry []byte) (d digest) {
	all := sha256.Sum256(entry)
	copy(d[:], all[:])
	return d
}

const (
	// maxKept bounds the messages kept, in bytes: some thousand times what a group of a
	// hundred elections needs. When it is reached all are forgotten.
	maxKept = 8 << 20
	// keptEach is what a message takes beyond its text.
	keptEach = 500
)

// keep makes room for a message of so many bytes.
func (c *conversations) keep(size int) {
	if c.kept += size + keptEach; c.said == nil || c.kept > maxKept {
		c.said, c.newest, c.heard = map[topic]*said{}, map[topic]digest{}, map[heardKey]*heard{}
		c.kept = size + keptEach
	}
}

// say appends as many of the messages to a run to b as fit into a datagram, at least
// one, and returns how many it has appended.
func (c *conversations) say(run uint64, b []byte, messages []*ElectionMessage) (datagram []byte, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var before *seniority.Message // the last whole one in the datagram
	for i, m := range messages {
		end := len(b)
		repeats := c.repeats(run, m)
		if repeats != nil {
			b = appendBrief(b, repeats.sum, &m.Message)
		} else {
			b = appendWhole(b, m, before)
		}
		if i > 0 && len(b) > maxDatagram {
			return b[:end], i
		}
		if repeats == nil {
			before = &m.Message
			repeats = c.noteSaid(run, m, b[end+1:])
		}
		if repeats != nil {
			repeats.last, repeats.confirmed = markOf(&m.Message), false
		}
	}
	return b, len(messages)
}

// repeatable reports whether messages of a kind repeat each other.
func repeatable(k seniority.Kind) bool { return k == seniority.Claim || k == seniority.Confirm }

// base is the encoding of a message without the two numbers, until the next call.
func (c *conversations) base(m *ElectionMessage) []byte {
	bare := m.Message
	bare.Seq, bare.Held = 0, 0
	c.scratch = seniority.AppendMessage(c.scratch[:0], &bare)
	return c.scratch
}

// repeats returns the whole message that m repeats, if m may be brief; else nil.
func (c *conversations) repeats(run uint64, m *ElectionMessage) *said {
	if !repeatable(m.Message.Kind) {
		return nil
	}
	s := c.said[topic{run, m.Election, m.Message.Kind}]
	if s == nil || !bytes.Equal(s.base, c.base(m)) {
		return nil
	}
	if m.Message.Kind == seniority.Claim && s.confirmed {
		return s
	}
	claim := c.heard[heardKey{run, c.newest[topic{run, m.Election, seniority.Claim}]}]
	if m.Message.Kind == seniority.Confirm && claim != nil && claim.last == markOf(&m.Message) {
		return s
	}
	return nil
}

// noteSaid notes what has been said whole; nil: it is nothing that may be repeated.
func (c *conversations) noteSaid(run uint64, m *ElectionMessage, text []byte) *said {
	if !repeatable(m.Message.Kind) {
		return nil
	}
	what := topic{run, m.Election, m.Message.Kind}
	if old := c.said[what]; old != nil {
		c.kept -= len(old.base) + keptEach
	}
	s := &said{base: bytes.Clone(c.base(m)), sum: digestOf(text)}
	c.keep(len(s.base))
	c.said[what] = s
	return s
}

// hear reads the entries of a datagram from a run of one member to another. It returns
// their messages, and how many repeat what this member has not heard. The error is
// errMalformed; nothing of the datagram counts then.
func (c *conversations) hear(run uint64, b []byte, from, to string) (messages []ElectionMessage, unheard int, err error) {
	entries, err := parseEntries(b)
	if err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		m := e.ElectionMessage
		if e.brief {
			h := c.heard[heardKey{run, e.sum}]
			if h == nil {
				unheard++
				continue
			}
			m = h.ElectionMessage
			m.Message.Seq, m.Message.Held = e.Message.Seq, e.Message.Held
			h.last = markOf(&m.Message)
		}
		m.Message.From, m.Message.To = from, to
		if !e.brief {
			c.noteHeard(run, &m, e)
		}
		if s := c.said[topic{run, m.Election, seniority.Claim}]; s != nil && m.Message.Kind == seniority.Confirm && s.last == markOf(&m.Message) {
			s.confirmed = true
		}
		messages = append(messages, m)
	}
	return messages, unheard, nil
}

// noteHeard notes what another has said whole.
func (c *conversations) noteHeard(run uint64, m *ElectionMessage, e *entry) {
	if !repeatable(m.Message.Kind) {
		return
	}
	what := topic{run, m.Election, m.Message.Kind}
	if old := (heardKey{run, c.newest[what]}); c.heard[old] != nil {
		c.kept -= c.heard[old].size + keptEach
		delete(c.heard, old)
	}
	c.keep(e.size)
	c.newest[what], c.heard[heardKey{run, e.sum}] = e.sum, &heard{ElectionMessage: *m, size: e.size}
}

// markOf is the place of a claim, or of the one that a confirm answers, among all of its
// claimant.
func markOf(m *seniority.Message) mark { return mark{term: m.Term, seq: m.Seq} }

// entry is one entry of a datagram. Of a brief one, sum is the digest of the message that
// it repeats, and the message has the two numbers alone; else sum and size are its own.
type entry struct {
	ElectionMessage
	brief bool
	sum   digest
	size  int
}

// appendBrief appends the brief entry of a message.
func appendBrief(b []byte, sum digest, m *seniority.Message) []byte {
	b = append(append(b, briefEntry), sum[:]...)
	return binary.AppendUvarint(binary.AppendUvarint(b, m.Seq), uint64(m.Held))
}

// appendWhole appends the whole entry of a message after that of another, nil for none.
func appendWhole(b []byte, m *ElectionMessage, before *seniority.Message) []byte {
	short := m.Message
	short.From, short.To = "", ""
	kind := byte(wholeEntry)
	if before != nil && before.Voter == short.Voter && slices.Equal(before.Voters, short.Voters) {
		kind, short.Voter, short.Voters = likeEntry, "", nil
	}
	text := seniority.AppendMessage(nil, &short)
	b = appendName(append(b, kind), m.Election)
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// parseEntries reads the entries of a datagram.
func parseEntries(b []byte) (entries []entry, err error) {
	var before *entry // the last whole one
	for len(b) > 0 {
		kind := b[0]
		e, rest, ok := new(entry), b[1:], false
		switch kind {
		case briefEntry:
			rest, ok = e.takeBrief(rest)
		case wholeEntry:
			rest, ok = e.takeWhole(rest)
		case likeEntry:
			if rest, ok = e.takeWhole(rest); ok && before != nil {
				e.Message.Voter, e.Message.Voters = before.Message.Voter, before.Message.Voters
			} else {
				ok = false
			}
		}
		if !ok {
			return nil, errMalformed
		}
		if !e.brief {
			before = e
		}
		entries, b = append(entries, *e), rest
	}
	return entries, nil
}

// takeBrief reads what appendBrief has appended after its first byte.
func (e *entry) takeBrief(b []byte) (rest []byte, ok bool) {
	if len(b) < len(e.sum) {
		return nil, false
	}
	b = b[copy(e.sum[:], b):]
	seq, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	held, k := binary.Uvarint(b[n:])
	if k <= 0 || held > uint64(seniority.MaxDuration) {
		return nil, false
	}
	e.brief, e.Message.Seq, e.Message.Held = true, seq, time.Duration(held)
	return b[n+k:], true
}

// takeWhole reads what appendWhole has appended after its first byte.
func (e *entry) takeWhole(b []byte) (rest []byte, ok bool) {
	text := b
	if len(b) > 0 && b[0] == 0 {
		text = b[1:] // the group's own election has no name
	} else if e.Election, text, ok = takeElection(b); !ok {
		return nil, false
	}
	size, n := binary.Uvarint(text)
	if n <= 0 || size > uint64(len(text)-n) {
		return nil, false
	}
	text, rest = text[n:n+int(size)], text[n+int(size):]
	var err error
	e.Message, err = seniority.ParseMessage(text)
	b = b[:len(b)-len(rest)]
	e.sum, e.size = digestOf(b), len(b)
	return rest, err == nil && e.Message.From == "" && e.Message.To == ""
}
