package floatingip

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// feed is a subscription to changes that the kernel tells of. It ends by itself when its
// buffer has overflowed, which closes updates; then something was missed.
type feed[U any] struct {
	of        string
	subscribe func(updates chan<- U, done <-chan struct{}) error
	updates   chan U // nil: not open
	done      chan struct{}
}

func linkFeed() feed[netlink.LinkUpdate] {
	return feed[netlink.LinkUpdate]{of: "interfaces", subscribe: netlink.LinkSubscribe}
}

func addressFeed() feed[netlink.AddrUpdate] {
	return feed[netlink.AddrUpdate]{of: "addresses", subscribe: netlink.AddrSubscribe}
}

// open subscribes, unless the feed is open.
func (f *feed[U]) open() error {
	if f.updates != nil {
		return nil
	}
	updates, done := make(chan U, 16), make(chan struct{})
	if err := f.subscribe(updates, done); err != nil {
		return fmt.Errorf("subscribing to changes of %s: %w", f.of, err)
	}
	f.updates, f.done = updates, done
	return nil
}

// close ends the feed, also one that has ended by itself: its socket is open until then.
// The sender of a subscription stops only once its last change has been taken.
func (f *feed[U]) close() {
	if f.updates == nil {
		return
	}
	close(f.done)
	for range f.updates {
	}
	f.updates = nil
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
