package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// somewhere is an address that is reached by the default route and by no other
// (RFC 5737 and RFC 3849 keep them for documentation). Nothing is sent to it.
var somewhere = map[bool]netip.AddrPort{
	true:  netip.MustParseAddrPort("192.0.2.1:9"),
	false: netip.MustParseAddrPort("[2001:db8::1]:9"),
}

// advertised is the address that the others are told.
type advertised struct {
	text string // host:port, as it was given if it was
	addr netip.AddrPort
}

// resolveAdvertise returns what was configured, resolved, or what is detected.
func resolveAdvertise(ctx context.Context, c *Config, bound netip.Addr, port uint16) (advertised, error) {
	if c.Advertise == "" {
		a, err := detect(ctx, c, bound, port)
		if err != nil {
			return advertised{}, err
		}
		ap := netip.AddrPortFrom(a, port)
		return advertised{ap.String(), ap}, nil
	}
	text, host, p, err := givenAddr(c, port)
	if err != nil {
		return advertised{}, err
	}
	addrs, err := lookup(ctx, c.Resolver, bound, host)
	if err != nil {
		return advertised{}, fmt.Errorf("advertise-addr %w", err)
	}
	a := addrs[0]
	if slices.Contains(addrs, bound) {
		a = bound
	}
	if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a.Zone() != "" {
		return advertised{}, fmt.Errorf("advertise-addr %s means %s, which no other host can reach", c.Advertise, a)
	}
	return advertised{text, netip.AddrPortFrom(a, p)}, nil
}

// givenAddr is the address that was configured, with the port it stands for.
func givenAddr(c *Config, port uint16) (text, host string, p uint16, err error) {
	host, p, err = splitHostPort(c.Advertise)
	text = c.Advertise
	if err == nil && p == 0 {
		p = port
		text = net.JoinHostPort(host, strconv.Itoa(int(p)))
	}
	if err == nil {
		err = checkText(text)
	}
	if err != nil {
		err = fmt.Errorf("advertise-addr %w", err)
	}
	return text, host, p, err
}

// detect finds the address of this host that the other members can reach: the
// one bound, if it is specific; else the one from which this host would call
// the first seed; else one of its interfaces' addresses. It does not guess while
// there are seeds to which no route leads: on a host whose network is not up yet
// the guess would be some bridge of its own, and stay.
func detect(ctx context.Context, c *Config, bound netip.Addr, port uint16) (netip.Addr, error) {
	if !bound.IsUnspecified() {
		return bound, nil
	}
	var loopback netip.Addr
	var unrouted string
	for _, s := range c.Seeds {
		sd, err := parseSeed(s, port)
		if err != nil || sd.kind == seedExec {
			continue
		}
		to, _ := sd.resolve(ctx, c.Resolver, bound)
		for _, ap := range to {
			switch a, ok := sourceFor(ap); {
			case ok && !a.IsLoopback():
				return a, nil
			case ok && !loopback.IsValid():
				loopback = a
			case !ok && unrouted == "":
				unrouted = ap.String()
			}
		}
	}
	if unrouted != "" {
		return netip.Addr{}, fmt.Errorf("advertise-addr cannot be detected: this host has no route to the seed %s, so its network may not be up yet; start the agent again when it is, or give --advertise-addr", unrouted)
	}
	if loopback.IsValid() {
		// Every seed that can be resolved is on this very host.
		return loopback, nil
	}
	if a, ok := fromInterfaces(bound); ok {
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("advertise-addr cannot be detected: no interface has an %s address that others can reach; give one with --advertise-addr", familyName(bound))
}

// sourceFor is the address from which the kernel would send to another. To
// connect a UDP socket looks the route up and sends nothing.
func sourceFor(to netip.AddrPort) (netip.Addr, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return a, !a.IsUnspecified() && !a.IsLinkLocalUnicast()
}

// fromInterfaces chooses among the addresses of all interfaces: private ones
// first, then the one that the default route uses, then IPv4.
func fromInterfaces(bound netip.Addr) (netip.Addr, bool) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, false
	}
	usable := slices.DeleteFunc(reachable(addrs), func(a netip.Addr) bool {
		return a.IsLoopback() || !family(bound, a)
	})
	if len(usable) == 0 {
		return netip.Addr{}, false
	}
	routed := map[netip.Addr]bool{}
	for _, to := range somewhere {
		if a, ok := sourceFor(to); ok {
			routed[a] = true
		}
	}
	return slices.MinFunc(usable, func(a, b netip.Addr) int {
		for _, prefer := range []func(netip.Addr) bool{
			netip.Addr.IsPrivate, func(x netip.Addr) bool { return routed[x] }, netip.Addr.Is4,
		} {
			if order := boolOrder(prefer(a), prefer(b)); order != 0 {
				return order
			}
		}
		return a.Compare(b)
	}), true
}
