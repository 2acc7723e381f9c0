package floatingip

import (
	"fmt"
	"net/netip"
	"strings"
)

// Address is one floating address, as --floating-ip gives it.
type Address struct {
	// Prefix is the address with the length of its network; it is not masked.
	Prefix netip.Prefix
	// Iface is the name of the interface that carries it.
	Iface string
}

// String returns the form that Parse reads.
func (a Address) String() string { return a.Prefix.String() + "@" + a.Iface }

// IP returns the address without its length.
func (a Address) IP() netip.Addr { return a.Prefix.Addr() }

// maxIface is the longest name of an interface (IFNAMSIZ less the final zero).
const maxIface = 15

// Parse reads ADDR/LEN@IFACE. The error does not name the flag.
func Parse(s string) (Address, error) {
	text, iface, ok := strings.Cut(s, "@")
	if !ok {
		return Address{}, fmt.Errorf("%q lacks the interface: ADDR/LEN@IFACE is wanted", s)
	}
	if iface == "" || len(iface) > maxIface || strings.ContainsAny(iface, "/ \t@") {
		return Address{}, fmt.Errorf("%q: %q is not the name of an interface", s, iface)
	}
	if !strings.Contains(text, "/") {
		return Address{}, fmt.Errorf("%q lacks the length of the network: ADDR/LEN@IFACE is wanted", s)
	}
	if strings.Contains(text, "%") {
		return Address{}, fmt.Errorf("%q has a zone: leave it out, since the interface stands after the @", s)
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return Address{}, fmt.Errorf("%q: %q is not an address with the length of its network, such as 192.0.2.10/24", s, text)
	}
	if why := unfit(prefix); why != "" {
		return Address{}, fmt.Errorf("%q: %s %s", s, prefix.Addr(), why)
	}
	return Address{Prefix: prefix, Iface: iface}, nil
}

// ParseAll reads several addresses and refuses one that is given twice.
func ParseAll(list []string) ([]Address, error) {
	all := make([]Address, 0, len(list))
	seen := make(map[netip.Addr]bool)
	for _, s := range list {
		a, err := Parse(s)
		if err != nil {
			return nil, err
		}
		if seen[a.IP()] {
			return nil, fmt.Errorf("%q: %s is given twice", s, a.IP())
		}
		seen[a.IP()] = true
		all = append(all, a)
	}
	return all, nil
}

// unfit says why no host can hold p's address, or "".
func unfit(p netip.Prefix) string {
	ip := p.Addr()
	switch {
	case ip.Is4In6():
		return "is an IPv4 address in IPv6 form; write it as IPv4"
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLoopback():
		return "is not an address a neighbour could reach"
	case p.Bits() == 0:
		return "has a network of length 0"
	case !ip.Is4() || p.Bits() >= 31:
		return ""
	case ip == p.Masked().Addr():
		return "is the address of the network itself"
	case !p.Contains(ip.Next()):
		return "is the broadcast address of its network"
	}
	return ""
}
