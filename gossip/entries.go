package gossip

import (
	"encoding/binary"
	"time"

	"doyen/seniority"
)

// A datagram to one member has the stamp (replay.go), the sender's name, and entries: a
// kind, the length of what follows, and that:
//
//	v  the sender's own voter entry and its list of voters, for the entries after it
//	w  two numbers, and a text: an election's name, and a message without sender,
//	   receiver, voters and these numbers
//	b  two numbers, and the digest of the voters and the text of an earlier message
//
// The numbers are the message's sequence number and how long the leader has led. A reader
// passes over entries of another kind, and over messages that it cannot read, and counts
// them, so that a newer version may have others.
const (
	votersEntry = 'v'
	wholeEntry  = 'w'
	briefEntry  = 'b'
)

// entry is one message of a datagram. Of a brief one, sum is the digest of what it
// repeats, and the message has the two numbers alone; else sum is its own digest, and
// size what its texts take in memory.
type entry struct {
	ElectionMessage
	brief bool
	sum   digest
	size  int
}

// appendVoters appends what a message says of voters.
func appendVoters(b []byte, m *seniority.Message) []byte {
	b = binary.AppendUvarint(appendName(b, m.Voter), uint64(len(m.Voters)))
	for _, v := range m.Voters {
		b = appendName(b, v)
	}
	return b
}

// appendBare appends the text of a message.
func appendBare(b []byte, m *ElectionMessage) []byte {
	short := m.Message
	short.From, short.To, short.Voter, short.Voters, short.Seq, short.Held = "", "", "", nil, 0, 0
	return seniority.AppendMessage(appendName(b, m.Election), &short)
}

// appendEntry appends an entry with the two numbers of a message, if it has one, before
// what it says.
func appendEntry(b []byte, kind byte, says []byte, m *seniority.Message) []byte {
	var numbers []byte
	if m != nil {
		numbers = binary.AppendUvarint(binary.AppendUvarint(nil, m.Seq), uint64(m.Held))
	}
	b = binary.AppendUvarint(append(b, kind), uint64(len(numbers)+len(says)))
	return append(append(b, numbers...), says...)
}

// parseEntries reads the entries of a datagram, and counts those that it cannot read.
func parseEntries(b []byte) (entries []entry, unread int, err error) {
	voters := appendVoters(nil, &seniority.Message{})
	for len(b) > 0 {
		kind := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return nil, 0, errMalformed
		}
		body := b[1+n : 1+n+int(size)]
		b = b[1+n+int(size):]
		var e entry
		switch ok := false; kind {
		case votersEntry:
			voters = body
			continue
		case briefEntry:
			body, ok = e.takeNumbers(body)
			e.brief = true
			if !ok || copy(e.sum[:], body) < len(e.sum) {
				return nil, 0, errMalformed
			}
		case wholeEntry:
			if body, ok = e.takeNumbers(body); !ok {
				return nil, 0, errMalformed
			}
			if !e.takeBare(body) || !e.takeVoters(voters) {
				unread++
				continue
			}
			e.sum = digestOf(voters, body)
			e.size += len(body)
		default:
			unread++
			continue
		}
		if held := e.Message.Held; held < 0 || held > seniority.MaxDuration {
			unread++ // version 0.1.0 writes times before now in some refusals
			continue
		}
		entries = append(entries, e)
	}
	return entries, unread, nil
}

// takeNumbers reads the two numbers of a message.
func (e *entry) takeNumbers(b []byte) (rest []byte, ok bool) {
	seq, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	held, k := binary.Uvarint(b[n:])
	if k <= 0 {
		return nil, false
	}
	e.Message.Seq, e.Message.Held = seq, time.Duration(held)
	return b[n+k:], true
}

// takeBare reads what appendBare has appended.
func (e *entry) takeBare(b []byte) (ok bool) {
	if len(b) > 0 && b[0] == 0 {
		b = b[1:] // the group's own election has no name
	} else if e.Election, b, ok = takeElection(b); !ok {
		return false
	}
	m, err := seniority.ParseMessage(b)
	m.Seq, m.Held = e.Message.Seq, e.Message.Held
	e.Message = m
	return err == nil && m.From == "" && m.To == "" && m.Voter == "" && len(m.Voters) == 0
}

// takeVoters reads what appendVoters has appended.
func (e *entry) takeVoters(b []byte) (ok bool) {
	if e.Message.Voter, b, ok = takeName(b); !ok {
		return false
	}
	count, n := binary.Uvarint(b)
	if b = b[max(n, 0):]; n <= 0 || count > uint64(len(b)) {
		return false
	}
	e.size += len(b) + int(count)*stringSize
	for range count {
		var v string
		if v, b, ok = takeName(b); !ok {
			return false
		}
		e.Message.Voters = append(e.Message.Voters, v)
	}
	return true
}

// stringSize is what a string takes beside its text.
const stringSize = 16
