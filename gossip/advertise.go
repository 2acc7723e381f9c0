package gossip

import (
	"context"
	"errors"
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
	// guessed is true for an address that was chosen without a route to another
	// member, so a better one may be found later.
	guessed bool
}

// resolveAdvertise returns what was configured, resolved, or what is detected.
func resolveAdvertise(ctx context.Context, c *Config, bound netip.Addr, port uint16) (advertised, error) {
	if c.Advertise == "" {
		a, guessed, err := detect(ctx, c, bound, port)
		if err != nil {
			return advertised{}, err
		}
		ap := netip.AddrPortFrom(a, port)
		return advertised{ap.String(), ap, guessed}, nil
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
	if slices.Contains(c.Floating, a) {
		return advertised{}, fmt.Errorf("advertise-addr %s is a floating address: give an address that stays on this host", c.Advertise)
	}
	if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a.Zone() != "" {
		return advertised{}, fmt.Errorf("advertise-addr %s means %s, which no other host can reach", c.Advertise, a)
	}
	return advertised{text: text, addr: netip.AddrPortFrom(a, p)}, nil
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
// the first seed; else one of its interfaces' addresses, which is a guess. It
// does not guess while a seed cannot be resolved or no route leads to it: on a
// host whose network is not up yet the guess would be some bridge of its own.
func detect(ctx context.Context, c *Config, bound netip.Addr, port uint16) (a netip.Addr, guessed bool, err error) {
	if !bound.IsUnspecified() {
		return bound, false, nil
	}
	var loopback netip.Addr
	var obstacle error
	note := func(err error) {
		if obstacle == nil {
			obstacle = err
		}
	}
	for _, s := range c.Seeds {
		sd, err := parseSeed(s, port)
		if err != nil || sd.kind == seedExec {
			continue
		}
		to, err := sd.resolve(ctx, c.Resolver, bound)
		if err != nil && len(to) == 0 {
			note(fmt.Errorf("the seed %w, so the network of this host may not be up yet", err))
		}
		for _, ap := range to {
			switch a, err := sourceFor(ap, c.Floating); {
			case err != nil:
				note(fmt.Errorf("%w the seed %s%s", err, ap, meaning(err)))
			case !a.IsLoopback():
				return a, false, nil
			case !loopback.IsValid():
				loopback = a
			}
		}
	}
	if obstacle == nil && loopback.IsValid() {
		return loopback, false, nil // every seed is on this very host
	}
	if obstacle == nil {
		if a, ok := fromInterfaces(bound, c.Floating); ok {
			return a, true, nil
		}
		obstacle = fmt.Errorf("no interface has an %s address that others can reach%s", familyName(bound), leftOver(bound, c.Floating))
		return netip.Addr{}, false, fmt.Errorf("advertise-addr cannot be detected: %w; give one with --advertise-addr", obstacle)
	}
	return netip.Addr{}, false, fmt.Errorf("advertise-addr cannot be detected: %w; start the agent again when it is, or give --advertise-addr", obstacle)
}

// Why no address of this host can be advertised to another.
var (
	errNoRoute   = errors.New("this host has no route to")
	errLinkLocal = errors.New("this host has only a link-local address on the way to")
	errFloating  = errors.New("this host has only a floating address on the way to")
)

// meaning says what such an error tells of the host.
func meaning(err error) string {
	if errors.Is(err, errLinkLocal) {
		return ", as when no DHCP server has answered yet"
	}
	return ", so its network may not be up yet"
}

// leftOver says which addresses of a host cannot be advertised.
func leftOver(bound netip.Addr, floating []netip.Addr) string {
	addrs, _ := net.InterfaceAddrs()
	for _, x := range addrs {
		n, ok := x.(*net.IPNet)
		if !ok {
			continue
		}
		a, _ := netip.AddrFromSlice(n.IP)
		switch a = a.Unmap(); {
		case !family(bound, a):
		case slices.Contains(floating, a):
			return fmt.Sprintf(" (%s is a floating address)", a)
		case a.Is4() && a.IsLinkLocalUnicast():
			return fmt.Sprintf(" (%s is link-local, as when no DHCP server has answered)", a)
		}
	}
	return ""
}

// sourceFor is the address from which the kernel would send to another. To
// connect a UDP socket looks the route up and sends nothing. Where the kernel
// would take a floating address, it is another one of that interface.
func sourceFor(to netip.AddrPort, floating []netip.Addr) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, errNoRoute
	}
	defer c.Close()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	switch {
	case a.IsUnspecified():
		return netip.Addr{}, errNoRoute
	case a.IsLinkLocalUnicast():
		return netip.Addr{}, errLinkLocal
	case !slices.Contains(floating, a):
		return a, nil
	}
	for _, b := range beside(a) {
		if !slices.Contains(floating, b) && b.Is4() == a.Is4() {
			return b, nil
		}
	}
	return netip.Addr{}, errFloating
}

// beside lists the addresses of the interface that has a.
func beside(a netip.Addr) []netip.Addr {
	ifaces, _ := net.Interfaces()
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		if all := reachable(addrs); slices.Contains(all, a) {
			return all
		}
	}
	return nil
}

// usableHere lists the addresses of this host that others can reach.
func usableHere(floating []netip.Addr) []netip.Addr {
	addrs, _ := net.InterfaceAddrs()
	return slices.DeleteFunc(reachable(addrs), func(a netip.Addr) bool {
		return a.IsLoopback() || slices.Contains(floating, a)
	})
}

// fromInterfaces chooses among the addresses of all interfaces: private ones
// first, then the one that the default route uses, then IPv4.
func fromInterfaces(bound netip.Addr, floating []netip.Addr) (netip.Addr, bool) {
	usable := slices.DeleteFunc(usableHere(floating), func(a netip.Addr) bool { return !family(bound, a) })
	if len(usable) == 0 {
		return netip.Addr{}, false
	}
	routed := map[netip.Addr]bool{}
	for _, to := range somewhere {
		if a, err := sourceFor(to, floating); err == nil {
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
