package transport

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// headOf is the beginning of an exchange that announces so many nodes and so
// long a greeting, each as four bytes.
func headOf(nodes, greeting uint32) string {
	number := func(n uint32) string {
		return string([]byte{0xce, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return "\x06\x83\xa4Join\xc2\xa5Nodes" + number(nodes) + "\xacUserStateLen" + number(greeting)
}

func TestShapeOfPackets(t *testing.T) {
	ping := "\x00\x82\xa5SeqNo\x07\xa4Node\xa1a"
	two := "\x07\x02\x00" + string(rune(len(ping))) + "\x00\x02" + ping + "\x08x"
	for _, tc := range []struct {
		name, packet string
		ok           bool
	}{
		{"a ping", ping, true},
		{"one of ours", "\x08anything", true},
		{"with a checksum", "\x0cabcd" + ping, true},
		{"two in one", two, true},
		{"two in one, with a checksum", "\x0cabcd" + two, true},
		{"empty", "", false},
		{"a checksum of nothing", "\x0cabcd", false},
		{"cut short", ping[:len(ping)-1], false},
		{"with more behind it", ping + "x", false},
		{"compressed", "\x09\x82\xa4Algo\x00\xa3Buf\xa1x", false},
		{"compressed within another", "\x07\x01\x00\x02\x09x", false},
		{"nested", "\x07\x01\x00\x05\x07\x01\x00\x01x", false},
		{"parts cut short", two[:len(two)-1], false},
		{"sizes cut short", "\x07\x02\x00", false},
		{"an exchange", headOf(0, 0), false},
		{"an extension of four gigabytes", "\x00\x81\xa1x\xc9\xff\xff\xff\xf0\x05", false},
		{"bytes of four gigabytes", "\x00\x81\xa1x\xc6\xff\xff\xff\xf0", false},
		{"a string longer than any", "\x00\x81\xa1x\xda\x04\x01" + strings.Repeat("x", 1025), false},
		{"a list of four billion", "\x00\xdd\xff\xff\xff\xff", false},
		{"nested deeply", "\x00" + strings.Repeat("\x91", 1000) + "\x01", false},
		{"a fraction", "\x00\xcb12345678", false},
	} {
		if err := checkPacket([]byte(tc.packet)); (err == nil) != tc.ok {
			t.Errorf("%s: want it taken: %v, got %v", tc.name, tc.ok, err)
		}
	}
}

func TestShapeOfStreams(t *testing.T) {
	node := "\x81\xa4Name\xa1a"
	for _, tc := range []struct {
		name, stream string
		err          error
	}{
		{"an exchange", headOf(2, 3) + node + node + "abc", nil},
		{"a ping", "\x00\x81\xa5SeqNo\x07", nil},
		{"the answer to one", "\x02\x81\xa5SeqNo\x07", nil},
		{"an error", "\x0d\x81\xa5Error\xa3why", nil},
		{"an encrypted one", "\x0a\xff\xff\xff\xff", nil}, // memberlist says that it has no keys
		{"more nodes than there may be", headOf(2*MaxMembers+1, 0), errShape},
		{"a greeting that is too long", headOf(0, MaxPacket+1), errShape},
		{"a message for a delegate", "\x08\x81\xaaUserMsgLen\xce\x01\x31\x2d\x00", errShape},
		{"a compressed one", "\x09\x82\xa4Algo\x00\xa3Buf\xa1x", errShape},
		{"an unknown one", "\x63", errShape},
		{"a head that is no map", "\x06\x93\x01\x02\xc2", errShape},
		{"an unknown field of the head", "\x06\x81\xa4Odd!\x01", errShape},
		{"a negative number of nodes", "\x06\x81\xa5Nodes\xff", errShape},
		{"a name of four gigabytes", headOf(1, 0) + "\x81\xa4Name\xdb\xff\xff\xff\xf0", errShape},
	} {
		c := &conn{Conn: script{Reader: strings.NewReader(tc.stream)}, check: checkStream}
		got, err := c.Read(make([]byte, len(tc.stream)))
		if !errors.Is(err, tc.err) || err == nil && got != len(tc.stream) {
			t.Errorf("%s: want %v, got %d bytes and %v", tc.name, tc.err, got, err)
		}
	}
	for name, tc := range map[string]struct {
		stream string
		err    error
	}{
		"not encrypted, for memberlist to answer": {"\x06anything", nil},
		"encrypted":                    {"\x0a\x00\x00\x00\x06\x01hello", nil},
		"encrypted and far too long":   {"\x0a\x01\x00\x00\x00", errTooLong},
		"encrypted, of unknown length": {"\x0a\x01", errShape},
		"encrypted in the old form":    {"\x0a\x00\x00\x00\x06\x00hello", errShape},
	} {
		c := &conn{Conn: script{Reader: strings.NewReader(tc.stream)}, check: checkSealedStream}
		if _, err := c.Read(make([]byte, 100)); (err == nil) != (tc.err == nil) {
			t.Errorf("%s, with keys: want %v, got %v", name, tc.err, err)
		}
	}
}

func FuzzShape(f *testing.F) {
	f.Add([]byte("\x00\x82\xa5SeqNo\x07\xa4Node\xa1a"))
	f.Add([]byte("\x0cabcd\x07\x02\x00\x02\x00\x02\x08x\x08x"))
	f.Add([]byte(headOf(1, 3) + "\x81\xa4Name\xa1aabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = checkPacket(b)
		c := &conn{Conn: script{Reader: bytes.NewReader(b)}, check: checkStream}
		var got []byte
		for buf := make([]byte, 64); ; {
			n, err := c.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				break
			}
		}
		if len(got) > 0 && !bytes.Equal(got, b) {
			t.Fatalf("want nothing lost of %q, got %q", b, got)
		}
	})
}
