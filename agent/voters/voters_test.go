package voters

import (
	"context"
	"errors"
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

func TestVotersAreComparedAsDNSDoes(t *testing.T) {
	for entry, want := range map[string]string{
		"Host.Example": "host.example", "host.example.:4000": "host.example:4000", "HOST:4000": "host:4000",
		"[FD00:0::1]:4000": "[fd00::1]:4000", "FD00::1": "fd00::1", "[fd00::1]": "fd00::1", "::ffff:10.0.0.1": "10.0.0.1",
		"10.0.0.1:4000": "10.0.0.1:4000", "": "",
	} {
		if got := asDNS(entry); got != want {
			t.Errorf("%q: want %q, got %q", entry, want, got)
		}
	}
	seeds := []string{"A:1", "a.:1"}
	if _, err := Check([]string{Seeds}, seeds); err == nil || !strings.Contains(err.Error(), "voters contain a:1 twice") {
		t.Errorf("want one entry written in two ways refused, got %v", err)
	}
	if _, err := Check([]string{Seeds, "B:1"}, seeds); err == nil || !strings.Contains(err.Error(), "voters entry seeds means all seeds, and stands alone") {
		t.Errorf("want the seeds beside another voter refused, got %v", err)
	}
}

func TestOwnVoter(t *testing.T) {
	known := names{
		"one": {"10.0.0.1", "fd00::1"}, "uno": {"10.0.0.1"}, "two": {"10.0.0.2"}, "many": {"10.0.0.3", "10.0.0.4"},
	}
	for name, test := range map[string]struct {
		voters     []string
		want, fail string
	}{
		"by name":            {voters: []string{"two", "alpha"}, want: "alpha"},
		"as advertised":      {voters: []string{"two:4000", "one:4000"}, want: "one:4000"},
		"by address":         {voters: []string{"10.0.0.1:4000", "10.0.0.2:4000"}, want: "10.0.0.1:4000"},
		"without a port":     {voters: []string{"uno", "two"}, want: "uno"},
		"another port":       {voters: []string{"uno:4001", "two"}, want: ""},
		"none":               {voters: []string{"two", "10.0.0.9:4000"}, want: ""},
		"not resolvable now": {voters: []string{"gone", "uno"}, want: "uno"},
		"twice":              {voters: []string{"uno", "10.0.0.1"}, fail: "uno and 10.0.0.1 are both this node"},
		"several addresses":  {voters: []string{"uno", "many"}, fail: "many has 2 addresses"},
		"bad port":           {voters: []string{"two:x"}, fail: "two:x has no port"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Own(test.voters, "alpha", "one:4000", netip.MustParseAddrPort("10.0.0.1:4000"), known)
			if test.fail != "" {
				if err == nil || !strings.Contains(err.Error(), test.fail) {
					t.Errorf("want an error with %q, got %v", test.fail, err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("want %q, got %q (%v)", test.want, got, err)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	for entry, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "10.0.0.1:4000": "10.0.0.1", "fd00::1": "fd00::1", "[fd00::1]:4000": "fd00::1", "::ffff:10.0.0.1": "10.0.0.1",
		"": "", "node-a": "", "node-a:4000": "",
	} {
		got, ok := Address(entry)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: want %q, got %v, %v", entry, want, got, ok)
		}
	}
}
