package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookupLimit bounds the look-up of a name.
const lookupLimit = 5 * time.Second

// bindAddr turns the address or the name of an interface into an address. An
// interface with several gives its first usable one, IPv4 before IPv6.
func bindAddr(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		if a.IsMulticast() {
			return netip.Addr{}, fmt.Errorf("bind-addr %s is a multicast address", s)
		}
		return a, nil
	}
	iface, err := net.InterfaceByName(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bind-addr %q is neither an address nor the name of an interface of this host", s)
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bind-addr %s: %w", s, err)
	}
	usable := reachable(addrs)
	if len(usable) == 0 {
		return netip.Addr{}, fmt.Errorf("bind-addr %s is an interface without an address that others can reach", s)
	}
	slices.SortStableFunc(usable, func(a, b netip.Addr) int { return boolOrder(a.Is4(), b.Is4()) })
	return usable[0], nil
}

// bindTo is the address to listen on. A host that has IPv6 alone listens on ::
// where every IPv4 address was asked for, which is the default, because nothing
// else could be reached there. That is so as long as no seed has an IPv4 address:
// one with both families tells that this host waits for its IPv4 address.
func bindTo(ctx context.Context, c *Config) (netip.Addr, error) {
	bound, err := bindAddr(c.BindAddr)
	if err != nil || bound != netip.IPv4Unspecified() {
		return bound, err
	}
	if c.Advertise != "" {
		host, _, _ := splitHostPort(c.Advertise)
		if a, err := netip.ParseAddr(host); err == nil && !a.Unmap().Is4() {
			return netip.IPv6Unspecified(), nil
		}
		return bound, nil
	}
	here := usableHere(c.Floating)
	if len(here) == 0 || slices.ContainsFunc(here, netip.Addr.Is4) {
		return bound, nil
	}
	sixes := len(c.Seeds) == 0
	for _, s := range c.Seeds {
		sd, err := parseSeed(s, defaultPort)
		if err != nil || sd.kind == seedExec {
			continue
		}
		to, _ := sd.resolve(ctx, c.Resolver, netip.IPv6Unspecified())
		for _, ap := range to {
			switch {
			case ap.Addr().IsLoopback():
			case ap.Addr().Is4():
				return bound, nil
			default:
				sixes = true
			}
		}
	}
	if sixes {
		return netip.IPv6Unspecified(), nil
	}
	return bound, nil
}

// reachable leaves out what no other host can send to: link-local addresses
// mean nothing without a zone, and memberlist carries none.
func reachable(addrs []net.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.Unmap().IsLinkLocalUnicast() && !ip.IsMulticast() {
			all = append(all, ip.Unmap())
		}
	}
	return all
}

// boolOrder orders true before false.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// family is which addresses a bound address can talk to.
func family(bound, a netip.Addr) bool {
	return bound == netip.IPv6Unspecified() || bound.Is4() == a.Is4()
}

// familyName is what a person calls the family that is bound.
func familyName(bound netip.Addr) string {
	switch {
	case bound.Is4():
		return "IPv4"
	case bound.IsUnspecified():
		return "IP"
	}
	return "IPv6"
}

// splitHostPort splits host[:port], [v6]:port or a bare v6 address. A missing
// port is 0.
func splitHostPort(s string) (string, uint16, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), 0, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if ae := (*net.AddrError)(nil); !errors.As(err, &ae) || ae.Err != "missing port in address" {
			return "", 0, fmt.Errorf("%q is not host[:port]", s)
		}
		return trimBrackets(s), 0, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q has a port that is not between 1 and 65535", s)
	}
	if host == "" {
		return "", 0, fmt.Errorf("%q has no host", s)
	}
	return host, uint16(n), nil
}

func trimBrackets(s string) string {
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}

// lookup returns the addresses of a host that the bound address can talk to,
// IPv4 first and in a stable order, so that a name always means the same.
func lookup(ctx context.Context, r Resolver, bound netip.Addr, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else {
		ctx, cancel := context.WithTimeout(ctx, lookupLimit)
		defer cancel()
		name := host
		if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
			name = "localhost" // as it stands in the hosts file; no server need know it (RFC 6761, 6.3)
		}
		if addrs, err = r.LookupNetIP(ctx, "ip", name); err != nil {
			return nil, fmt.Errorf("%s cannot be resolved: %w", host, err)
		}
	}
	var usable []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); family(bound, a) && !slices.Contains(usable, a) {
			usable = append(usable, a)
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("%s has no %s address, and bind-addr is %s", host, familyName(bound), bound)
	}
	slices.SortFunc(usable, netip.Addr.Compare)
	return usable, nil
}
