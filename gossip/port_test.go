package gossip

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"doyen/gossip/transport"
	"doyen/seniority"
)

// real starts a member on real sockets of the loopback interface.
func real(t testing.TB, c Config) *Gossip {
	t.Helper()
	if c.BindAddr == "" {
		c.BindAddr = "127.0.0.1"
	}
	return start(t, c)
}

func TestPortIsSharedWhileIdleConnectionsSitThere(t *testing.T) {
	a := real(t, Config{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "OK "+r.URL.Path)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.HTTP()) }()

	// More than may be undecided: some say nothing, some begin a label, some
	// begin a request, and none goes on.
	for i := range 3 * 128 {
		c, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([][]byte{nil, {transport.LabelByte, 200}, []byte("G")}[i%3]); err != nil {
			t.Fatal(err)
		}
	}
	b := real(t, Config{Seeds: []string{a.Addr()}})
	eventually(t, "joined", func() bool { return len(a.View().Members) == 2 && len(b.View().Members) == 2 })
	eventually(t, "the oldest undecided are closed", func() bool { return a.Counters()["stream-undecided"] > 0 })

	res, err := http.Get("http://" + a.Addr() + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "OK /ping" || err != nil {
		t.Errorf("want an answer, got %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("want the listener closed with the port, got %v", err)
	}
	srv.Close()
}

func TestHTTPIsRefusedWhereNobodyServesIt(t *testing.T) {
	a := real(t, Config{})
	c, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := bufio.NewReader(c).ReadByte(); err == nil {
		t.Error("want the connection closed")
	}
	if a.Counters()["http-unanswered"] != 1 {
		t.Errorf("want it counted, got %v", a.Counters())
	}
}

func TestRubbishIsCountedByReason(t *testing.T) {
	a := real(t, Config{})
	for _, first := range []byte{0, 1, 12, 200, 'z', transport.LabelByte, transport.WillByte, transport.AskByte} {
		packet := append([]byte{first, 3}, "abc\x00\x01\x02 and so on"...)
		u, err := net.Dial("udp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		u.Write(packet)
		u.Close()
		c, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(packet)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	for reason, n := range map[string]uint64{
		"foreign-program": 9, "packet-unknown": 3, "stream-unknown": 2, "will-malformed": 0, "will-of-other-cluster": 2,
	} {
		eventually(t, reason, func() bool { return a.Counters()[reason] == n })
	}
	if len(a.View().Members) != 1 {
		t.Errorf("want no member, got %v", names(a))
	}
}

// query asks a member until a probe over UDP has got through to it as well: on a busy
// machine one may be answered too late.
func query(t *testing.T, from *Gossip, member string) (answer []byte, err error) {
	t.Helper()
	eventually(t, "UDP gets through to "+member, func() bool {
		var udp bool
		answer, udp, err = from.Query(t.Context(), member)
		return udp
	})
	return answer, err
}

// A member that is frozen has its kernel take a question, and answers none.
func TestNoAnswerInTime(t *testing.T) {
	a := real(t, Config{})
	b := real(t, Config{Seeds: []string{a.Addr()}})
	eventually(t, "joined", func() bool { return len(b.View().Members) == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	frozen := make(chan struct{})
	defer close(frozen)
	a.OnQuery(func(bool) []byte {
		cancel()
		<-frozen
		return nil
	})
	if _, _, err := b.Query(ctx, a.Name()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("want it said that no answer has come in time, got %v", err)
	}
}

func TestAddressFamilies(t *testing.T) {
	if c, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: " + err.Error())
	} else {
		c.Close()
	}
	v6 := real(t, Config{BindAddr: "::1"})
	both := real(t, Config{BindAddr: "::", Seeds: []string{v6.Addr()}, Advertise: "::1"})
	eventually(t, "joined over IPv6", func() bool { return len(v6.View().Members) == 2 && len(both.View().Members) == 2 })
	port := both.AddrPort().Port()
	// It is reached over both families at one port.
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := net.JoinHostPort(host, fmt.Sprint(port))
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("want %s open, got %v", addr, err)
			continue
		}
		c.Close()
	}
	one := real(t, Config{})
	mixed := real(t, Config{BindAddr: "::", Advertise: "127.0.0.1", Seeds: []string{one.Addr()}})
	eventually(t, "joined over IPv4 from a socket of both families", func() bool { return len(mixed.View().Members) == 2 })
	one.OnQuery(func(bool) []byte { return []byte("state") })
	if _, err := query(t, mixed, one.Name()); err != nil {
		t.Errorf("want UDP and TCP to work, got %v", err)
	}
	v4 := real(t, Config{Advertise: "localhost", Resolver: resolver{hosts: map[string][]netip.Addr{"localhost": addrs("::1", "127.0.0.1")}}})
	if want := fmt.Sprintf("localhost:%d", v4.port); v4.Name() != want || v4.AddrPort().Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("want %s at 127.0.0.1, got %s at %s", want, v4.Name(), v4.AddrPort())
	}
	if _, err := net.Dial("tcp", net.JoinHostPort("::1", fmt.Sprint(v4.port))); err == nil {
		t.Error("want a member bound to IPv4 not to listen on IPv6")
	}
}

func TestAskOverGossip(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		c := Config{}
		if keyed {
			c.KeyFile = keyFile(t, "", line(key(32, 9)))
		}
		a := real(t, c)
		c.Seeds = []string{a.Addr()}
		b := real(t, c)
		eventually(t, "joined", func() bool { return len(a.View().Members) == 2 && len(b.View().Members) == 2 })
		if _, err := query(t, b, a.Name()); err == nil || !strings.Contains(err.Error(), "no questions yet") {
			t.Errorf("want no answer before OnAsk, got %v", err)
		}
		long := strings.Repeat("state", 100_000)
		a.OnQuery(func(bool) []byte { return []byte(long) })
		if answer, err := query(t, b, a.Name()); string(answer) != long || err != nil {
			t.Errorf("want the answer over TCP and UDP, got %d bytes, %v", len(answer), err)
		}
		if self, udp, err := a.Query(t.Context(), a.Name()); string(self) != long || !udp || err != nil {
			t.Errorf("want its own answer, got %d bytes, %v, %v", len(self), udp, err)
		}
		if _, _, err := b.Query(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "no member x") {
			t.Errorf("want a stranger named, got %v", err)
		}
		a.Close()
		if _, udp, err := b.Query(t.Context(), a.Name()); err == nil || udp || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("want the dead named, got %v, %v", udp, err)
		}
	}
}

// socketsOf are sockets of the loopback interface, one of which a test closes.
func socketsOf(t *testing.T) *transport.Sockets {
	t.Helper()
	s, err := transport.Listen(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Advertise(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Port()))
	return s
}

func TestAskTellsWhatDoesNotWork(t *testing.T) {
	deaf := socketsOf(t)
	mute := real(t, Config{Transport: deaf})
	mute.OnQuery(func(bool) []byte { return []byte("state") })
	asker := real(t, Config{Seeds: []string{mute.Addr()}})
	eventually(t, "joined", func() bool { return len(asker.View().Members) == 2 })
	deaf.UDP.Close()
	if answer, udp, err := asker.Query(t.Context(), mute.Name()); string(answer) != "state" || udp || err != nil {
		t.Errorf("want an answer over TCP alone, got %q, %v, %v", answer, udp, err)
	}

	closed := socketsOf(t)
	a := real(t, Config{Transport: closed})
	b := real(t, Config{Seeds: []string{a.Addr()}})
	eventually(t, "joined", func() bool { return len(b.View().Members) == 2 })
	closed.TCP.Close()
	if _, err := query(t, b, a.Name()); err == nil || !strings.Contains(err.Error(), "over UDP, but not over TCP") {
		t.Errorf("want the difference told, got %v", err)
	}
}

func TestWillArrivesOverUDPAndTCP(t *testing.T) {
	leader := real(t, Config{})
	a := real(t, Config{Seeds: []string{leader.Addr()}, KeyFile: ""})
	eventually(t, "joined", func() bool { return len(a.View().Members) == 2 && len(leader.View().Members) == 2 })
	will := &seniority.Message{
		Kind: seniority.Release, From: leader.Name(), Incarnation: leader.cfg.Incarnation, Term: 3,
		Reason: seniority.LeaderDied, Will: [32]byte{1, 2, 3},
	}
	packet, targets := leader.Will("", will), leader.WillTargets()
	if len(targets) != 1 || targets[0] != a.AddrPort() {
		t.Fatalf("want the will for %s, got %v", a.AddrPort(), targets)
	}
	leader.Close()
	if err := SendWill(packet, targets); err != nil {
		t.Error(err)
	}
	// As often as it was sent by UDP, and once by TCP.
	for range willSends + 1 {
		select {
		case got := <-a.Messages():
			if m := got.Message; m.Kind != seniority.Release || m.From != leader.Name() || m.Will != will.Will || m.Gossiped {
				t.Errorf("want the will, got %+v", m)
			}
		case <-time.After(patience):
			t.Fatalf("want the will %d times", willSends+1)
		}
	}
	will.Incarnation++
	stale := leader.Will("", will)
	if err := SendWill(stale, targets); err != nil {
		t.Error(err)
	}
	eventually(t, "another run's will is refused", func() bool { return a.Counters()["will-of-stranger"] == willSends+1 })
	eventually(t, "a flood of wills is refused", func() bool {
		for a.wills.take(willBurst, willRate) { // as a flood does
		}
		if err := SendWill(packet, targets); err != nil {
			t.Error(err)
		}
		return a.Counters()["will-flood"] > 0
	})
	if err := SendWill(packet, []netip.AddrPort{leader.AddrPort()}); err == nil {
		t.Error("want to be told that TCP did not get through")
	}
}

// A keeper's word that its member is dead counts for the run whose secret it
// tells, and for no other; a member that lives all the same comes back.
func TestDeathIsTold(t *testing.T) {
	a := real(t, Config{})
	dead := real(t, Config{Seeds: []string{a.Addr()}})
	eventually(t, "joined", func() bool { return len(a.View().Members) == 2 && len(dead.View().Members) == 2 })
	targets := dead.WillTargets()
	tell := func(change func(*seniority.Message)) {
		m := &seniority.Message{Kind: seniority.Release, From: dead.Name(), Incarnation: dead.cfg.Incarnation, Will: dead.deathSecret}
		change(m)
		if err := SendWill(dead.Will("", m), targets); err != nil {
			t.Error(err)
		}
	}
	tell(func(m *seniority.Message) { m.Will[31]++ })
	eventually(t, "another secret is refused", func() bool { return a.Counters()["will-forged"] == willSends+1 })
	tell(func(m *seniority.Message) { m.Incarnation++ })
	eventually(t, "another run is refused", func() bool { return a.Counters()["will-of-stranger"] == willSends+1 })
	if len(a.View().Members) != 2 {
		t.Fatal("want the member still there")
	}
	if err := SendWill(dead.DeathWill(), targets); err != nil {
		t.Error(err)
	}
	select {
	case g := <-a.Gone():
		if want := (Gone{Name: dead.Name(), Incarnation: dead.cfg.Incarnation, Died: true}); g != want {
			t.Errorf("want %+v, got %+v", want, g)
		}
	case <-time.After(patience):
		t.Fatal("want to be told of the death")
	}
	eventually(t, "one that lives is back", func() bool { return len(a.View().Members) == 2 })
}

func TestNothingRunsAfterClose(t *testing.T) {
	a := newMember(t, Config{BindAddr: "127.0.0.1"})
	if got := len(ours()); got == 0 {
		t.Fatal("want goroutines while it is open")
	}
	a.Close()
	eventually(t, "no goroutine is left of a member that never started", func() bool { return len(ours()) == 0 })

	b := real(t, Config{Seeds: []string{"127.0.0.1:1", "exec:/bin/true"}})
	c := real(t, Config{Seeds: []string{b.Addr()}})
	idle, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	eventually(t, "joined", func() bool { return len(b.View().Members) == 2 })
	if err := c.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	for _, g := range []*Gossip{c, b, b} {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		g.SetSelf(seniority.Member{ID: 5}, "")
		g.Send(ElectionMessage{Message: seniority.Message{To: b.Name()}})
		if err := g.Leave(t.Context()); err != nil {
			t.Errorf("want leaving after the end to do nothing, got %v", err)
		}
	}
	eventually(t, "no goroutine is left", func() bool { return len(ours()) == 0 })
}

func TestPortThatCannotBeHad(t *testing.T) {
	a := newMember(t, Config{BindAddr: "127.0.0.1"})
	for _, tc := range []struct {
		c    Config
		want string
	}{
		{Config{BindAddr: "127.0.0.1", BindPort: int(a.port)}, fmt.Sprintf("bind-port %d is taken on 127.0.0.1", a.port)},
		{Config{BindAddr: "192.0.2.200"}, "bind-addr 192.0.2.200 is no address of this host"},
		{Config{BindPort: 70000}, "bind-port of 70000 is not between 0 and 65535"},
		{Config{Name: "a\x00b"}, "name \"a\\x00b\" contains"},
		{Config{Cluster: strings.Repeat("c", 250)}, "cluster of 250 bytes is longer than 249"},
		{Config{BindAddr: "127.0.0.1", Advertise: "nowhere.invalid:1", Resolver: resolver{}}, "advertise-addr nowhere.invalid cannot be resolved"},
		{Config{KeyFile: "/nonexistent"}, "encrypt-key-file"},
	} {
		g, err := New(tc.c)
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one sentence with %q, got %v", tc.want, err)
		}
	}
	g := newMember(t, Config{BindAddr: "127.0.0.1", Seeds: []string{"a:b"}})
	if err := g.Start(seniority.Member{}, Extra{}); err == nil || !strings.Contains(err.Error(), "seeds entry") {
		t.Errorf("want the seed named, got %v", err)
	}
}
