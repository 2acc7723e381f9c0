package floatingip

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Links watches the interfaces of floating addresses. It needs no capability and
// is safe for concurrent use. A nil Links is that of no addresses.
type Links struct {
	ifaces  []string
	handle  *netlink.Handle
	done    chan struct{}
	changed chan struct{}
	exited  chan struct{}

	mu    sync.Mutex
	state error
}

// WatchLinks starts watching the interfaces of addrs.
func WatchLinks(addrs []Address) (*Links, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	l := &Links{
		handle: handle, done: make(chan struct{}),
		changed: make(chan struct{}, 1), exited: make(chan struct{}),
	}
	for _, a := range addrs {
		if !slices.Contains(l.ifaces, a.Iface) {
			l.ifaces = append(l.ifaces, a.Iface)
		}
	}
	updates, err := l.subscribe()
	if err != nil {
		handle.Close()
		return nil, err
	}
	l.look()
	go l.run(updates)
	return l, nil
}

// Usable returns nil if every interface is there and up with a carrier. Else a
// sentence names the interface; it wraps ErrNoInterface (the node is no
// candidate) or ErrNoCarrier (a leader hands over).
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

// Close ends the watch.
func (l *Links) Close() {
	if l == nil {
		return
	}
	close(l.done)
	<-l.exited
	l.handle.Close()
}

func (l *Links) subscribe() (chan netlink.LinkUpdate, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribe(updates, l.done); err != nil {
		return nil, fmt.Errorf("subscribing to changes of interfaces: %w", err)
	}
	return updates, nil
}

// run looks again on every change. The subscription ends by itself when its
// buffer has overflowed; then something was missed, and it starts afresh.
func (l *Links) run(updates chan netlink.LinkUpdate) {
	defer close(l.exited)
	for {
		// An update may be of an interface that has just lost its name.
		if _, ok := <-updates; ok {
			l.look()
			continue
		}
		select {
		case <-l.done:
			return
		default:
		}
		again, err := l.subscribe()
		if err != nil {
			l.set(err)
			return
		}
		updates = again
		l.look()
	}
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
		const usable = unix.IFF_UP | unix.IFF_RUNNING
		if link.Attrs().RawFlags&usable != usable {
			l.set(fmt.Errorf("interface %s %w", name, ErrNoCarrier))
			return
		}
	}
	l.set(nil)
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
