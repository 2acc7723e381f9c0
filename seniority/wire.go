package seniority

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The wire format of a message: a version, the kind, then its fields in the
// order of Message. Integers are varints, strings and lists are preceded by
// their length. Nothing is allocated before its length has been checked
// against what is there, and this program writes a message in one way only.
//
// A newer program may add fields at the end, flags, reasons and kinds, and change
// nothing else: a reader passes over bytes after the fields and flags that it does
// not know, takes an unknown reason for none that it must act on, and counts a
// message of an unknown kind. So it never refuses a vote to another version. The
// version byte stays as long as that suffices.
const (
	wireVersion = 1
	// MaxName is the longest name of a member, in bytes.
	MaxName = 255
	// MaxMessage bounds the encoding of a message, in bytes: a list of voters
	// as long as may be, all with the longest name.
	MaxMessage = 1024 + (places+4)*(MaxName+2)
	// MaxDuration is the longest duration in a message, some 146 years.
	MaxDuration time.Duration = 1 << 62
)

// errTruncated is returned for input that ends too early.
var errTruncated = errors.New("message is truncated")

// AppendMessage appends the encoding of m to b.
func AppendMessage(b []byte, m *Message) []byte {
	b = append(b, wireVersion, byte(m.Kind))
	b = appendString(b, m.From)
	b = appendString(b, m.To)
	b = binary.AppendUvarint(b, m.Incarnation)
	b = binary.AppendUvarint(b, m.Term)
	b = binary.AppendUvarint(b, m.Seq)
	b = binary.AppendUvarint(b, uint64(m.Lease))
	b = appendString(b, m.Voter)
	b = binary.AppendUvarint(b, uint64(len(m.Voters)))
	for _, v := range m.Voters {
		b = appendString(b, v)
	}
	switch m.Kind {
	case Claim:
		flags := byte(0)
		if m.Met {
			flags |= 1
		}
		if m.Watch {
			flags |= 2
		}
		if m.Deaf {
			flags |= 4
		}
		if m.Log != (Log{}) {
			flags |= 8
		}
		if m.Minority {
			flags |= 16
		}
		if m.Lasted != 0 {
			flags |= 32
		}
		b = append(b, byte(m.Stand), flags)
		b = binary.AppendUvarint(b, uint64(m.Held))
		b = appendJoin(b, m.Join)
		b = appendJoin(b, m.Given)
		b = append(b, m.Will[:]...)
		if m.Log != (Log{}) {
			b = binary.AppendUvarint(binary.AppendUvarint(b, m.Log.Term), m.Log.Index)
		}
		if m.Lasted != 0 {
			b = binary.AppendUvarint(b, uint64(m.Lasted))
		}
	case Object:
		met := byte(0)
		if m.Met {
			met = 1
		}
		b = append(b, byte(m.Reason), met)
		b = binary.AppendUvarint(b, uint64(m.Held))
		b = binary.AppendUvarint(b, m.Known)
		b = appendString(b, m.Leader)
	case Echo:
		b = binary.AppendUvarint(b, m.Hears)
	case Release:
		b = append(b, byte(m.Reason))
		b = appendString(b, m.Leader)
		b = append(b, m.Will[:]...)
	}
	return b
}

// ParseMessage is the inverse of AppendMessage, of a newer program's too: it passes
// over fields and flags that it does not know. The error names what is wrong with
// input that no AppendMessage can have made.
func ParseMessage(b []byte) (Message, error) {
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != wireVersion {
		return Message{}, fmt.Errorf("message of version %d, this program speaks %d", v, wireVersion)
	}
	m := Message{Kind: Kind(d.byte())}
	m.From = d.string()
	m.To = d.string()
	m.Incarnation = d.uint()
	m.Term = d.uint()
	m.Seq = d.uint()
	m.Lease = d.duration()
	m.Voter = d.string()
	if n := d.uint(); n > 0 {
		if n >= places || n > uint64(len(d.b)) {
			d.fail(fmt.Errorf("message with a list of %d voters", n))
		} else {
			m.Voters = make([]string, n)
			for i := range m.Voters {
				m.Voters[i] = d.string()
			}
		}
	}
	switch m.Kind {
	case Claim:
		m.Stand = Stand(d.byte())
		flags := d.byte()
		m.Met, m.Watch, m.Deaf, m.Minority = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&16 != 0
		m.Held = d.duration()
		m.Join = d.join()
		m.Given = d.join()
		d.hash(&m.Will)
		if flags&8 != 0 {
			m.Log = Log{Term: d.uint(), Index: d.uint()}
		}
		if flags&32 != 0 {
			m.Lasted = d.duration()
		}
		if d.err == nil && int(m.Stand) >= len(standNames) {
			return Message{}, fmt.Errorf("claim with stand %d", m.Stand)
		}
	case Confirm, Probe:
	case Echo:
		m.Hears = d.uint()
	case Object:
		m.Reason = Reason(d.byte())
		m.Met = d.byte()&1 != 0
		m.Held = d.duration()
		m.Known = d.uint()
		m.Leader = d.string()
	case Release:
		m.Reason = Reason(d.byte())
		m.Leader = d.string()
		d.hash(&m.Will)
	default:
		d.fail(fmt.Errorf("message of unknown kind %d", uint8(m.Kind)))
	}
	if d.err != nil {
		return Message{}, d.err
	}
	return m, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendJoin(b []byte, j Join) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, j.Group), j.Number)
}

// decoder reads a message; after the first error it returns zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n == 0:
		d.fail(errTruncated)
		return 0
	case n < 0 || n > 1 && d.b[n-1] == 0:
		d.fail(errors.New("message with an integer that is too long"))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) duration() time.Duration {
	v := d.uint()
	if v > uint64(MaxDuration) {
		d.fail(fmt.Errorf("message with a duration of %d ns", v))
		return 0
	}
	return time.Duration(v)
}

func (d *decoder) string() string {
	n := d.uint()
	switch {
	case d.err != nil:
		return ""
	case n > MaxName:
		d.fail(fmt.Errorf("message with a name of %d bytes, the most is %d", n, MaxName))
		return ""
	case n > uint64(len(d.b)):
		d.fail(errTruncated)
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) join() Join { return Join{Group: d.uint(), Number: d.uint()} }

func (d *decoder) hash(h *[32]byte) {
	if len(d.b) < len(h) {
		d.fail(errTruncated)
		return
	}
	copy(h[:], d.b)
	d.b = d.b[len(h):]
}
