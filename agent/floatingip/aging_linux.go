package floatingip

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// lifetimeEvery is the least time between two renewals of the addresses'
	// lifetimes while nftables guards them: each is told to every program on
	// the host that listens for address changes.
	lifetimeEvery = 800 * time.Millisecond
	// agedTogether is how many Sets have their lifetimes moved on together. A call of one
	// of them that changes addresses waits for all.
	agedTogether = 16
)

// mayAge reports whether the lifetimes are to follow the gate now: now and then, and at
// each renewal where they are the limit, as there is no gate. The caller holds cut.
func (s *Set) mayAge() bool {
	now := s.cfg.Now()
	if s.gate == nil {
		s.ageAt = now
	}
	return now >= s.ageAt
}

// beginAging reports whether the lifetimes are to be moved on with those of another Set,
// and notes that they are. It is so somewhat before their time, so that all Sets come to
// be due together.
func (s *Set) beginAging() bool {
	s.cut.Lock()
	defer s.cut.Unlock()
	now := s.cfg.Now()
	if !s.held || now < s.ageAt-lifetimeEvery/2 {
		return false
	}
	s.ageAt = now + lifetimeEvery
	return true
}

// ages notes whether the lifetimes of s are to be moved on.
func (f *feed) ages(s *Set, ages bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ages {
		f.sets[s] = true
	} else {
		delete(f.sets, s)
	}
}

// askToAge has the lifetimes of all Sets be moved on that are due.
func (f *feed) askToAge() {
	select {
	case f.aging <- struct{}{}:
	default:
	}
}

// age moves lifetimes on until the feed is closed: of all Sets together, since each
// request lists the addresses of the host.
func (f *feed) age() {
	for {
		select {
		case <-f.done:
			return
		case <-f.aging:
			f.ageDue()
		}
	}
}

// ageDue moves the lifetimes on that are due.
func (f *feed) ageDue() {
	var sets []*Set
	f.mu.Lock()
	for s := range f.sets {
		sets = append(sets, s)
	}
	f.mu.Unlock()
	for some := range slices.Chunk(sets, agedTogether) {
		prolongAll(some)
	}
}

// addressLifetime is that of an address, to be moved on.
type addressLifetime struct {
	of      *Set
	addr    Address
	link    int
	seconds int
	there   bool  // the kernel has it
	err     error // what came of it
}

// prolongAll moves the lifetimes of some Sets on. Those whose addresses are just being put,
// checked or dropped ask again with their next renewal.
func prolongAll(sets []*Set) {
	var aged []*Set
	var all []*addressLifetime
	for _, s := range sets {
		if !s.mu.TryLock() {
			continue
		}
		defer s.mu.Unlock()
		if !s.beginAging() {
			continue
		}
		aged = append(aged, s)
		seconds, err := s.seconds()
		if err != nil {
			continue // there is nothing to keep any more
		}
		for _, a := range s.cfg.Addresses {
			l := &addressLifetime{of: s, addr: a, seconds: seconds}
			l.link, l.err = s.net.index(a)
			all = append(all, l)
		}
	}
	if len(aged) == 0 {
		return
	}
	now := aged[0].cfg.Now()
	aged[0].net.quick.prolong(all)
	for _, s := range aged {
		var errs []error
		var lifetime time.Duration
		moved := true
		for _, l := range all {
			if l.of == s {
				errs = append(errs, l.err)
				lifetime, moved = time.Duration(l.seconds)*time.Second, moved && l.there && l.err == nil
			}
		}
		if moved && lifetime > 0 && now < s.expires { // else restore has to know that their lifetime is over
			s.expires = now + lifetime
		}
		s.lasting(NotProlonged, errors.Join(errs...), "look at the interface: an address whose lifetime ends goes, and is put back")
	}
}

// prolong moves lifetimes on, of the addresses that an agent has put there, in the form
// that they have. One that is not there is for restore to put back.
func (r *rtnetlink) prolong(list []*addressLifetime) {
	type held struct {
		*addressLifetime
		form netip.Prefix
	}
	var all []held
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		wanted := map[netip.Addr]*addressLifetime{}
		for _, l := range list {
			if l.err == nil && familyOf(l.addr) == family {
				wanted[l.addr.IP()] = l
			}
		}
		if len(wanted) == 0 {
			continue
		}
		var some []held
		err := consistently(func() error {
			some = some[:0]
			return r.dump(unix.RTM_GETADDR, allAddresses(family), func(message []byte) {
				news := readAddress(message)
				if l := wanted[news.local]; l != nil && l.link == news.link {
					if addr := news.addr(); putByAgent(&addr) {
						some = append(some, held{l, news.prefix()})
					}
				}
			})
		})
		for _, l := range wanted {
			l.err = err
		}
		for _, h := range some {
			h.there = true
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request = r.request[:0]
	first := r.number + 1
	for n, h := range all {
		flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_REPLACE)
		if n == len(all)-1 {
			flags |= unix.NLM_F_ACK // one answer says that all is done; what fails is answered in any case
		}
		at := len(r.request)
		r.request = appendAddress(r.request, h.link, formed(h.addr, h.form, h.seconds))
		r.head(at, unix.RTM_NEWADDR, flags)
	}
	err := r.exchange(func(message []byte) (last bool, err error) {
		number := binary.NativeEndian.Uint32(message[8:])
		h := all[number-first]
		h.err = errors.Join(h.err, answered(message))
		return number == r.number, nil
	})
	for _, h := range all {
		h.err = errors.Join(h.err, err)
	}
}

// appendAddress appends a message that puts an address on an interface, without the header
// of netlink.
func appendAddress(b []byte, link int, addr *netlink.Addr) []byte {
	ip := []byte(addr.IP)
	family := byte(unix.AF_INET6)
	if ip4 := addr.IP.To4(); ip4 != nil {
		ip, family = ip4, unix.AF_INET
	}
	attribute := func(kind uint16, value []byte) {
		b = binary.NativeEndian.AppendUint16(b, uint16(attributeHeader+len(value)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = append(b, value...)
		b = append(b, make([]byte, -len(value)&3)...)
	}
	number := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	b = append(b, make([]byte, unix.NLMSG_HDRLEN)...)
	b = append(b, family, byte(bits(addr)), 0, byte(addr.Scope))
	b = binary.NativeEndian.AppendUint32(b, uint32(link))
	attribute(unix.IFA_LOCAL, ip)
	attribute(unix.IFA_ADDRESS, ip)
	attribute(unix.IFA_FLAGS, number(uint32(addr.Flags)))
	if addr.Label != "" {
		attribute(unix.IFA_LABEL, append([]byte(addr.Label), 0))
	}
	attribute(unix.IFA_CACHEINFO, append(append(number(uint32(addr.PreferedLft)), number(uint32(addr.ValidLft))...), make([]byte, 8)...))
	return b
}
