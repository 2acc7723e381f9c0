package gossip

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode"
)

// Check reports everything that is wrong with the texts of c, as sentences that
// name the flags. It asks neither the network nor the host.
func (c Config) Check() error {
	_, err := c.filled()
	faults := []error{err}
	for _, s := range c.Seeds {
		if strings.TrimSpace(s) == "" {
			faults = append(faults, errors.New("seeds contain an empty entry"))
			continue
		}
		_, err := parseSeed(s, defaultPort)
		faults = append(faults, err)
	}
	if c.Advertise != "" {
		_, host, _, err := givenAddr(&c, defaultPort)
		faults = append(faults, cmp.Or(checkHostText("advertise-addr", c.Advertise, host), err))
	}
	return errors.Join(faults...)
}

// CheckEntry reports what is wrong with a host[:port] of the setting named.
func CheckEntry(setting, s string) error {
	host, _, err := splitHostPort(s)
	if bad := checkHostText(setting+" entry", s, host); bad != nil {
		return bad
	}
	if err != nil {
		return fmt.Errorf("%s entry %w", setting, err)
	}
	return nil
}

// CheckHost reports why this host, as it is now, could not listen on what
// bind-addr names. It looks without taking the port.
func (c Config) CheckHost() error {
	bound, err := bindAddr(cmp.Or(c.BindAddr, "0.0.0.0"))
	if err != nil {
		return err
	}
	// Port 0 is always free, so an error is about the address.
	l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bound, 0)))
	if err != nil {
		return fmt.Errorf("bind-addr %s is no address of this host", c.BindAddr)
	}
	return l.Close()
}

// checkHostText refuses what no host is called: a URL above all, which is a
// common mistake. text is what was given, host the part of it.
func checkHostText(what, text, host string) error {
	if strings.Contains(text, "/") {
		return fmt.Errorf("%s %q is not host[:port]: it has a slash, as a URL does", what, text)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	for _, r := range host {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_", r) {
			return fmt.Errorf("%s %q is not host[:port]: no host name contains %q", what, text, r)
		}
	}
	return nil
}
