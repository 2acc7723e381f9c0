package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"

	"github.com/hashicorp/memberlist"
)

var here = netip.MustParseAddrPort("10.0.0.1:4000")

// portOf is a port of the group "doyen" on a simulated network, which does not read.
func portOf(n *simnet.Network) *Port {
	return New(Config{
		Inner: n.Host(), Addr: net.TCPAddrFromAddrPort(here), Label: "doyen",
		ClusterOf: func(label string) (string, bool) { return strings.CutPrefix(label, "doyen/") },
		Findings:  &findings.Record{}, Others: func() int { return 0 },
		Will: func([]byte) {}, Ask: func(net.Conn) {},
		Route: func(a memberlist.Address) memberlist.Address { return a },
	})
}

// script is a connection on which these bytes arrive, and then the end.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(p []byte) (int, error)      { return s.Reader.Read(p) }
func (s script) SetReadDeadline(time.Time) error { return nil }
func (s script) RemoteAddr() net.Addr            { return net.TCPAddrFromAddrPort(here) }

func FuzzStreamHeader(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1", "\xf4\x05doyen...", "\xd9\x05doyen\x00", "\xda\x05doyen", "\x00", "\xf4\xff", "\x16\x03\x01"} {
		f.Add([]byte(s))
	}
	var n simnet.Network
	m := portOf(&n)
	f.Fuzz(func(t *testing.T, input []byte) {
		r := bytes.NewReader(input)
		head, err := m.identify(script{Reader: r})
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(append(bytes.Clone(head), rest...), input) {
			t.Fatalf("want nothing lost of %q, got %q and %q", input, head, rest)
		}
		if b := head[0]; (b == LabelByte || b == AskByte) && string(head[1:]) != "\x05doyen" {
			t.Fatalf("want only this cluster's label, got %q", head)
		}
	})
}

func FuzzPacket(f *testing.F) {
	var n simnet.Network
	m := portOf(&n)
	m.Start()
	f.Add([]byte("\xf4\x05doyen\x08rest"))
	f.Add([]byte("\xf4\x03abcd"))
	f.Add([]byte("\xda\x05doyen"))
	f.Add([]byte{1, 2})
	f.Fuzz(func(t *testing.T, packet []byte) {
		m.packet(&memberlist.Packet{Buf: bytes.Clone(packet), From: net.UDPAddrFromAddrPort(here)})
		select {
		case p := <-m.packets:
			if !strings.HasPrefix(string(p.Buf), "\xf4\x05doyen") {
				t.Fatalf("want only this group's packets passed on, got %q", p.Buf)
			}
		default:
		}
	})
}

// So many connections may not have said yet what they are: one more takes the place of
// the oldest.
func TestUndecidedConnectionsAreBounded(t *testing.T) {
	var n simnet.Network
	m := portOf(&n)
	var callers []net.Conn
	for range maxUndecided + 1 {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		if _, ok := m.enter(theirs); !ok {
			t.Fatal("a connection is refused")
		}
		callers = append(callers, ours)
	}
	if got := m.undecided.Len(); got != maxUndecided {
		t.Errorf("want %d connections kept, got %d", maxUndecided, got)
	}
	for i, want := range []error{io.EOF, os.ErrDeadlineExceeded} {
		callers[i].SetReadDeadline(time.Now())
		if _, err := callers[i].Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("connection %d: want %v, got %v", i, want, err)
		}
	}
}

// So many HTTP connections are open at a time, and each that ends gives its place back.
func TestHTTPConnectionsAreBounded(t *testing.T) {
	var n simnet.Network
	m := portOf(&n)
	web := m.HTTP()
	offer := func() (taken bool) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		before := m.cfg.Findings.Totals()["http-full"]
		m.web(theirs, []byte("G"))
		return m.cfg.Findings.Totals()["http-full"] == before
	}
	for round := range 2 {
		var open []net.Conn
		for range maxHTTP {
			if !offer() {
				t.Fatalf("round %d: one is refused with %d open", round, len(open))
			}
			c, err := web.Accept()
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		if offer() {
			t.Errorf("round %d: want the one beyond %d refused", round, maxHTTP)
		}
		for _, c := range open {
			c.Close()
		}
	}
}

// The dials that failed are kept for the joiner, and not without end.
func TestFailedDialsAreBounded(t *testing.T) {
	var n simnet.Network
	m := portOf(&n)
	for i := range MaxMembers + 10 {
		to := fmt.Sprintf("10.%d.%d.%d:1", 1+i>>16, i>>8&255, i&255)
		if _, err := m.Dial(memberlist.Address{Addr: to}, time.Second); err == nil || m.LastDial(to) != err {
			t.Fatalf("%s: want the error kept, got %v and %v", to, err, m.LastDial(to))
		}
	}
	if got := len(m.failed); got > MaxMembers {
		t.Errorf("want %d at most, got %d", MaxMembers, got)
	}
}
