package gossip

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"doyen/gossip/simnet"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

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
	m := newMux(n.Host(), "doyen", &ledger{})
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
		if b := head[0]; (b == labelByte || b == askByte) && string(head[1:]) != "\x05doyen" {
			t.Fatalf("want only this cluster's label, got %q", head)
		}
	})
}

func FuzzPacket(f *testing.F) {
	var n simnet.Network
	g := newMember(f, Config{Transport: n.Host()})
	g.mux.started.Store(true)
	will, _ := g.Will(&seniority.Message{Kind: seniority.Release, From: "a", Will: [32]byte{1}})
	f.Add(will)
	f.Add([]byte("\xf4\x0ddoyen/default\x08rest"))
	f.Add([]byte("\xf4\x03abcd"))
	f.Add([]byte{1, 2})
	f.Fuzz(func(t *testing.T, packet []byte) {
		g.mux.packet(&memberlist.Packet{Buf: bytes.Clone(packet), From: net.UDPAddrFromAddrPort(here)})
		select {
		case p := <-g.mux.packets:
			if !strings.HasPrefix(string(p.Buf), "\xf4\x0ddoyen/default") {
				t.Fatalf("want only this cluster's packets passed on, got %q", p.Buf)
			}
		default:
		}
		if got := received(g); len(got) > 0 {
			t.Fatalf("want no will of a stranger, got %+v", got)
		}
	})
}

func FuzzMessage(f *testing.F) {
	var n simnet.Network
	g := newMember(f, Config{Transport: n.Host(), Name: "self"})
	g.roster.put(Peer{Member: seniority.Member{Name: "a", Addr: here, Incarnation: 5}})
	for _, kind := range []byte{directByte, gossipByte} {
		f.Add(seniority.AppendMessage([]byte{kind}, &seniority.Message{Kind: seniority.Claim, From: "a", Term: 1}))
	}
	f.Add([]byte("b\x00\x00\x00\x00\x00\x00\x00\x05a"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g.receive(bytes.Clone(b))
		for _, m := range received(g) {
			if m.Gossiped != (b[0] == gossipByte) || m.Gossiped && m.From != "a" {
				t.Fatalf("want gossip of members only, and told from the rest, got %+v of %q", m, b)
			}
		}
	})
}

func TestMemberlistsLogBecomesOurs(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"[DEBUG] memberlist: Stream connection from=1.2.3.4:5\n", `level=DEBUG msg="Stream connection from=1.2.3.4:5" from=memberlist`},
		{"[INFO] memberlist: Suspect a has failed\n", `level=INFO msg="Suspect a has failed" from=memberlist`},
		{"[WARN] memberlist: odd\n", `level=INFO msg=odd from=memberlist`},
		{"[ERR] memberlist: bad\n", `level=WARN msg=bad from=memberlist`},
		{"no level\n", `level=INFO msg="no level" from=memberlist`},
		{"[ERR] memberlist: a \x1b[2J name\n", `level=WARN msg="a \x1b[2J name" from=memberlist`},
	} {
		var out bytes.Buffer
		w := &memberlistLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), ledger: &ledger{}}
		if n, err := w.Write([]byte(tc.line)); n != len(tc.line) || err != nil {
			t.Errorf("want the line taken, got %d, %v", n, err)
		}
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), " "); got != tc.want {
			t.Errorf("want %s, got %s", tc.want, got)
		}
	}
}

func TestMemberlistsLogIsHeldBack(t *testing.T) {
	var out bytes.Buffer
	w := &memberlistLog{log: slog.New(slog.NewTextHandler(&out, nil)), ledger: &ledger{}}
	for i := range 1000 {
		fmt.Fprintf(w, "[ERR] memberlist: discarding packet with unacceptable label %d", i)
	}
	fmt.Fprint(w, "[ERR] memberlist: something else")
	if got := strings.Count(out.String(), "\n"); got != logBurst+2 {
		t.Errorf("want %d lines, a word that more are held back, and the other, got %d:\n%s", logBurst, got, out.String())
	}
}

// The lines are those that memberlist writes; see also the tests of the keys.
func TestLinesThatTellSomething(t *testing.T) {
	l := &ledger{}
	w := &memberlistLog{log: slog.New(slog.DiscardHandler), ledger: l}
	for _, line := range []string{
		"[WARN] memberlist: Was able to connect to b over TCP but UDP probes failed, network may be misconfigured",
		"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.9:4000",
		"[ERR] memberlist: failed to receive: no installed keys could decrypt the message from=10.0.0.9:33333",
		"[ERR] memberlist: failed to receive: EOF from=10.0.0.8:33333",
	} {
		fmt.Fprint(w, line)
	}
	want := []string{"udp-blocked b", "undecryptable 10.0.0.9"}
	var got []string
	for _, f := range l.current() {
		got = append(got, f.What+" "+f.Member)
	}
	if fmt.Sprint(got) != fmt.Sprint([]string{want[0], want[1]}) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	l := &ledger{}
	for i := range 10 * maxFindings {
		l.find(foundForeign, fmt.Sprint(i), "evidence")
	}
	if got := len(l.current()); got != maxFindings {
		t.Errorf("want %d findings, got %d", maxFindings, got)
	}
}
