package transport

import (
	"encoding/binary"
	"errors"
)

// Without keys anybody's bytes reach memberlist's decoder, which makes room for
// what a message says of its own lengths: thirty bytes can ask for a hundred
// megabytes, and two kilobytes of compression unfold to one. So what is not
// encrypted is held against the shape of what members send before memberlist
// sees it. With keys nothing of a stranger gets as far as a decoder, but for the
// one byte that the seal does not cover.

// memberlist's messages, by their first byte.
const (
	pingMsg = iota
	indirectPingMsg
	ackMsg
	suspectMsg
	aliveMsg
	deadMsg
	pushPullMsg
	compoundMsg
	userMsg
	compressMsg // members send none
	encryptMsg
	nackMsg
	crcMsg
	errMsg
)

const (
	// maxString is the longest string within a message: a meta, with room.
	maxString = 1024
	// maxFields is the longest map or list, maxDepth how deep they nest: a node
	// has seven fields, of which one is a list of six.
	maxFields = 16
	maxDepth  = 2
	// MaxMembers is how many members a group may have, whose states an exchange
	// carries.
	MaxMembers = 8192
	// crcSize is what stands before a message with a checksum.
	crcSize = 5
)

// errShape is returned for what no member has sent.
var errShape = errors.New("not the shape of a message")

// sealVersion is how everything that is encrypted begins. memberlist also opens
// an older form, 0, whose padding it trusts. The seal does not cover this byte:
// a stranger's copy of a packet, with a 0 there, opens and ends the process.
const sealVersion = 1

// source returns the next n bytes of a message. They are good until it is
// called again.
type source func(n int) ([]byte, error)

// bytesOf is the source of a packet, and how much of it is left.
func bytesOf(b []byte) (next source, left func() int) {
	return func(n int) ([]byte, error) {
			if n > len(b) {
				return nil, errShape
			}
			head := b[:n]
			b = b[n:]
			return head, nil
		}, func() int {
			return len(b)
		}
}

// checkPacket reports whether a packet without encryption, behind its label, is
// one that a member may have sent.
func checkPacket(b []byte) error {
	if len(b) >= crcSize && b[0] == crcMsg {
		b = b[crcSize:]
	}
	if len(b) == 0 || b[0] != compoundMsg {
		return checkMessage(b)
	}
	if len(b) < 2 || len(b) < 2+2*int(b[1]) {
		return errShape
	}
	sizes, parts := b[2:2+2*int(b[1])], b[2+2*int(b[1]):]
	for ; len(sizes) > 0; sizes = sizes[2:] {
		n := int(binary.BigEndian.Uint16(sizes))
		if n > len(parts) {
			return errShape
		}
		if err := checkMessage(parts[:n]); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// checkMessage does the same for one message of a packet.
func checkMessage(b []byte) error {
	if len(b) == 0 {
		return errShape
	}
	switch b[0] {
	case userMsg:
		return nil // ours; see receive
	case pingMsg, indirectPingMsg, ackMsg, nackMsg, suspectMsg, aliveMsg, deadMsg:
		next, left := bytesOf(b[1:])
		if err := skip(next, 0); err != nil || left() > 0 {
			return errShape
		}
		return nil
	}
	return errShape
}

// skip reads over one value of MessagePack.
func skip(next source, depth int) error {
	head, err := next(1)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return errShape
	}
	values, size := 0, 0 // what follows: values, or bytes
	switch b := head[0]; {
	case b <= 0x7f, b >= 0xe0, b == 0xc0, b == 0xc2, b == 0xc3: // small integers, nil, booleans
	case b <= 0x8f: // maps
		values = 2 * int(b&0x0f)
	case b <= 0x9f: // lists
		values = int(b & 0x0f)
	case b <= 0xbf: // strings
		size = int(b & 0x1f)
	case b == 0xc4, b == 0xd9: // bytes and strings with a length of one byte
		size, err = number(next, 1)
	case b == 0xc5, b == 0xda: // of two
		size, err = number(next, 2)
	case b == 0xcc, b == 0xd0: // integers
		size = 1
	case b == 0xcd, b == 0xd1:
		size = 2
	case b == 0xce, b == 0xd2:
		size = 4
	case b == 0xcf, b == 0xd3:
		size = 8
	default: // longer ones, fractions and extensions, which no member sends
		return errShape
	}
	if err != nil {
		return err
	}
	if size > maxString || values > 2*maxFields {
		return errShape
	}
	if _, err := next(size); err != nil {
		return err
	}
	for range values {
		if err := skip(next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// number reads a big-endian number of so many bytes.
func number(next source, size int) (int, error) {
	b, err := next(size)
	n := 0
	for _, d := range b {
		n = n<<8 | int(d)
	}
	return n, err
}

// checkStream reads one message of a connection without encryption, whole, and
// reports whether a member may have sent it.
func checkStream(next source) error {
	kind, err := next(1)
	if err != nil {
		return err
	}
	switch kind[0] {
	case pingMsg, ackMsg, errMsg:
		return skip(next, 0)
	case encryptMsg:
		return nil // memberlist answers at once that it has no keys
	case pushPullMsg:
		nodes, greeting, err := exchangeHead(next)
		if err != nil {
			return err
		}
		for range nodes {
			if err := skip(next, 0); err != nil {
				return err
			}
		}
		_, err = next(greeting)
		return err
	}
	return errShape
}

// checkSealedPacket reports whether a packet may be an encrypted one.
func checkSealedPacket(b []byte) error {
	if len(b) == 0 || b[0] != sealVersion {
		return errShape
	}
	return nil
}

// checkSealedStream refuses what is longer than it should be, and what no
// member encrypts. What is not encrypted memberlist refuses itself, and tells
// the caller why.
func checkSealedStream(next source) error {
	kind, err := next(1)
	if err != nil || kind[0] != encryptMsg {
		return err
	}
	size, err := number(next, 4)
	switch {
	case err != nil:
		return err
	case size > maxExchange:
		return errTooLong
	}
	version, err := next(1)
	if err == nil {
		err = checkSealedPacket(version)
	}
	return err
}

// exchangeHead reads what an exchange of states begins with: a map with the
// number of nodes that follow and the length of the greeting behind them.
func exchangeHead(next source) (nodes, greeting int, err error) {
	head, err := next(1)
	if err != nil {
		return 0, 0, err
	}
	if head[0]&0xf0 != 0x80 {
		return 0, 0, errShape
	}
	for range head[0] & 0x0f {
		key, err := word(next)
		if err != nil {
			return 0, 0, err
		}
		switch key {
		case "Nodes":
			nodes, err = count(next)
		case "UserStateLen":
			greeting, err = count(next)
		case "Join":
			err = skip(next, 1)
		default:
			err = errShape
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if nodes > 2*MaxMembers || greeting > MaxPacket {
		return 0, 0, errShape
	}
	return nodes, greeting, nil
}

// word reads a string of at most 31 bytes.
func word(next source) (string, error) {
	head, err := next(1)
	if err != nil {
		return "", err
	}
	if head[0]&0xe0 != 0xa0 {
		return "", errShape
	}
	text, err := next(int(head[0] & 0x1f))
	return string(text), err
}

// count reads an integer that is not negative.
func count(next source) (int, error) {
	head, err := next(1)
	if err != nil {
		return 0, err
	}
	switch b := head[0]; {
	case b <= 0x7f:
		return int(b), nil
	case b == 0xcc, b == 0xd0:
		return number(next, 1)
	case b == 0xcd, b == 0xd1:
		return number(next, 2)
	case b == 0xce, b == 0xd2:
		return number(next, 4)
	}
	return 0, errShape
}
