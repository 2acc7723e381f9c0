package floatingip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks the routes of this package (rtnetlink(7); the kernel
	// gives numbers above 4 no meaning).
	routeProtocol = 222
	// routeMetric lets every other route to the same network win.
	routeMetric = 65535
)

// labels mark an IPv4 address as put by an agent. The kernel keeps 15 bytes, and
// the name of the interface comes first, so that long names get the short mark.
var labels = [...]string{":doyen", ":d"}

// label returns the label for an address on iface; "" if none fits.
func label(iface string) string {
	for _, mark := range labels {
		if len(iface)+len(mark) <= maxIface {
			return iface + mark
		}
	}
	return ""
}

// putByAgent reports whether an agent, this one or one before it, put an address
// there: it has a lifetime and carries the mark of its family. A label too long
// for a mark leaves the lifetime alone as the mark.
func putByAgent(addr *netlink.Addr) bool {
	if addr.Flags&unix.IFA_F_PERMANENT != 0 {
		return false
	}
	if addr.IP.To4() == nil {
		return addr.PreferedLft == 0 && addr.Flags&unix.IFA_F_NODAD != 0
	}
	for _, mark := range labels {
		if strings.HasSuffix(addr.Label, mark) {
			return true
		}
	}
	return len(addr.Label) > maxIface-len(labels[len(labels)-1])
}

// ifaces reads and changes the addresses of interfaces.
type ifaces struct {
	handle *netlink.Handle
	quick  *rtnetlink
}

// openIfaces opens the sockets for that.
func openIfaces() (ifaces, error) {
	// Only this kind: kernels for virtual machines lack some that the library would
	// open besides.
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return ifaces{}, fmt.Errorf("opening netlink: %w", err)
	}
	quick, err := newRTNetlink()
	if err != nil {
		handle.Close()
		return ifaces{}, fmt.Errorf("opening netlink: %w", err)
	}
	return ifaces{handle, quick}, nil
}

// close closes the sockets, if they are open.
func (i *ifaces) close() {
	if i.handle != nil {
		i.handle.Close()
		i.quick.close()
	}
}

// link finds a's interface.
func (i *ifaces) link(a Address) (netlink.Link, error) {
	link, err := i.handle.LinkByName(a.Iface)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("interface %s %w", a.Iface, ErrNoInterface)
	}
	if err != nil {
		return nil, fmt.Errorf("reading interface %s: %w", a.Iface, err)
	}
	return link, nil
}

// index finds the number of a's interface.
func (i *ifaces) index(a Address) (int, error) { return i.quick.index(a.Iface) }

// put gives link the address for some whole seconds. Beside an IPv4 address of the
// host's own in the network configured it has the length configured: the kernel
// makes it a secondary one, which tools show as such and never take for the
// host's. Without one it would be the network's primary address, which is the
// source of the host's traffic and takes the others with it when it goes; so it is
// then a network of its own (alone), and a route of the last resort leads to the
// network configured. It always has that form where promote_secondaries is set,
// since the kernel would make it primary, for a moment, when the host's own goes;
// and as IPv6, which knows no primary addresses.
func (i *ifaces) put(a Address, link netlink.Link, seconds int) error {
	list, err := i.list(a, link.Attrs().Index)
	if err != nil {
		return err
	}
	form := formFor(a, list)
	if err := i.replace(a, link, form, seconds); err != nil {
		return err
	}
	if list, err = i.list(a, link.Attrs().Index); err != nil {
		return err
	}
	// One that was removed again meanwhile is for the next repair.
	there := len(lengths(a, list)) > 0
	if form != formFor(a, list) || there && form != alone(a) && !isSecondary(a, list) {
		form = alone(a) // the host's own address has gone meanwhile
		if err := i.replace(a, link, form, seconds); err != nil {
			return err
		}
	}
	for n := range list {
		if addr := &list[n]; is(addr, a) && putByAgent(addr) && bits(addr) != form.Bits() {
			if err := i.delete(link, addr); err != nil {
				return err
			}
		}
	}
	if !needsRoute(a, list) {
		return i.unroute(a, link)
	}
	if err := i.handle.RouteReplace(networkRoute(a, link)); err != nil {
		return fmt.Errorf("adding a route to %s: %w", a.Prefix.Masked(), err)
	}
	return nil
}

// replace puts the address in a form, or moves its lifetime on.
func (i *ifaces) replace(a Address, link netlink.Link, form netip.Prefix, seconds int) error {
	if err := i.handle.AddrReplace(link, formed(a, form, seconds)); err != nil {
		return fmt.Errorf("putting %s: %w", a, err)
	}
	return nil
}

// formed is the address in a form. The kernel chooses no IPv4 address of scope host, and
// no IPv6 address without preferred lifetime, as the source of the host's own traffic if
// there is any other.
func formed(a Address, form netip.Prefix, seconds int) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(form), ValidLft: seconds}
	switch {
	case !a.IP().Is4():
		addr.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	case form == alone(a):
		addr.PreferedLft, addr.Label, addr.Scope = seconds, label(a.Iface), int(netlink.SCOPE_HOST)
	default:
		addr.PreferedLft, addr.Label = seconds, label(a.Iface)
	}
	return addr
}

// alone is a's address as a network of its own.
func alone(a Address) netip.Prefix { return netip.PrefixFrom(a.IP(), a.IP().BitLen()) }

// formFor is the form that the address is to have beside the addresses of a list.
func formFor(a Address, list []netlink.Addr) netip.Prefix {
	if promotes(a.Iface) {
		return alone(a)
	}
	for n := range list {
		if addr := &list[n]; a.IP().Is4() && !putByAgent(addr) && bits(addr) == a.Prefix.Bits() && addr.Contains(a.IP().AsSlice()) {
			return a.Prefix
		}
	}
	return alone(a)
}

// promotes reports whether the kernel makes a secondary IPv4 address of iface the
// primary one when that goes (ip-sysctl: the setting of all interfaces or its own).
func promotes(iface string) bool {
	for _, conf := range []string{"all", iface} {
		if value, err := ipv4Setting(conf, "promote_secondaries"); err == nil && value != 0 {
			return true
		}
	}
	return false
}

// ipv4Setting reads a sysctl of an interface, or of all.
func ipv4Setting(conf, name string) (int, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + conf + "/" + name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// isSecondary reports whether a list has the address behind a primary one.
func isSecondary(a Address, list []netlink.Addr) bool {
	return slices.ContainsFunc(list, func(addr netlink.Addr) bool {
		return is(&addr, a) && addr.Flags&unix.IFA_F_SECONDARY != 0
	})
}

// has reports whether a link has the address (there), and whether it and all else
// is as put would leave it now (placed).
func (i *ifaces) has(a Address, link int) (there, placed bool, err error) {
	list, err := i.list(a, link)
	if err != nil {
		return false, false, err
	}
	form, have := formFor(a, list), lengths(a, list)
	if len(have) == 0 {
		return false, false, nil
	}
	placed = len(have) == 1 && have[0] == form.Bits() && (form == alone(a) || isSecondary(a, list))
	routed, err := i.routed(a, link)
	return true, placed && routed == needsRoute(a, list), err
}

// wentWithOwn reports whether it was the kernel that took the address away: the
// host's own address in its network is gone, and unless promote_secondaries is set
// the secondary ones go with it.
func (i *ifaces) wentWithOwn(a Address, link int) bool {
	if !a.IP().Is4() || a.Prefix == alone(a) || promotes(a.Iface) {
		return false
	}
	list, err := i.list(a, link)
	return err == nil && formFor(a, list) == alone(a)
}

// lengths are those with which an agent has put the address.
func lengths(a Address, list []netlink.Addr) (have []int) {
	for n := range list {
		if addr := &list[n]; is(addr, a) && putByAgent(addr) {
			have = append(have, bits(addr))
		}
	}
	return have
}

// own describes the address where the host has it without an agent having put
// it there; "" if nowhere.
func (i *ifaces) own(a Address) (string, error) {
	list, err := i.list(a, anyLink)
	if err != nil {
		return "", err
	}
	for n := range list {
		if addr := &list[n]; is(addr, a) && !putByAgent(addr) {
			name := fmt.Sprintf("interface %d", addr.LinkIndex)
			if link, err := i.handle.LinkByIndex(addr.LinkIndex); err == nil {
				name = link.Attrs().Name
			}
			return fmt.Sprintf("%s on %s", addr.IPNet, name), nil
		}
	}
	return "", nil
}

// remove takes the address off every interface where an agent put it, and the
// route that went with it, and reports whether it was there.
func (i *ifaces) remove(a Address) (there bool, err error) {
	list, err := i.list(a, anyLink)
	if err != nil {
		return false, err
	}
	var errs []error
	for n := range list {
		addr := &list[n]
		if !is(addr, a) || !putByAgent(addr) {
			continue
		}
		link, err := i.handle.LinkByIndex(addr.LinkIndex)
		if err != nil {
			continue // it went with its interface
		}
		there = true
		errs = append(errs, i.delete(link, addr))
	}
	if link, err := i.link(a); err == nil {
		errs = append(errs, i.unroute(a, link))
	}
	return there, errors.Join(errs...)
}

// delete takes one address off. It is no error if it is gone already. A promotion
// may have made it its network's primary one for a moment: it then takes the
// secondary ones with it unless promote_secondaries is set, so what has gone is put
// back as it was.
func (i *ifaces) delete(link netlink.Link, addr *netlink.Addr) error {
	var before []netlink.Addr
	if addr.IP.To4() != nil && addr.Flags&unix.IFA_F_SECONDARY == 0 {
		before, _ = i.handle.AddrList(link, netlink.FAMILY_V4)
	}
	err := i.handle.AddrDel(link, &netlink.Addr{IPNet: addr.IPNet})
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("taking %s off %s: %w", addr.IPNet, link.Attrs().Name, err)
	}
	var errs []error
	for n := range before {
		if other := &before[n]; other.Flags&unix.IFA_F_SECONDARY != 0 && bits(other) == bits(addr) && addr.Contains(other.IP) {
			other.Flags &= unix.IFA_F_NOPREFIXROUTE
			errs = append(errs, i.handle.AddrReplace(link, other))
		}
	}
	return errors.Join(errs...)
}

// unroute takes away the route that put added. It is no error if it is gone
// already.
func (i *ifaces) unroute(a Address, link netlink.Link) error {
	if a.Prefix == alone(a) {
		return nil
	}
	err := i.handle.RouteDel(networkRoute(a, link))
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing the route to %s: %w", a.Prefix.Masked(), err)
	}
	return nil
}

// routed reports whether the route that put adds is there.
func (i *ifaces) routed(a Address, link int) (there bool, err error) {
	if a.Prefix == alone(a) {
		return false, nil
	}
	err = consistently(func() error { there, err = i.quick.routed(a, link); return err })
	if err != nil {
		return false, fmt.Errorf("reading the routes to %s: %w", a.Prefix.Masked(), err)
	}
	return there, nil
}

func networkRoute(a Address, link netlink.Link) *netlink.Route {
	return &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(a.Prefix.Masked()), Scope: netlink.SCOPE_LINK,
		Protocol: routeProtocol, Priority: routeMetric,
	}
}

// anyLink is no interface's number.
const anyLink = 0

// list returns the addresses of a link, or of any, that are a or in whose networks a is.
func (i *ifaces) list(a Address, link int) (list []netlink.Addr, err error) {
	err = consistently(func() error { list, err = i.quick.addresses(a); return err })
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of the interfaces: %w", err)
	}
	return slices.DeleteFunc(list, func(addr netlink.Addr) bool { return link != anyLink && addr.LinkIndex != link }), nil
}

// consistently has a list that changed while it was read be read again, a few times.
func consistently(read func() error) (err error) {
	const tries = 5
	for range tries {
		if err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// is reports whether addr is a, with any length.
func is(addr *netlink.Addr, a Address) bool {
	ip, _ := netip.AddrFromSlice(addr.IP)
	return ip.Unmap() == a.IP()
}

func bits(addr *netlink.Addr) int {
	length, _ := addr.Mask.Size()
	return length
}

// needsRoute reports whether put is to add a route: the host has no address of
// its own in a's network, which would bring one.
func needsRoute(a Address, list []netlink.Addr) bool {
	return a.Prefix != alone(a) && !slices.ContainsFunc(list, func(addr netlink.Addr) bool {
		return !putByAgent(&addr) && bits(&addr) < a.IP().BitLen() && addr.Contains(a.IP().AsSlice())
	})
}

func familyOf(a Address) int {
	if a.IP().Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
