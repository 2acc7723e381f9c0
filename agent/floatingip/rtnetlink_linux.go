package floatingip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rtnetlink reads addresses and routes, and moves lifetimes on: what a leader does all
// the time. The library has a buffer of 64 KiB made for each answer and reads all of
// every address; this one keeps its buffer and reads what is asked for. It is safe for
// concurrent use.
type rtnetlink struct {
	fd   int
	port uint32 // what the kernel calls the socket

	mu      sync.Mutex // for what follows
	number  uint32     // of the last request
	request []byte
	answer  []byte
}

const (
	// answerSize is the most that the kernel puts into one answer (netlink_recvmsg in
	// net/netlink/af_netlink.c).
	answerSize = 32 << 10
	// addressHeader and routeHeader are the size of what stands before the attributes of a
	// message: a netlink header, and what is known of each address, or route.
	addressHeader = unix.NLMSG_HDRLEN + unix.SizeofIfAddrmsg
	routeHeader   = unix.NLMSG_HDRLEN + unix.SizeofRtMsg
)

func newRTNetlink() (*rtnetlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &rtnetlink{fd: fd, answer: make([]byte, answerSize)}
	// Where the kernel has this (4.20), it leaves out of an answer what dump does not ask for.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), r.close())
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("getsockname", err), r.close())
	}
	r.port = name.(*unix.SockaddrNetlink).Pid
	return r, nil
}

func (r *rtnetlink) close() error { return os.NewSyscallError("close", unix.Close(r.fd)) }

// index is the number of an interface; ErrNoInterface if there is none of that name.
func (r *rtnetlink) index(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(r.fd, unix.SIOCGIFINDEX, request)
	}
	if errors.Is(err, unix.ENODEV) {
		return 0, fmt.Errorf("interface %s %w", name, ErrNoInterface)
	}
	if err != nil {
		return 0, fmt.Errorf("reading interface %s: %w", name, err)
	}
	return int(request.Uint32()), nil
}

// dump asks for all of a kind, and has visit look at each message. The question is what
// stands between the headers of netlink and the attributes.
func (r *rtnetlink) dump(kind uint16, question []byte, visit func(message []byte)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	header := unix.NLMSG_HDRLEN + len(question)
	r.request = append(append(r.request[:0], make([]byte, unix.NLMSG_HDRLEN)...), question...)
	r.head(0, kind, unix.NLM_F_DUMP)
	return r.exchange(func(message []byte) (last bool, err error) {
		if binary.NativeEndian.Uint16(message[6:])&unix.NLM_F_DUMP_INTR != 0 {
			err = netlink.ErrDumpInterrupted
		}
		switch binary.NativeEndian.Uint16(message[4:]) {
		case unix.NLMSG_DONE:
			return true, errors.Join(err, answered(message)) // it says the same, only in the end
		case unix.NLMSG_ERROR:
			return true, answered(message)
		}
		if len(message) >= header {
			visit(message)
		}
		return false, err
	})
}

// head fills in the netlink header of the message that begins at a place of the request
// and is its last one until now.
func (r *rtnetlink) head(at int, kind, flags uint16) {
	r.number++
	h := r.request[at:]
	binary.NativeEndian.PutUint32(h, uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], kind)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(h[8:], r.number)
}

// exchange sends the request, and has take look at the answers until the last. All errors
// of take are returned.
func (r *rtnetlink) exchange(take func(message []byte) (last bool, err error)) error {
	first := binary.NativeEndian.Uint32(r.request[8:])
	if err := unix.Sendto(r.fd, r.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	var errs []error
	for {
		n, _, err := unix.Recvfrom(r.fd, r.answer, 0)
		if err != nil {
			return errors.Join(append(errs, os.NewSyscallError("recvfrom", err))...)
		}
		for b := r.answer[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				return fmt.Errorf("an answer of rtnetlink of %d bytes where there are %d", size, len(b))
			}
			if binary.NativeEndian.Uint32(b[8:])-first <= r.number-first { // not to an older request
				last, err := take(b[:size])
				errs = append(errs, err)
				if last {
					return errors.Join(errs...)
				}
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// answered is the error that a message of the kind NLMSG_ERROR says, nil for none.
func answered(message []byte) error {
	if len(message) < unix.NLMSG_HDRLEN+4 {
		return fmt.Errorf("an answer of rtnetlink of %d bytes", len(message))
	}
	if code := int32(binary.NativeEndian.Uint32(message[unix.NLMSG_HDRLEN:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// attributes calls f with each attribute of a message.
func attributes(message []byte, header int, f func(kind uint16, value []byte)) {
	for b := message[header:]; len(b) >= attributeHeader; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attributeHeader || size > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:]), b[attributeHeader:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}

// addressNews is what a message says of an address, as long as the message is there.
type addressNews struct {
	link        int
	flags       uint32
	local, peer netip.Addr
	length      int // of the network, which is that of the peer if there is one
	label       []byte
	valid       uint32 // its lifetimes in seconds
	preferred   uint32
}

// readAddress reads a message about an address.
func readAddress(message []byte) (a addressNews) {
	a.length, a.flags = int(message[unix.NLMSG_HDRLEN+1]), uint32(message[unix.NLMSG_HDRLEN+2])
	a.link = int(binary.NativeEndian.Uint32(message[unix.NLMSG_HDRLEN+4:]))
	attributes(message, addressHeader, func(kind uint16, value []byte) {
		switch {
		case kind == unix.IFA_ADDRESS:
			a.peer, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_LOCAL:
			a.local, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_LABEL && len(value) > 0:
			a.label = value[:len(value)-1]
		case kind == unix.IFA_FLAGS && len(value) >= 4:
			a.flags = binary.NativeEndian.Uint32(value)
		case kind == unix.IFA_CACHEINFO && len(value) >= 8:
			a.preferred, a.valid = binary.NativeEndian.Uint32(value), binary.NativeEndian.Uint32(value[4:])
		}
	})
	if !a.local.IsValid() {
		a.local = a.peer
	}
	return a
}

// prefix is the address with the length of its network; one that has a peer is in none.
func (a *addressNews) prefix() netip.Prefix {
	if a.local != a.peer {
		return netip.PrefixFrom(a.local, a.local.BitLen())
	}
	return netip.PrefixFrom(a.local, a.length)
}

// addr is a in the library's form.
func (a *addressNews) addr() netlink.Addr {
	return netlink.Addr{
		IPNet: ipNet(a.prefix()), Label: string(a.label), Flags: int(a.flags), LinkIndex: a.link,
		ValidLft: int(a.valid), PreferedLft: int(a.preferred),
	}
}

// allAddresses is the question for the addresses of a family.
func allAddresses(family int) []byte { return []byte{unix.SizeofIfAddrmsg - 1: 0, 0: byte(family)} }

// addresses returns the addresses of a's family that are a, or of whose networks a is one.
func (r *rtnetlink) addresses(a Address) (list []netlink.Addr, err error) {
	err = r.dump(unix.RTM_GETADDR, allAddresses(familyOf(a)), func(message []byte) {
		if news := readAddress(message); news.prefix().Contains(a.IP()) {
			list = append(list, news.addr())
		}
	})
	return list, err
}

// routed reports whether the route of a is there.
func (r *rtnetlink) routed(a Address, link int) (there bool, err error) {
	want := a.Prefix.Masked()
	const length, table, protocol = 1, 4, 5 // where they stand in struct rtmsg
	question := []byte{unix.SizeofRtMsg - 1: 0, 0: byte(familyOf(a)), table: unix.RT_TABLE_MAIN, protocol: routeProtocol}
	err = r.dump(unix.RTM_GETROUTE, question, func(message []byte) {
		route := message[unix.NLMSG_HDRLEN:]
		if route[protocol] != routeProtocol || route[table] != unix.RT_TABLE_MAIN || int(route[length]) != want.Bits() {
			return
		}
		to, through := false, false
		attributes(message, routeHeader, func(kind uint16, value []byte) {
			switch {
			case kind == unix.RTA_DST:
				ip, _ := netip.AddrFromSlice(value)
				to = ip == want.Addr()
			case kind == unix.RTA_OIF && len(value) >= 4:
				through = int(binary.NativeEndian.Uint32(value)) == link
			}
		})
		there = there || to && through
	})
	if errors.Is(err, unix.ENOENT) {
		return false, nil // there is no table
	}
	return there, err
}
