package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSeeds(t *testing.T) {
	many := make([]string, 0, 2000)
	for i := range 2000 {
		many = append(many, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1))
	}
	r := resolver{
		hosts: map[string][]netip.Addr{
			"localhost": addrs("::1", "127.0.0.1"),
			"all":       addrs("10.0.0.3", "10.0.0.1", "10.0.0.3", "fd00::1"),
			"mapped":    addrs("::ffff:10.0.0.1"),
			"v6only":    addrs("fd00::1"),
			"many":      addrs(many...),
		},
		srv: map[string][]*net.SRV{
			"_doyen._tcp.example": {{Target: "all.", Port: 5000}, {Target: "gone.", Port: 5001}},
		},
	}
	script := filepath.Join(t.TempDir(), "seeds")
	text := "#!/bin/sh\nprintf '10.0.0.1 10.0.0.2:5000,[fd00::1]:7\\nlocalhost\\n bad:port\\n'\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	v4, v6, both := netip.IPv4Unspecified(), netip.MustParseAddr("::1"), netip.IPv6Unspecified()
	for _, tc := range []struct {
		seed  string
		bound netip.Addr
		want  string
		err   string
	}{
		{"10.0.0.1", v4, "10.0.0.1:4000", ""},
		{"10.0.0.1:5", v4, "10.0.0.1:5", ""},
		{"[fd00::1]:5", both, "[fd00::1]:5", ""},
		{"[fd00::1]", both, "[fd00::1]:4000", ""},
		{"fd00::1", v6, "[fd00::1]:4000", ""},
		{"fd00::1", v4, "", "fd00::1 has no IPv4 address, and bind-addr is 0.0.0.0"},
		{"localhost:4001", v4, "127.0.0.1:4001", ""},
		{"localhost:4001", v6, "[::1]:4001", ""},
		{"localhost:4001", both, "127.0.0.1:4001 [::1]:4001", ""},
		{"all", v4, "10.0.0.1:4000 10.0.0.3:4000", ""},
		{"mapped", v4, "10.0.0.1:4000", ""},
		{"v6only", v4, "", "v6only has no IPv4 address"},
		{"gone", v4, "", "gone cannot be resolved"},
		{"srv+_doyen._tcp.example", v4, "10.0.0.1:5000 10.0.0.3:5000", "gone cannot be resolved"},
		{"srv+gone", v4, "", "gone cannot be resolved"},
		{"exec:" + script, v4, "10.0.0.1:4000 10.0.0.2:5000 127.0.0.1:4000", "port"},
		{"exec:/nonexistent", v4, "", "exec:/nonexistent failed"},
		{"exec:/bin/false", v4, "", "exec:/bin/false failed"},
	} {
		s, err := parseSeed(tc.seed, 4000)
		if err != nil {
			t.Errorf("%s: want it understood, got %v", tc.seed, err)
			continue
		}
		got, err := s.resolve(t.Context(), r, tc.bound)
		if text := strings.Trim(fmt.Sprint(got), "[]"); len(got) > 0 && fmt.Sprint(got) != "["+tc.want+"]" || len(got) == 0 && tc.want != "" {
			t.Errorf("%s bound to %s: want %s, got %s", tc.seed, tc.bound, tc.want, text)
		}
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s bound to %s: want error %q, got %v", tc.seed, tc.bound, tc.err, err)
		}
	}
	s, err := parseSeed("many", 4000)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := s.resolve(t.Context(), r, v4); len(got) != maxSeedAddrs {
		t.Errorf("want no more than %d addresses, got %d", maxSeedAddrs, len(got))
	}
}

func TestSeedsThatCannotBeMeant(t *testing.T) {
	for _, s := range []string{"", ":4000", "a:0", "a:65536", "a:b", "a b", "exec:relative", "srv+", "[::1", "a:1:2",
		"http://a:4000", "http://a", "a/b", "a;b", "me@a", "a:4000?x", "*"} {
		if got, err := parseSeed(s, 4000); err == nil || !strings.HasPrefix(err.Error(), "seeds entry") {
			t.Errorf("%q: want an error that names the flag, got %+v, %v", s, got, err)
		}
	}
}

func TestSeedProgramIsLimited(t *testing.T) {
	b := &limitedBuffer{}
	for range 10 {
		if n, err := b.Write(make([]byte, maxPrinted/4)); n != maxPrinted/4 || err != nil {
			t.Errorf("want everything taken, got %d, %v", n, err)
		}
	}
	if b.Len() != maxPrinted {
		t.Errorf("want %d bytes kept, got %d", maxPrinted, b.Len())
	}
}

func TestAdvertise(t *testing.T) {
	r := resolver{hosts: map[string][]netip.Addr{
		"localhost": addrs("::1", "127.0.0.1"), "zero": addrs("0.0.0.0"), "two": addrs("10.0.0.2", "10.0.0.1"),
	}}
	v4, both := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	for _, tc := range []struct {
		advertise string
		bound     netip.Addr
		text      string
		addr      string
		err       string
	}{
		{"localhost:4001", v4, "localhost:4001", "127.0.0.1:4001", ""},
		{"localhost", v4, "localhost:4007", "127.0.0.1:4007", ""},
		{"localhost:4001", netip.MustParseAddr("::1"), "localhost:4001", "[::1]:4001", ""},
		{"localhost:4001", both, "localhost:4001", "127.0.0.1:4001", ""},
		{"two:1", netip.MustParseAddr("10.0.0.2"), "two:1", "10.0.0.2:1", ""},
		{"fd00::1", both, "[fd00::1]:4007", "[fd00::1]:4007", ""},
		{"", netip.MustParseAddr("10.0.0.9"), "10.0.0.9:4007", "10.0.0.9:4007", ""},
		{"fd00::1", v4, "", "", "advertise-addr fd00::1 has no IPv4 address"},
		{"nowhere:1", v4, "", "", "advertise-addr nowhere cannot be resolved"},
		{"zero:1", v4, "", "", "no other host can reach"},
		{"0.0.0.0", v4, "", "", "no other host can reach"},
		{"224.0.0.1:1", v4, "", "", "no other host can reach"},
		{"255.255.255.255:1", v4, "", "", "no other host can reach"},
		{"localhost:0", v4, "", "", "not between 1 and 65535"},
		{"localhost:99999", v4, "", "", "not between 1 and 65535"},
		{"local host", v4, "", "", "advertise-addr"},
	} {
		got, err := resolveAdvertise(t.Context(), &Config{Advertise: tc.advertise, Resolver: r}, tc.bound, 4007)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), "advertise-addr") {
				t.Errorf("%q: want error %q that names the flag, got %v", tc.advertise, tc.err, err)
			}
			continue
		}
		if err != nil || got.text != tc.text || got.addr.String() != tc.addr {
			t.Errorf("%q bound to %s: want %s at %s, got %+v, %v", tc.advertise, tc.bound, tc.text, tc.addr, got, err)
		}
	}
}

func TestAdvertiseIsDetectedFromTheSeeds(t *testing.T) {
	c := &Config{Seeds: []string{"localhost:4000", "localhost:4001"}, Resolver: net.DefaultResolver}
	got, err := resolveAdvertise(t.Context(), c, netip.IPv4Unspecified(), 4007)
	if err != nil || got.addr.String() != "127.0.0.1:4007" {
		t.Errorf("want loopback when every seed is there, got %+v, %v", got, err)
	}
	ifaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	usable := slices.DeleteFunc(reachable(ifaces), func(a netip.Addr) bool { return a.IsLoopback() || !a.Is4() })
	a, ok := fromInterfaces(netip.IPv4Unspecified(), nil)
	if ok != (len(usable) > 0) || ok && !slices.Contains(usable, a) {
		t.Errorf("want one of %v, got %v, %v", usable, a, ok)
	}
}

func TestBindAddr(t *testing.T) {
	for _, tc := range []struct{ bind, want, err string }{
		{"127.0.0.1", "127.0.0.1", ""},
		{"::ffff:127.0.0.1", "127.0.0.1", ""},
		{"::", "::", ""},
		{"lo", "127.0.0.1", ""},
		{"nosuch0", "", "neither an address nor the name of an interface"},
		{"224.0.0.1", "", "multicast"},
	} {
		got, err := bindAddr(tc.bind)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "bind-addr") {
				t.Errorf("%s: want error %q that names the flag, got %v", tc.bind, tc.err, err)
			}
			continue
		}
		if err != nil || got.String() != tc.want {
			t.Errorf("%s: want %s, got %s, %v", tc.bind, tc.want, got, err)
		}
	}
}

// The advice about a seed follows from what a dial of it has met.
func TestAdviceForADialThatFailed(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("a %w", errNoKey):     "--encrypt-key-file",
		fmt.Errorf("a %w", errOther):     "--cluster",
		errClash:                         "--name",
		errors.New("it does not answer"): "",
	} {
		if got := adviceFor(err); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v: want %q, got %q", err, want, got)
		}
	}
}
