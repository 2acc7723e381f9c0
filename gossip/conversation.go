package gossip

import (
	"bytes"
	"crypto/sha256"
	"sync"

	"doyen/seniority"
)

// conversations are what this member and each run of another have told each other, which
// lets them be brief: a renewal and its confirm repeat the one before, but for their
// sequence numbers and how long the leader has led. They take some 20 bytes then, not 150.
//
//   - A message is brief only if it is a claim or a confirm, and says what the last one of
//     its kind and election to that run has said, but for these two numbers.
//   - A claim is brief only if the one before it was confirmed; a confirm, only if the
//     claim that it answers was brief.
//   - A brief message names what it repeats by a digest of all that it leaves out. A
//     receiver that has not heard that drops the message, as the network may any: it stays
//     unconfirmed, so the next claim is whole.
//
// So what is taken is what was sent, though messages may be lost, doubled or overtaken, and a
// receiver that has forgotten misses one round. This is the compression of RFC 5795
// (ROHC), with confirms for its feedback.
//
// The zero value has heard nothing. It is safe for concurrent use.
type conversations struct {
	mu     sync.Mutex
	said   map[topic]*said  // to other runs
	newest map[topic]digest // of the whole messages of other runs
	heard  map[heardKey]*heard
	kept   int // about how many bytes the messages heard take
}

// topic is what a message is the newest of: between this member and a run of another,
// about an election.
type topic struct {
	run      uint64
	election string
	kind     seniority.Kind
}

// said is the last message of a topic to a run.
type said struct {
	sum       digest
	last      mark
	confirmed bool // of a claim: it is
}

type heardKey struct {
	run uint64
	sum digest
}

// heard is the newest whole message of a topic from a run, and the last one that has
// repeated it.
type heard struct {
	ElectionMessage
	size int
	last mark
}

// digest names a message between two runs: the first bytes of the SHA-256 of its voters
// and of its text, which lacks the two numbers.
type digest [8]byte

func digestOf(voters, text []byte) (d digest) {
	h := sha256.New()
	h.Write(voters)
	h.Write(text)
	copy(d[:], h.Sum(nil))
	return d
}

const (
	// maxKept bounds the messages heard that are kept, in bytes: thirty times what a peer
	// in a hundred elections has to say. When it is reached all are forgotten.
	maxKept = 8 << 20
	// keptEach is what a message takes beyond its texts.
	keptEach = 600
	// maxSaid bounds the topics of which the last message is remembered, likewise.
	maxSaid = 1 << 16
)

// say appends as many of the messages to a run to b as fit into a datagram, at least
// one, and returns how many it has appended.
func (c *conversations) say(run uint64, b []byte, messages []*ElectionMessage) (datagram []byte, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	voters := appendVoters(nil, &seniority.Message{}) // what the entries before say of them
	for i, m := range messages {
		end := len(b)
		own := appendVoters(nil, &m.Message)
		text := appendBare(nil, m)
		sum := digestOf(own, text)
		brief := c.canBeBrief(run, m, sum)
		switch {
		case brief:
			b = appendEntry(b, briefEntry, sum[:], &m.Message)
		case bytes.Equal(own, voters):
			b = appendEntry(b, wholeEntry, text, &m.Message)
		default:
			b = appendEntry(appendEntry(b, votersEntry, own, nil), wholeEntry, text, &m.Message)
		}
		if i > 0 && len(b) > maxDatagram {
			return b[:end], i
		}
		if !brief {
			voters = own
		}
		c.noteSaid(run, m, sum)
	}
	return b, len(messages)
}

// repeatable reports whether messages of a kind repeat each other.
func repeatable(k seniority.Kind) bool { return k == seniority.Claim || k == seniority.Confirm }

// canBeBrief reports whether the digest of a message says enough.
func (c *conversations) canBeBrief(run uint64, m *ElectionMessage, sum digest) bool {
	if !repeatable(m.Message.Kind) {
		return false
	}
	s := c.said[topic{run, m.Election, m.Message.Kind}]
	if s == nil || s.sum != sum {
		return false
	}
	if m.Message.Kind == seniority.Claim {
		return s.confirmed
	}
	claim := c.heard[heardKey{run, c.newest[topic{run, m.Election, seniority.Claim}]}]
	return claim != nil && claim.last == markOf(&m.Message)
}

// noteSaid notes what has been said.
func (c *conversations) noteSaid(run uint64, m *ElectionMessage, sum digest) {
	if !repeatable(m.Message.Kind) {
		return
	}
	if c.said == nil || len(c.said) >= maxSaid {
		c.said = map[topic]*said{}
	}
	c.said[topic{run, m.Election, m.Message.Kind}] = &said{sum: sum, last: markOf(&m.Message)}
}

// hear reads the entries of a datagram from a run of one member to another. It returns
// their messages, how many repeat what this member has not heard, and how many it cannot
// read, as of a newer version. The error is errMalformed; nothing of the datagram counts
// then.
func (c *conversations) hear(run uint64, b []byte, from, to string) (messages []ElectionMessage, unheard, unread int, err error) {
	entries, unread, err := parseEntries(b)
	if err != nil {
		return nil, 0, 0, err
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
	return messages, unheard, unread, nil
}

// noteHeard notes what another has said whole.
func (c *conversations) noteHeard(run uint64, m *ElectionMessage, e *entry) {
	if !repeatable(m.Message.Kind) {
		return
	}
	what, size := topic{run, m.Election, m.Message.Kind}, keptEach+e.size
	if old := c.heard[heardKey{run, c.newest[what]}]; old != nil {
		c.kept -= old.size
		delete(c.heard, heardKey{run, c.newest[what]})
	}
	if c.heard == nil || c.kept+size > maxKept {
		c.newest, c.heard, c.kept = map[topic]digest{}, map[heardKey]*heard{}, 0
	}
	c.kept += size
	c.newest[what], c.heard[heardKey{run, e.sum}] = e.sum, &heard{ElectionMessage: *m, size: size}
}

// markOf is the place of a claim, or of the one that a confirm answers, among all of its
// claimant.
func markOf(m *seniority.Message) mark { return mark{term: m.Term, seq: m.Seq} }
