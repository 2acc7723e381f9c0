package floatingip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// feed tells all Sets and Links of this process in one network namespace of the changes
// that concern them. They share it, and a socket for requests: the kernel copies each
// change to each subscription, and each copy takes 64 KiB to be read.
type feed struct {
	namespace uint64
	users     int // kept under feeds
	done      chan struct{}
	exited    sync.WaitGroup
	aging     chan struct{} // a Set has asked for it; see age

	// run alone uses these.
	links     subscription[netlink.LinkUpdate]
	addresses subscription[netlink.AddrUpdate]

	mu      sync.Mutex // for what follows; nothing that may take long is done with it
	net     ifaces     // its sockets are nil if they could not be opened yet
	err     error      // why the kernel cannot be asked for changes at the moment
	readers map[*reader]bool
	flags   map[place]int // of the addresses that these have told of
	sets    map[*Set]bool // that have their lifetimes moved on
}

// feeds are those of this process, by network namespace.
var feeds = struct {
	sync.Mutex
	of map[uint64]*feed
}{of: map[uint64]*feed{}}

// reader is what a Set or a Links wants to be told of.
type reader struct {
	news chan struct{} // receives after a change

	// The feed's lock is for what follows.
	addrs    []Address
	networks bool           // also the host's own addresses in the networks of addrs
	links    map[string]int // the interfaces, with the number that each had last; 0: none yet
}

// place is an address on an interface.
type place struct {
	link    int
	address string
}

// newReader returns a reader for addrs that is told of nothing yet.
func newReader(addrs []Address) *reader {
	return &reader{news: make(chan struct{}, 1), addrs: addrs}
}

// shareFeed returns the feed of the calling thread's namespace, to be left by leave. It is
// there also with an error, and goes on trying.
func shareFeed() (*feed, error) {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("looking at the network namespace: %w", os.NewSyscallError("stat", err))
	}
	feeds.Lock()
	defer feeds.Unlock()
	f := feeds.of[ns.Ino]
	if f == nil {
		f = newFeed(ns.Ino)
		f.open()
		feeds.of[ns.Ino] = f
		f.exited.Go(f.run)
		f.exited.Go(f.age)
	}
	f.users++
	return f, f.failing()
}

// newFeed returns a feed that is not open.
func newFeed(namespace uint64) *feed {
	return &feed{
		namespace: namespace, done: make(chan struct{}), aging: make(chan struct{}, 1), sets: map[*Set]bool{},
		links:     subscription[netlink.LinkUpdate]{of: "interfaces", subscribe: netlink.LinkSubscribe},
		addresses: subscription[netlink.AddrUpdate]{of: "addresses", subscribe: subscribeAddresses(0)},
		readers:   map[*reader]bool{}, flags: map[place]int{},
	}
}

// share takes one share more.
func (f *feed) share() {
	feeds.Lock()
	defer feeds.Unlock()
	f.users++
}

// leave ends a share. The last one closes everything.
func (f *feed) leave() {
	feeds.Lock()
	f.users--
	last := f.users == 0
	if last {
		delete(feeds.of, f.namespace)
	}
	feeds.Unlock()
	if !last {
		return
	}
	close(f.done)
	f.exited.Wait()
	f.net.close()
}

// add begins to tell r.
func (f *feed) add(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = true
}

// remove ends that.
func (f *feed) remove(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// change gives r other addresses.
func (f *feed) change(r *reader, addrs []Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.addrs = addrs
}

// numbered notes the number of an interface of r, and reports whether it was another one:
// then a change of its name may have gone by, and r has to look again.
func (f *feed) numbered(r *reader, name string, number int) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = r.links[name] != number
	r.links[name] = number
	return changed
}

// failing is why the kernel cannot be asked for changes at the moment, or nil. After each
// try to open what is missing all readers are told, so that they ask for it.
func (f *feed) failing() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// requests is what requests go through. Its sockets are nil if they could not be opened yet.
func (f *feed) requests() ifaces {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.net
}

// open opens what is not open.
func (f *feed) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.net.handle == nil {
		if f.net, f.err = openIfaces(); f.err != nil {
			return
		}
		f.addresses.subscribe = subscribeAddresses(f.net.quick.port)
	}
	f.err = errors.Join(f.links.open(), f.addresses.open())
}

// run hands the changes on. A subscription ends by itself when changes came faster than
// they were read, and is replaced.
func (f *feed) run() {
	again := newRetry()
	for {
		again.after(f.failing() == nil)
		select {
		case <-f.done:
			again.timer.Stop()
			f.links.close()
			f.addresses.close()
			return
		case u, ok := <-f.links.updates:
			if ok {
				f.linkChanged(&u)
				continue
			}
			f.links.close()
		case u, ok := <-f.addresses.updates:
			if ok {
				f.addressChanged(&u)
				continue
			}
			f.addresses.close()
		case <-again.timer.C:
			again.fired()
		}
		f.open()
		f.missed()
	}
}

// missed has every reader look, as changes may have been missed.
func (f *feed) missed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.flags)
	for r := range f.readers {
		r.tell()
	}
}

// linkChanged tells the readers of an interface, also of one that has just lost its name.
func (f *feed) linkChanged(u *netlink.LinkUpdate) {
	attrs := u.Link.Attrs()
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		for name, number := range r.links {
			if name == attrs.Name || number == attrs.Index || slices.Contains(attrs.AltNames, name) {
				r.tell()
			}
		}
	}
}

// addressChanged tells the readers of an address: that it has gone or that somebody else
// has added it, or that another address of its network, which decides about the form that
// it has, has come or gone. The floating addresses of this process decide about no form
// but their own; and renewals of lifetimes, which come each second for each, tell nothing.
func (f *feed) addressChanged(u *netlink.AddrUpdate) {
	ip, _ := netip.AddrFromSlice(u.LinkAddress.IP)
	ip = ip.Unmap()
	f.mu.Lock()
	defer f.mu.Unlock()
	var holders, neighbours []*reader
	for r := range f.readers {
		switch {
		case slices.ContainsFunc(r.addrs, func(a Address) bool { return a.IP() == ip }):
			holders = append(holders, r)
		case r.networks && slices.ContainsFunc(r.addrs, func(a Address) bool { return a.Prefix.Contains(ip) }):
			neighbours = append(neighbours, r)
		}
	}
	at := place{u.LinkIndex, u.LinkAddress.String()}
	if len(holders)+len(neighbours) == 0 {
		delete(f.flags, at) // what the next reader of it is told must not depend on what none was told
		return
	}
	flags, there := f.flags[at]
	if u.NewAddr {
		f.flags[at] = u.Flags
	} else {
		delete(f.flags, at)
	}
	floats := len(holders) > 0 && (flags|u.Flags)&unix.IFA_F_PERMANENT == 0
	switch {
	case u.NewAddr && (floats || there && flags == u.Flags):
		return
	case floats:
		neighbours = nil
	}
	for _, r := range append(holders, neighbours...) {
		r.tell()
	}
}

// tell has the reader look. It never blocks.
func (r *reader) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// subscription is a subscription to changes that the kernel tells of. It ends by itself when
// its buffer has overflowed, which closes updates; then something was missed.
type subscription[U any] struct {
	of        string
	subscribe func(updates chan<- U, done <-chan struct{}) error
	updates   chan U // nil: not open
	done      chan struct{}
}

// open subscribes, unless the subscription is open.
func (s *subscription[U]) open() error {
	if s.updates != nil {
		return nil
	}
	updates, done := make(chan U, 16), make(chan struct{})
	if err := s.subscribe(updates, done); err != nil {
		return fmt.Errorf("subscribing to changes of %s: %w", s.of, err)
	}
	s.updates, s.done = updates, done
	return nil
}

// close ends the subscription, also one that has ended by itself: its socket is open until
// then. The sender of a subscription stops only once its last change has been taken.
func (s *subscription[U]) close() {
	if s.updates == nil {
		return
	}
	close(s.done)
	for range s.updates {
	}
	s.updates = nil
}

const (
	// retryFirst is the pause before what could not be opened or read is tried again. It
	// doubles up to retryMost, which bounds how late a change is seen meanwhile.
	retryFirst = 20 * time.Millisecond
	retryMost  = time.Second
)

// retry is when to try again.
type retry struct {
	timer *time.Timer
	pause time.Duration
	armed bool
}

func newRetry() *retry {
	r := &retry{timer: time.NewTimer(0), pause: retryFirst}
	<-r.timer.C
	return r
}

// after takes in whether the last try was a success. A try that is due stays due.
func (r *retry) after(success bool) {
	switch {
	case success:
		r.timer.Stop()
		r.pause, r.armed = retryFirst, false
	case !r.armed:
		r.timer.Reset(r.pause)
		r.pause, r.armed = min(2*r.pause, retryMost), true
	}
}

// fired takes in that the timer went off.
func (r *retry) fired() { r.armed = false }
