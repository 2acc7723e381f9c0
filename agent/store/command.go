package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"unicode"
	"unicode/utf8"
)

// Op is what a command does to a key.
type Op byte

// The operations. Their numbers are on disk and on the wire.
const (
	OpPut Op = iota + 1
	OpCreate
	OpAppend
	OpDelete
	opLead // an election is led under a term
)

var opNames = map[Op]string{OpPut: "put", OpCreate: "create", OpAppend: "append", OpDelete: "delete", opLead: "lead"}

// String returns the name that logs and the change log use.
func (o Op) String() string { return opNames[o] }

// The limits of a command.
const (
	// MaxKey and MaxValue are the longest key and value, in bytes.
	MaxKey, MaxValue = 255, 512 << 10
	// MaxRequest is the longest request id, in bytes.
	MaxRequest = 128
	// MaxSize is what all keys and values may be together, in bytes.
	MaxSize = 64 << 20
)

// Command is one change to be ordered.
type Command struct {
	Op    Op
	Key   string
	Value []byte
	// IfVersion, if not 0, is the only version at which the key may be changed.
	IfVersion uint64
	// Request, if any, is applied once, however often it is proposed.
	Request string
	// Fence, if not 0, is the term under which FenceElection was led when the
	// change was decided on: it is refused under a higher one.
	Fence         uint64
	FenceElection string

	// term and election are of opLead.
	term     uint64
	election string
	// proposal tells the proposer which answer is its own.
	proposal uint64
}

// Check reports what no store would take, in a sentence that names the key.
func (c *Command) Check() error {
	if err := CheckKey(c.Key); err != nil {
		return err
	}
	switch {
	case len(c.Value) > MaxValue:
		return &Error{Kind: TooLarge, Text: fmt.Sprintf("%s: a value of %d bytes is longer than %d", c.Key, len(c.Value), MaxValue)}
	case c.Fence == 0 && c.FenceElection != "":
		return &Error{Kind: Bad, Text: c.Key + ": an election is named for a fence, and there is no fence"}
	case len(c.Request) > MaxRequest:
		return &Error{Kind: Bad, Text: fmt.Sprintf("%s: a request id of %d bytes is longer than %d", c.Key, len(c.Request), MaxRequest)}
	}
	return nil
}

// CheckKey reports what is wrong with a key.
func CheckKey(key string) error {
	switch {
	case key == "":
		return &Error{Kind: Bad, Text: "a key is empty"}
	case len(key) > MaxKey:
		return &Error{Kind: TooLarge, Text: fmt.Sprintf("a key of %d bytes is longer than %d", len(key), MaxKey)}
	case !utf8.ValidString(key):
		return &Error{Kind: Bad, Text: fmt.Sprintf("the key %q is not UTF-8", key)}
	}
	for _, r := range key {
		if unicode.IsControl(r) {
			return &Error{Kind: Bad, Text: fmt.Sprintf("the key %q has a control character", key)}
		}
	}
	return nil
}

// sum stands for what the command asks for, in the memory of requests: one whose id
// is used for another change is refused.
func (c *Command) sum() uint64 {
	asks := Command{Op: c.Op, Key: c.Key, Value: c.Value, IfVersion: c.IfVersion}
	h := fnv.New64a()
	h.Write(asks.encode())
	return h.Sum64() | 1
}

// encode is the inverse of decodeCommand.
func (c *Command) encode() []byte {
	b := make([]byte, 0, 64+len(c.Key)+len(c.Value)+len(c.Request))
	b = append(b, 1, byte(c.Op)) // 1: the first format
	b = appendText(b, c.Key)
	b = appendText(b, c.Value)
	b = binary.AppendUvarint(b, c.IfVersion)
	b = appendText(b, c.Request)
	b = binary.AppendUvarint(b, c.Fence)
	b = appendText(b, c.FenceElection)
	b = binary.AppendUvarint(b, c.term)
	b = appendText(b, c.election)
	return binary.AppendUvarint(b, c.proposal)
}

// errNewer is returned for a command that a newer program has written. Passed over
// in part it would make the copies of the voters differ, so a replica stops at it.
// A leader may order such a command only once every voter's program knows it.
var errNewer = errors.New("a newer version has written it, and this one does not know it")

func decodeCommand(b []byte) (Command, error) {
	if len(b) < 2 || b[0] != 1 || b[1] == 0 || Op(b[1]) > opLead {
		return Command{}, errNewer
	}
	c, r := Command{Op: Op(b[1])}, reader{rest: b[2:]}
	c.Key, c.Value = r.text(), r.bytes()
	c.IfVersion = r.number()
	c.Request = r.text()
	c.Fence, c.FenceElection = r.number(), r.text()
	c.term, c.election = r.number(), r.text()
	c.proposal = r.number()
	if r.err == nil && len(r.rest) > 0 {
		return Command{}, errNewer
	}
	return c, r.err
}

// appendText appends the length of s, and s.
func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader reads what was appended; after the first fault it returns zero values.
type reader struct {
	rest []byte
	err  error
}

var errShort = errors.New("it ends too early")

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.err, r.rest = errShort, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.err, r.rest = errShort, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }
