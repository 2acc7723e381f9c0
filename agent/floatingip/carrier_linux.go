package floatingip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Links watches the interfaces of floating addresses, and whether one of the
// addresses is the host's own. It needs no capability and is safe for concurrent
// use. A nil Links stands for no addresses.
type Links struct {
	ifaces  []string
	addrs   []Address
	handle  *netlink.Handle
	done    chan struct{}
	changed chan struct{}
	looked  chan struct{} // closed after the first look
	exited  chan struct{}

	mu    sync.Mutex
	state error
}

// WatchLinks starts watching the interfaces of addrs. It does not wait for the first
// look at them, which may take as long as a lock of the kernel is held by others (see
// Set): until then they count as usable.
func WatchLinks(addrs []Address) (*Links, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	l := &Links{
		addrs: addrs, handle: handle, done: make(chan struct{}),
		changed: make(chan struct{}, 1), looked: make(chan struct{}), exited: make(chan struct{}),
	}
	for _, a := range addrs {
		if !slices.Contains(l.ifaces, a.Iface) {
			l.ifaces = append(l.ifaces, a.Iface)
		}
	}
	links, addresses, err := l.subscribe()
	if err != nil {
		close(l.done)
		handle.Close()
		return nil, err
	}
	go l.run(links, addresses)
	return l, nil
}

// Wait waits for the first look at the interfaces.
func (l *Links) Wait() {
	if l != nil {
		<-l.looked
	}
}

// IsOwn reports whether this host has the address without an agent having put it
// there. It needs no capability.
func IsOwn(a Address) bool {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer handle.Close()
	net := ifaces{handle}
	where, err := net.own(a)
	return err == nil && where != ""
}

// Usable returns nil if every interface is there and up with a carrier, and no
// address is the host's own. Else a sentence names the interface or the address;
// it wraps ErrNoInterface, ErrNoARP or ErrOwnAddress (the node is no candidate) or
// ErrNoCarrier (a leader hands over).
func (l *Links) Usable() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Changed receives after what Usable returns has changed.
func (l *Links) Changed() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.changed
}

// Close ends the watch, and waits for its end: perhaps for that of a look.
func (l *Links) Close() {
	if l == nil {
		return
	}
	close(l.done)
	<-l.exited
	l.handle.Close()
}

func (l *Links) subscribe() (chan netlink.LinkUpdate, chan netlink.AddrUpdate, error) {
	links, err := l.subscribeLinks()
	if err != nil {
		return nil, nil, err
	}
	addresses, err := l.subscribeAddresses()
	return links, addresses, err
}

func (l *Links) subscribeLinks() (chan netlink.LinkUpdate, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribe(updates, l.done); err != nil {
		return nil, fmt.Errorf("subscribing to changes of interfaces: %w", err)
	}
	return updates, nil
}

func (l *Links) subscribeAddresses() (chan netlink.AddrUpdate, error) {
	updates := make(chan netlink.AddrUpdate, 16)
	if err := netlink.AddrSubscribe(updates, l.done); err != nil {
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	return updates, nil
}

// run looks again on every change. A subscription ends by itself when its buffer
// has overflowed; then something was missed, and it starts afresh. At the end
// both channels are read until they are closed, as their senders stop only then.
func (l *Links) run(links chan netlink.LinkUpdate, addresses chan netlink.AddrUpdate) {
	defer close(l.exited)
	l.look()
	close(l.looked)
	ended := func() bool {
		select {
		case <-l.done:
			return true
		default:
			return false
		}
	}
	for links != nil || addresses != nil {
		var err error
		select {
		// An update may be of an interface that has just lost its name.
		case _, ok := <-links:
			switch {
			case ok:
			case ended():
				links = nil
			default:
				links, err = l.subscribeLinks()
			}
		case u, ok := <-addresses:
			switch {
			case ok && !l.floating(u):
				continue
			case ok:
			case ended():
				addresses = nil
			default:
				addresses, err = l.subscribeAddresses()
			}
		}
		if err != nil {
			l.set(err)
			return
		}
		if !ended() {
			l.look()
		}
	}
}

// floating reports whether an update is of one of the addresses, and not only of
// its lifetime.
func (l *Links) floating(u netlink.AddrUpdate) bool {
	ip, _ := netip.AddrFromSlice(u.LinkAddress.IP)
	renewal := u.NewAddr && u.Flags&unix.IFA_F_PERMANENT == 0
	return !renewal && slices.ContainsFunc(l.addrs, func(a Address) bool { return a.IP() == ip.Unmap() })
}

// look reads the interfaces. The state is read, not taken from the updates, so
// that no order of updates can leave a wrong one behind.
func (l *Links) look() {
	for _, name := range l.ifaces {
		link, err := l.handle.LinkByName(name)
		var missing netlink.LinkNotFoundError
		switch {
		case errors.As(err, &missing):
			l.set(fmt.Errorf("interface %s %w", name, ErrNoInterface))
			return
		case err != nil:
			l.set(fmt.Errorf("reading interface %s: %w", name, err))
			return
		}
		if link.Attrs().RawFlags&unix.IFF_UP == 0 {
			l.set(fmt.Errorf("interface %s %w, so it %w", name, ErrSetDown, ErrNoCarrier))
			return
		}
		const usable = unix.IFF_UP | unix.IFF_RUNNING
		if link.Attrs().RawFlags&usable != usable {
			l.set(fmt.Errorf("interface %s %w", name, ErrNoCarrier))
			return
		}
	}
	net := ifaces{l.handle}
	for _, a := range l.addrs {
		where, err := net.own(a)
		if err == nil && where != "" {
			err = fmt.Errorf("floating address %s %w (%s)", a, ErrOwnAddress, where)
		}
		if err == nil {
			err = answersARP(a)
		}
		if err != nil {
			l.set(err)
			return
		}
	}
	l.set(nil)
}

// answersARP returns an error if the kernel is told to leave requests for a
// unanswered, as it is not in the network of who asks (arp_ignore 2 and more; the
// larger of the two settings counts).
func answersARP(a Address) error {
	if !a.IP().Is4() || strings.Contains(a.Iface, "..") {
		return nil
	}
	for _, conf := range []string{"all", a.Iface} {
		if n, err := ipv4Setting(conf, "arp_ignore"); err == nil && n >= 8 {
			return fmt.Errorf("interface %s %w: the sysctl net.ipv4.conf.%s.arp_ignore is %d", a.Iface, ErrNoARP, conf, n)
		}
	}
	return nil
}

func (l *Links) set(state error) {
	l.mu.Lock()
	same := errorText(l.state) == errorText(state)
	l.state = state
	l.mu.Unlock()
	if same {
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
