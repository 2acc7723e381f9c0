package floatingip

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ifaces reads and changes the addresses of interfaces.
type ifaces struct {
	handle *netlink.Handle
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

// put gives link the address for some whole seconds, or moves its lifetime on.
func (i *ifaces) put(a Address, link netlink.Link, seconds int) error {
	addr := kernelAddr(a)
	addr.ValidLft, addr.PreferedLft = seconds, seconds
	if !a.IP().Is4() {
		addr.PreferedLft = 0
		addr.Flags = unix.IFA_F_NODAD
		own, err := i.onLink(a, link)
		if err != nil {
			return err
		}
		if own {
			addr.Flags |= unix.IFA_F_NOPREFIXROUTE
		}
	}
	if err := i.handle.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("putting %s: %w", a, err)
	}
	return nil
}

// onLink reports whether the interface has another address in a's network.
func (i *ifaces) onLink(a Address, link netlink.Link) (bool, error) {
	list, err := i.list(a, link)
	for _, addr := range list {
		ip, _ := netip.AddrFromSlice(addr.IP)
		if length, _ := addr.Mask.Size(); length == a.Prefix.Bits() && ip != a.IP() && a.Prefix.Contains(ip) {
			return true, err
		}
	}
	return false, err
}

// has reports whether link has the address, whatever its length.
func (i *ifaces) has(a Address, link netlink.Link) (bool, error) {
	list, err := i.list(a, link)
	for _, addr := range list {
		if ip, _ := netip.AddrFromSlice(addr.IP); ip.Unmap() == a.IP() {
			return true, err
		}
	}
	return false, err
}

// remove takes the address off a's interface, with every length that it has
// there: somebody may have added it by hand. It is no error if the address or
// the interface is gone already.
func (i *ifaces) remove(a Address) error {
	link, err := i.link(a)
	if errors.Is(err, ErrNoInterface) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := i.list(a, link)
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range list {
		if ip, _ := netip.AddrFromSlice(addr.IP); ip.Unmap() != a.IP() {
			continue
		}
		err := i.handle.AddrDel(link, &netlink.Addr{IPNet: addr.IPNet})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("taking %s off %s: %w", addr.IPNet, a.Iface, err))
		}
	}
	return errors.Join(errs...)
}

// list returns the addresses of a's family on link. A list that changed while it
// was read is read again, a few times.
func (i *ifaces) list(a Address, link netlink.Link) ([]netlink.Addr, error) {
	family := netlink.FAMILY_V6
	if a.IP().Is4() {
		family = netlink.FAMILY_V4
	}
	const tries = 5
	var list []netlink.Addr
	var err error
	for range tries {
		list, err = i.handle.AddrList(link, family)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of %s: %w", a.Iface, err)
	}
	return list, nil
}

func kernelAddr(a Address) *netlink.Addr {
	addr, err := netlink.ParseAddr(a.Prefix.String())
	if err != nil {
		panic(fmt.Sprintf("floatingip: netlink cannot read %s, which netip wrote: %v", a.Prefix, err))
	}
	return addr
}
