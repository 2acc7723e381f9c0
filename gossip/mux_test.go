package gossip

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
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
	m := newMux(n.Host(), "doyen", false, &ledger{}, func() int { return 0 })
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
	g.roster.begin(Peer{Member: seniority.Member{Name: "self", Incarnation: 6}}, 0)
	g.roster.put(Peer{Member: seniority.Member{Name: "a", Addr: here, Incarnation: 5}})
	claim := &seniority.Message{Kind: seniority.Claim, From: "a", Term: 1}
	f.Add(seniority.AppendMessage([]byte{gossipByte}, claim))
	f.Add(seniority.AppendMessage([]byte("m\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01"), claim))
	f.Add([]byte("b\x00\x00\x00\x00\x00\x00\x00\x05a"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g.receive(bytes.Clone(b))
		for _, m := range received(g) {
			if m.Gossiped != (b[0] == gossipByte) || m.From != "a" {
				t.Fatalf("want messages of members only, and gossip told from the rest, got %+v of %q", m, b)
			}
		}
		g.receive(bytes.Clone(b))
		if again := received(g); len(again) > 0 {
			t.Fatalf("want no message twice, got %+v of %q", again, b)
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
		{"[ERR] memberlist: a \x1b[2J name\n", "level=WARN msg=\"a \uFFFD[2J name\" from=memberlist"},
		{"[ERR] memberlist: " + strings.Repeat("x", 299) + "é\xff\n", "level=WARN msg=" + strings.Repeat("x", 299) + "… from=memberlist"},
		{"[ERR] memberlist: \xff\u202e\u009b1m\n", "level=WARN msg=\"\uFFFD\uFFFD\uFFFD1m\" from=memberlist"},
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
	for name, tc := range map[string]struct {
		line func(int) string
		want int
	}{
		"lines of one kind":   {func(i int) string { return fmt.Sprintf("discarding packet with unacceptable label %d", i) }, logBurst + 1},
		"lines of many kinds": {func(i int) string { return fmt.Sprintf("%d is what a stranger says", i) }, logTotal[slog.LevelWarn] + 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			w := &memberlistLog{log: slog.New(slog.NewTextHandler(&out, nil)), ledger: &ledger{}}
			for window := range 3 {
				for i := range 1000 {
					fmt.Fprint(w, "[ERR] memberlist: ", tc.line(i))
				}
				if got := strings.Count(out.String(), "\n"); got != (window+1)*tc.want {
					t.Errorf("%s: want %d lines in each window, one of them to say that more are held back, got %d after %d:\n%s", name, tc.want, got, window+1, out.String())
				}
				time.Sleep(logWindow + 1)
			}
		})
	}
}

func TestSummaryOfWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n simnet.Network
		log := newLockedBuffer()
		g := newMember(t, Config{Transport: n.Host(), Log: slog.New(slog.NewTextHandler(log, nil))})
		count := func(n int) {
			for range n {
				g.ledger.count("packet-unknown")
			}
			g.ledger.count("foreign-program")
			time.Sleep(summaryEvery)
		}
		time.Sleep(summaryEvery / 2)
		count(summaryLeast - 2)
		if got := log.String(); got != "" {
			t.Errorf("want no line for little, got %s", got)
		}
		for range 3 {
			count(summaryLeast)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.HasSuffix(lines[0], `level=WARN msg="much was refused on the port" foreign-program=2 packet-unknown=198`) ||
			!strings.HasSuffix(lines[2], "foreign-program=1 packet-unknown=100") {
			t.Errorf("want a line a minute with the counts since the last, got\n%s", log.String())
		}
		g.Close()
	})
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
