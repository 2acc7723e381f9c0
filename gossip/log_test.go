package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
	"doyen/gossip/transport"
	"doyen/seniority"
)

// Nothing that is no member's will gets past, and nothing panics.
func FuzzWill(f *testing.F) {
	var n simnet.Network
	g := newMember(f, Config{Transport: n.Host()})
	f.Add(g.Will("", &seniority.Message{Kind: seniority.Release, From: "a", Will: [32]byte{1}}))
	f.Add([]byte{transport.WillByte, 0})
	head := append([]byte{transport.WillByte, byte(len(g.mux.Label()))}, g.mux.Label()...)
	f.Add(append(append(head, electionByte, 255), make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, packet []byte) {
		g.takeWill(bytes.Clone(packet))
		if got := received(g); len(got) > 0 {
			t.Fatalf("want no will of a stranger, got %+v", got)
		}
	})
}

func FuzzMessage(f *testing.F) {
	var n simnet.Network
	g := newMember(f, Config{Transport: n.Host(), Name: "self"})
	g.members.begin(Peer{Member: seniority.Member{Name: "self", Incarnation: 6}}, 0)
	g.members.put(Peer{Member: seniority.Member{Name: "a", Addr: here, Incarnation: 5}})
	claim := &ElectionMessage{"web", seniority.Message{Kind: seniority.Claim, From: "a", Term: 1}}
	f.Add(seniority.AppendMessage([]byte{gossipByte}, &claim.Message))
	f.Add(seniority.AppendMessage(appendName([]byte{electionByte}, "web"), &claim.Message))
	direct, _ := new(conversations).say(6, []byte("m\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01\x01a"), []*ElectionMessage{claim})
	f.Add(direct)
	f.Add(append(append([]byte{directByte}, make([]byte, stampSize-1)...), append([]byte{255}, make([]byte, 300)...)...))
	f.Add(append([]byte{electionByte, 255}, make([]byte, 300)...))
	f.Add([]byte("b\x00\x00\x00\x00\x00\x00\x00\x05a"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g.receive(bytes.Clone(b))
		for _, m := range received(g) {
			if m.Gossiped != (b[0] != directByte) || m.From != "a" {
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
		{"[INFO] memberlist: Suspect a has failed\n", `level=DEBUG msg="Suspect a has failed" from=memberlist`},
		{"[WARN] memberlist: odd\n", `level=DEBUG msg=odd from=memberlist`},
		{"[ERR] memberlist: bad\n", `level=DEBUG msg=bad from=memberlist`},
		{"no level\n", `level=DEBUG msg="no level" from=memberlist`},
		{"[ERR] memberlist: a \x1b[2J name\n", "level=DEBUG msg=\"a \uFFFD[2J name\" from=memberlist"},
		{"[ERR] memberlist: " + strings.Repeat("x", 299) + "é\xff\n", "level=DEBUG msg=" + strings.Repeat("x", 299) + "… from=memberlist"},
		{"[ERR] memberlist: \xff\u202e\u009b1m\n", "level=DEBUG msg=\"\uFFFD\uFFFD\uFFFD1m\" from=memberlist"},
	} {
		var out bytes.Buffer
		w := &memberlistLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), findings: &findings.Record{}}
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
		"lines of many kinds": {func(i int) string { return fmt.Sprintf("%d is what a stranger says", i) }, logTotal + 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			w := &memberlistLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), findings: &findings.Record{}}
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
				g.findings.Count("packet-unknown")
			}
			g.findings.Count("foreign-program")
			time.Sleep(summaryEvery)
		}
		time.Sleep(summaryEvery / 2)
		for range findings.SummaryLeast {
			g.Send(ElectionMessage{Message: seniority.Message{Kind: seniority.Claim, From: "a", To: "gone"}})
		}
		if got := g.Counters()["send-unknown-member"]; got != findings.SummaryLeast {
			t.Errorf("want each message to a member that is not there counted, got %d", got)
		}
		count(findings.SummaryLeast - 2)
		if got := log.String(); got != "" {
			t.Errorf("want no line for little, got %s", got)
		}
		for range 3 {
			count(findings.SummaryLeast)
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
	l := &findings.Record{}
	var got []string
	w := &memberlistLog{log: slog.New(slog.DiscardHandler), findings: l, doubt: func(member string) { got = append(got, "tcp-only "+member) }}
	for _, line := range []string{
		"[WARN] memberlist: Was able to connect to b over TCP but UDP probes failed, network may be misconfigured",
		"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.9:4000",
		"[ERR] memberlist: failed to receive: no installed keys could decrypt the message from=10.0.0.9:33333",
		"[ERR] memberlist: failed to receive: EOF from=10.0.0.8:33333",
	} {
		fmt.Fprint(w, line)
	}
	want := []string{"tcp-only b", "undecryptable 10.0.0.9"}
	for _, f := range l.Current() {
		got = append(got, f.What+" "+f.Member)
	}
	if fmt.Sprint(got) != fmt.Sprint([]string{want[0], want[1]}) {
		t.Errorf("want %v, got %v", want, got)
	}
}
