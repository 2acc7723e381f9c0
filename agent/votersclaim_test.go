package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// names is a resolver that knows a few names; an address is its own.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	texts, ok := n[host]
	if !ok {
		texts = []string{host}
	}
	var ips []netip.Addr
	for _, text := range texts {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, errors.New("no such host")
		}
		if ip.Is4() == (network == "ip4") {
			ips = append(ips, ip)
		}
	}
	return ips, nil
}

func (names) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no such service")
}

// Voters whose names no claim could carry would leave those without a vote in
// the dark.
func TestVotersThatNoClaimCarries(t *testing.T) {
	for count, want := range map[int]string{7: "", 60: "voters are too long together"} {
		c := Config{BindAddr: "127.0.0.1", BindPort: new(0), Logger: slog.New(slog.DiscardHandler)}
		for i := range count {
			c.Voters = append(c.Voters, fmt.Sprintf("192.0.2.%d:4000", 100+i))
		}
		a, err := New(c)
		if err == nil {
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			err = a.Run(ended)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d voters: want an error with %q, got %v", count, want, err)
		}
	}
}
