package gossip

import (
	"net"
	"strings"
	"testing"
)

// A Gossip that runs and who asks for its identity must come to the same, or
// the wrong member is cleaned up after.
func TestIdentityIsThatOfTheMember(t *testing.T) {
	for _, c := range []Config{
		{BindAddr: "127.0.0.1"},
		{BindAddr: "127.0.0.1", Name: "n"},
		{BindAddr: "127.0.0.1", Advertise: "localhost"},
		{BindAddr: "127.0.0.1", Advertise: "127.0.0.1:7"},
		{BindAddr: "0.0.0.0", Seeds: []string{"127.0.0.1:9"}},
	} {
		g := real(t, c)
		c.BindPort = int(g.port)
		name, addr, err := Identity(t.Context(), c)
		if err != nil || name != g.Name() || addr != g.Addr() {
			t.Errorf("%+v: want %s, %s, got %s, %s, %v", c, g.Name(), g.Addr(), name, addr, err)
		}
	}
}

func TestIdentityThatCannotBeKnown(t *testing.T) {
	for _, test := range []struct {
		c    Config
		name string
		want string // in the error
	}{
		{Config{BindAddr: "127.0.0.1"}, "", "--name"},
		{Config{BindAddr: "127.0.0.1", Name: "n"}, "n", ""},
		{Config{BindAddr: "no-such-interface", Name: "n"}, "n", ""},
		{Config{BindAddr: "no-such-interface", BindPort: 4000}, "", "no-such-interface"},
		{Config{Advertise: "no-such-host.invalid:7"}, "no-such-host.invalid:7", ""},
		{Config{BindPort: 99999}, "", "bind-port"},
	} {
		name, _, err := Identity(t.Context(), test.c)
		if name != test.name || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: want the name %q and an error with %q, got %q, %v", test.c, test.name, test.want, name, err)
		}
	}
}

// Who asks for an identity does so while the port is still bound, or already is
// again.
func TestIdentityBindsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	if name, _, err := Identity(t.Context(), Config{BindAddr: "127.0.0.1", BindPort: port}); err != nil || name != ln.Addr().String() {
		t.Errorf("want %s, got %s, %v", ln.Addr(), name, err)
	}
}
