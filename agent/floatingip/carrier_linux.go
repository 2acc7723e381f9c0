package floatingip

import (
	"errors"
	"fmt"
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
	report  func(error)
	done    chan struct{}
	changed chan struct{}
	looked  chan struct{} // closed after the first look
	exited  chan struct{}

	feed    *feed
	reader  *reader
	failing bool // report was told of an error last; run alone uses it

	mu    sync.Mutex
	state error
}

// WatchLinks starts watching the interfaces of addrs. It does not wait for the first
// look at them, which may take as long as a lock of the kernel is held by others (see
// Set): until then they count as usable. After an error the Links, if there are any, go on
// trying, and must be closed as without one. report, which may be nil, is called when the kernel
// later cannot be asked for changes, and with nil once it can again; in between the
// interfaces are looked at every retryMost at the latest.
func WatchLinks(addrs []Address, report func(error)) (*Links, error) {
	f, err := shareFeed()
	if f == nil {
		return nil, err
	}
	defer f.leave()
	return f.watchLinks(addrs, report)
}

// watchLinks is WatchLinks with this feed, of which the Links take a share. The Links go by
// the error that it returns: whether it has ended is what they report next.
func (f *feed) watchLinks(addrs []Address, report func(error)) (*Links, error) {
	l := &Links{
		addrs: addrs, report: report, done: make(chan struct{}),
		changed: make(chan struct{}, 1), looked: make(chan struct{}), exited: make(chan struct{}),
		feed: f, reader: newReader(addrs),
	}
	l.reader.links = map[string]int{}
	for _, a := range addrs {
		if !slices.Contains(l.ifaces, a.Iface) {
			l.ifaces = append(l.ifaces, a.Iface)
			l.reader.links[a.Iface] = 0
		}
	}
	f.share()
	f.add(l.reader)
	err := f.failing()
	l.failing = err != nil
	go l.run()
	return l, err
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
	net, err := openIfaces()
	if err != nil {
		return false
	}
	defer net.close()
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
	l.feed.remove(l.reader)
	l.feed.leave()
}

// tell reports that watching has begun to fail, or works again.
func (l *Links) tell(err error) {
	if l.failing != (err != nil) && l.report != nil {
		l.report(err)
	}
	l.failing = err != nil
}

// run looks again on every change. What could not be read is tried again.
func (l *Links) run() {
	defer close(l.exited)
	again := newRetry()
	read := l.look()
	close(l.looked)
	for {
		again.after(read)
		select {
		case <-l.done:
			again.timer.Stop()
			return
		case <-l.reader.news:
			l.tell(l.feed.failing())
		case <-again.timer.C:
			again.fired()
		}
		read = l.look()
	}
}

// look reads the interfaces, and reports whether it could. The state is read, not taken
// from the updates, so that no order of updates can leave a wrong one behind.
func (l *Links) look() (read bool) {
	net := l.feed.requests()
	if net.handle == nil {
		l.set(errors.New("the interfaces cannot be looked at: netlink could not be opened"))
		return false
	}
	for _, name := range l.ifaces {
		link, err := net.handle.LinkByName(name)
		if err == nil && l.feed.numbered(l.reader, name, link.Attrs().Index) {
			return l.look()
		}
		var missing netlink.LinkNotFoundError
		switch {
		case errors.As(err, &missing):
			l.set(fmt.Errorf("interface %s %w", name, ErrNoInterface))
			return true
		case err != nil:
			l.set(fmt.Errorf("reading interface %s: %w", name, err))
			return false
		}
		if link.Attrs().RawFlags&unix.IFF_UP == 0 {
			l.set(fmt.Errorf("interface %s %w, so it %w", name, ErrSetDown, ErrNoCarrier))
			return true
		}
		const usable = unix.IFF_UP | unix.IFF_RUNNING
		if link.Attrs().RawFlags&usable != usable {
			l.set(fmt.Errorf("interface %s %w", name, ErrNoCarrier))
			return true
		}
	}
	for _, a := range l.addrs {
		where, err := net.own(a)
		read := err == nil
		if read && where != "" {
			err = fmt.Errorf("floating address %s %w (%s)", a, ErrOwnAddress, where)
		}
		if err == nil {
			err = answersARP(a)
		}
		if err != nil {
			l.set(err)
			return read
		}
	}
	l.set(nil)
	return true
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
